"""Statistics over seeds and over settings: numbers in, numbers out, nothing of runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CHANCE = 0.05  # of an interval that misses the truth, and of a sweep of equal arms in which any arm is called better
RESAMPLES = 9999
ENOUGH = 6  # seeds from which on a bootstrap can reach 95%, see `interval`


def t_test(differences: np.ndarray) -> tuple[float, float]:
    """Paired t-test that the mean of differences (n,) is zero, two-sided: the effect size and p.

    The effect is Cohen's d_z, the mean in standard deviations of the differences, so t is sqrt(n) times that. It is nan where
    they are all the same, and p is then 0, or 1 if they are zero; for fewer than two differences both are nan.
    """
    n = len(differences)
    if n < 2:
        return math.nan, math.nan
    mean = float(np.mean(differences))
    spread = float(np.std(differences, ddof=1)) if np.ptp(differences) > 0 else 0.0  # rounding gives equal ones a spread
    if spread == 0:
        return math.nan, float(mean == 0)
    effect = mean / spread
    return effect, 2 * float(stats.t.sf(math.sqrt(n) * abs(effect), n - 1))


def interval(differences: np.ndarray) -> tuple[float, float]:
    """95% confidence interval of the mean of paired differences (n,); nan for fewer than two.

    From six seeds on, a percentile bootstrap of the mean at the t-expanded level of Hesterberg (2015, What teachers should
    know about the bootstrap): the plain one is too narrow by sqrt((n - 1) / n) and by what separates z from t. With normal
    noise it holds the truth in 93% of cases at 6 and 8 seeds, and in 95% at 20. No resampled mean lies outside of the data,
    which hold the truth between them in 1 - 2^(1 - n) of cases only: 50% at two seeds, 94% at five. So for fewer than six it
    is Student's interval, which takes the noise to be normal. The same differences give the same interval.
    """
    n = len(differences)
    if n < 2:
        return math.nan, math.nan
    mean, t = float(np.mean(differences)), float(stats.t.isf(CHANCE / 2, n - 1))
    if n < ENOUGH:
        half = t * float(np.std(differences, ddof=1)) / math.sqrt(n)
        return mean - half, mean + half
    tail = float(stats.norm.sf(math.sqrt(n / (n - 1)) * t))
    found = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


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
