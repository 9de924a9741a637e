"""Statistics over seeds and over settings: numbers in, numbers out, nothing of runs."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CHANCE = 0.05  # of an interval that misses the truth, and of a sweep of equal arms in which any arm is called better
ENOUGH = 6  # seeds from which on two arms that are two standard deviations apart are told apart in most sweeps
POWER = 0.8  # of the sweeps that are to find a true difference, where it is said how many seeds that takes


def t_test(differences: np.ndarray) -> tuple[float, float]:
    """Paired t-test that the mean of differences (n,) is zero, two-sided: the effect size and p.

    The effect is Cohen's d_z, the mean in standard deviations of the differences, so t is sqrt(n) times that. It is nan where
    they are all the same, and p is then 0, or 1 if they are zero; for fewer than two differences both are nan.

    The differences of two equal arms lie evenly about zero, however skewed their losses are. Where they are normal with
    spreads that vary from seed to seed, as heavy tails may be seen, p is below 5% in at most 5% of cases, at any number of
    seeds (Bakirov and Szekely 2005, Student's t-test for Gaussian scale mixtures; Ibragimov and Mueller 2010).
    """
    n = len(differences)
    if n < 2:
        return math.nan, math.nan
    mean = float(np.mean(differences))
    spread = float(np.std(differences, ddof=1)) if np.ptp(differences) > 0 else 0.0  # rounding gives equal ones a spread
    if spread == 0:
        return math.nan, float(mean == 0)
    effect = mean / spread
    return effect, 2 * beyond(math.sqrt(n) * abs(effect), n - 1)


def beyond(t: float, freedom: int) -> float:
    """The share of Student's distribution of so many degrees of freedom that lies beyond t."""
    from scipy import special  # here: it takes a third of a second to import, and only who asks for a verdict needs it

    return float(special.stdtr(freedom, -t))


def beyond_which(share: float, freedom: int) -> float:
    """The t beyond which that share of Student's distribution lies."""
    from scipy import special

    return -float(special.stdtrit(freedom, share))


def seeds_for(effect: float, share: float, most: int) -> int:
    """The fewest seeds at which a paired t-test finds a difference in POWER of sweeps; `most` + 1 where that is not enough.

    With n seeds t has the noncentral distribution of n - 1 degrees of freedom about effect * sqrt(n) (Cohen 1988, Statistical
    power analysis for the behavioral sciences, chapter 2); that it lies beyond the other end is left out.

    Args:
      effect: the true difference in standard deviations of the seeds' differences, above zero.
      share: the p below which it is found.
    """
    from scipy import special

    def finds(n: int) -> bool:
        return float(special.nctdtr(n - 1, effect * math.sqrt(n), beyond_which(share / 2, n - 1))) <= 1 - POWER

    return 2 + bisect.bisect_left(range(2, most + 1), True, key=finds)


def interval(differences: np.ndarray) -> tuple[float, float]:
    """95% confidence interval of the mean of paired differences (n,); nan for fewer than two.

    From the lower to the upper of the ends of two intervals. Student's holds the truth in 95% of cases where differences are
    normal, and in 83% of six lognormal ones: where the tail on one side is long, a small sample has mostly not seen it, and
    its mean and its spread are both too small. Hall (1992, On the removal of skewness by transformation) takes the skewness
    of the sample out of t, so that the interval reaches further to the side of the longer tail:

        g(t) = t + a t^2 / 3 + a^2 t^3 / 27 + a / 6, a = skewness / sqrt(n), is nearer to Student's t than t is.

    The two together hold the truth in 97% of cases with six normal differences, in 94% with exponential and in 91% with
    lognormal ones; `docs/verdicts.md` has more.
    """
    n = len(differences)
    if n < 2:
        return math.nan, math.nan
    mean, t = float(np.mean(differences)), beyond_which(CHANCE / 2, n - 1)
    if np.ptp(differences) == 0:
        return mean, mean
    error, off = float(np.std(differences, ddof=1)) / math.sqrt(n), (differences - mean) / np.ptp(differences)
    # G1 of Joanes and Gill (1998), Comparing measures of sample skewness and kurtosis; two differences have none.
    skewness = float(np.mean(off**3) / np.mean(off**2) ** 1.5) * math.sqrt(n * (n - 1)) / max(n - 2, 1)
    upper, lower = (_without_skewness(end, skewness / math.sqrt(n)) for end in (-t, t))
    return mean - max(t, lower) * error, mean - min(-t, upper) * error


def _without_skewness(g: float, a: float) -> float:
    """The t of which Hall's transformation gives g: (1 + a t / 3)^3 = 1 + a (g - a / 6)."""
    return g if abs(a) < 1e-6 else 3 / a * (float(np.cbrt(1 + a * (g - a / 6))) - 1)


@dataclass(frozen=True)
class Tried:
    """What the best of k settings of an arm comes to, over the order in which they might have been tried."""

    settings: int
    loss: float
    """Expected validation loss of the best of `settings` settings; infinite where all of these may have diverged."""
    low: float
    """The 5% quantile of that loss over the orders."""
    high: float
    """The 95% quantile."""


def best_of(losses: Sequence[float]) -> tuple[Tried, ...]:
    """The best of k settings tried in random order, for k from 1 to all n, exactly.

    The i-th best of n settings is the best of k of them in C(n - i, k - 1) of the C(n, k) cases. Dodge et al. (2019, Show your
    work) draw with replacement instead, as from more settings than were tried.

    Args:
      losses: of the settings (n,), in the order in which they are preferred; infinite where a setting diverged.
    """
    n, found = len(losses), []
    for k in range(1, n + 1):
        i = np.arange(1, n - k + 1)  # the k - 1 worst are never the best of k
        weights = k / n * np.cumprod([1.0, *((n - k + 1 - i) / (n - i))])  # each by the one before it: no large numbers
        reached = np.asarray(losses, float)[: len(weights)]
        # A hair below, so that rounding does not pass over a loss that just 95% of the cases reach.
        low, high = np.quantile(reached, (0.05 - 1e-9, 0.95 - 1e-9), weights=weights, method="inverted_cdf")
        found.append(Tried(k, float(weights @ reached), float(low), float(high)))
    return tuple(found)
