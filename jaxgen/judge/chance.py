"""How often chance alone would put one arm as far ahead of another: numbers in, numbers out, nothing of runs.

Trials of one seed see the same data and start alike, so that a seed is a block of a randomised block design: between equal
arms it is chance which of a seed's losses stands with which arm. To deal a seed's losses out anew among the arms, each seed
on its own, therefore gives other sweeps that were as likely (Fisher 1935, The design of experiments; Friedman 1937 does it with
ranks): no noise has to be normal for that, and what a seed does to all arms cancels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from jaxgen.judge.statistics import CHANCE, t_test

DEALS = 1999  # of a sweep's losses, beside how they stand
CELLS = 5_000_000  # losses dealt out in one step; of very large sweeps there are fewer deals for that, but
LEAST = 99  # at least these, which can say 1%
PART = 500_000  # losses held at a time
FEWEST = 3  # seeds that can tell two arms apart
FAR = 3.0  # typical differences from its seed's median beyond which a loss counts no further
SPOTS = 64  # losses of a seed that say what a typical difference is


def corrected(losses: np.ndarray, choices: np.ndarray) -> np.ndarray:
    """p (k,) of one arm being ahead of each of k others by chance, corrected for there being so many to be ahead of.

    Steps down from the arms that lie farthest behind (Romano and Wolf 2005, Exact and approximate stepdown methods for multiple
    hypothesis testing). In each step all arms that are left are supposed to be equal, and p of an arm is how often chance puts
    any of them as far ahead of another (`dealt`). Arms whose p is below CHANCE stay out of the next step, which so has fewer to
    correct for. No p is below that of the two arms alone by `t_test`, which is all there is where only two are left: it looks
    at no noise but theirs.

    An arm chosen from r times as many settings as another has r times the chances of a lucky one: were it cut down at random
    to as many as the other has, the lucky one would be left in 1 / r of cases. So p is multiplied by r. Where all have as many,
    the best of several varies less than a single one does, which makes a false difference rarer.

    Args:
      losses: (n, 1 + k) by seed and arm, the arm that is ahead first; nan where a trial is missing.
      choices: (1 + k,) how many settings each arm's losses are the best of.

    Returns:
      p; nan for an arm that shares fewer than FEWEST seeds with the first, 1 for one that is not behind it.
    """
    differences = losses[:, 1:] - losses[:, :1]
    shared = [column[np.isfinite(column)] for column in differences.T]
    more = np.maximum(choices[0] / choices[1:], 1.0)
    alone = np.array([t_test(one)[1] if len(one) >= FEWEST else math.nan for one in shared]) * more
    alone[[len(one) >= FEWEST and np.sum(one) <= 0 for one in shared]] = 1.0
    left = np.flatnonzero(np.isfinite(alone))
    together, floor = np.zeros(len(alone)), 0.0
    while len(left) > 1:
        p = np.maximum(dealt(losses[:, [0, *(1 + left)]]) * more[left].max(), floor)
        together[left], unlikely = p, p < CHANCE
        if not np.any(unlikely):
            break
        left, floor = left[~unlikely], float(p[unlikely].max())
    else:
        together[left] = floor
    return np.minimum(np.maximum(alone, together), 1.0)


def dealt(losses: np.ndarray) -> np.ndarray:
    """How often an arm comes to lie as far behind the best one as each does, if all are equal: p (k,) of all but the first.

    How far behind an arm lies is its distance from the first one, plus the distance of the mean of all that are no farther
    off than it. With its own distance alone (Tukey's range) the worst arm would be told from the others more often than the
    best one. Each p is from all the ways in which each seed's losses can be dealt out among its arms, or from DEALS random
    ones and how they stand; of each way counts how far the worst arm lies behind the best one.

    Args:
      losses: (n, 1 + k) by seed and arm, nan where a trial is missing.
    """
    values = bounded(losses[np.isfinite(losses).sum(1) > 1])
    held = np.isfinite(values)
    weights = 1 / np.sqrt(np.maximum(held.sum(0), 1) * len(values))  # so that few seeds put no arm far off
    means = np.nansum(values, 0) * weights
    order = 1 + np.argsort(means[1:], kind="stable")
    nearer = np.cumsum([means[0], *means[order]])[1:] / np.arange(2, len(means) + 1)
    behind = np.empty(len(order))
    behind[order - 1] = means[order] + nearer - 2 * means[0]
    worst = [sums.max(1) + sums.mean(1) - 2 * sums.min(1) for sums in (part * weights for part in _deals(values))]
    drawn = np.sort(np.concatenate(worst))
    return 1 - np.searchsorted(drawn, behind - 1e-9) / len(drawn)  # rounding makes no difference


def bounded(losses: np.ndarray) -> np.ndarray:
    """Losses (n, k) less their seed's median, in typical differences of a seed's losses, and no farther off than FAR of these.

    One trial that went wrong would otherwise hide every difference. What is done to a loss is the same with whichever arm of
    its seed it stands, so that all ways to deal them out stay as likely.
    """
    spots = np.sort(losses, 1)
    if losses.shape[1] > SPOTS:
        spots = spots[:, np.linspace(0, losses.shape[1] - 1, SPOTS).round().astype(int)]
    one, other = np.triu_indices(spots.shape[1], 1)
    apart = np.abs(spots[:, one] - spots[:, other])
    apart = apart[np.isfinite(apart)]
    scale = float(np.median(apart)) or float(np.mean(apart)) or 1.0
    return np.round(np.clip((losses - np.nanmedian(losses, 1, keepdims=True)) / scale, -FAR, FAR), 9)


def _deals(values: np.ndarray) -> Iterator[np.ndarray]:
    """Each arm's sum over seeds as losses (n, k) are dealt out anew, in parts (ways, k): all ways if they are few.

    The ways are the same in whatever order the seeds and the arms stand.
    """
    n, k = values.shape
    held = np.isfinite(values)
    seeds = sorted((*np.sort(row[there]), *np.flatnonzero(there)) for row, there in zip(values, held, strict=True))
    rows = [(np.array(seed[: len(seed) // 2]), np.array(seed[len(seed) // 2 :], int)) for seed in seeds]
    if held.all() and math.factorial(min(k, 8)) ** (n - 1) <= DEALS:
        sums = rows[0][0][None]  # how one seed's losses stand makes no difference
        for row, _ in rows[1:]:
            sums = (sums[:, None] + np.array(list(itertools.permutations(row)))).reshape(-1, k)
        yield sums
        return
    yield np.nansum(values, 0)[None]
    rng, ways = np.random.default_rng(0), max(min(DEALS, CELLS // (n * k)), LEAST)
    for start in range(0, ways, max(PART // k, 1)):
        sums = np.zeros((min(max(PART // k, 1), ways - start), k))
        for row, arms in rows:
            sums[:, arms] += rng.permuted(np.tile(row, (len(sums), 1)), axis=1)
        yield sums
