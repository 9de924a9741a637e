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
PAIRS = 0.05  # the share of CHANCE that goes to t-tests of pairs
FAR = 3.0  # typical differences from its seed's median beyond which a loss counts no further
SPOTS = 64  # losses of a seed that say what a typical difference is


def corrected(losses: np.ndarray, choices: np.ndarray) -> np.ndarray:
    """p (k,) of one arm being ahead of each of k others by chance, corrected for there being so many to be ahead of.

    Steps down from the arms that lie farthest behind (Romano and Wolf 2005, Exact and approximate stepdown methods for multiple
    hypothesis testing). In each step all arms that are left are supposed to be equal, and p of an arm is how often chance puts
    any of them as far ahead of another (`dealt`). Arms whose p is below CHANCE stay out of the next step, which so has fewer to
    correct for. No p is below that of the two arms alone by `t_test`, which is all there is where only two are left: it looks
    at no noise but theirs.

    However far apart arms lie, few seeds can be dealt out in few ways, and a noisy arm hides how far the others lie apart. So
    an arm's p may also be that of `t_test` times the number of pairs that are left (Bonferroni): the share PAIRS of CHANCE is
    spent on that, and the rest on dealing out.

    An arm chosen from r times as many settings as another has r times the chances of a lucky one: were it cut down at random
    to as many as the other has, the lucky one would be left in 1 / r of cases. So p is multiplied by r. Where all have as many,
    the best of several varies less than a single one does, which makes a false difference rarer.

    Args:
      losses: (n, 1 + k) by seed and arm, the arm that is ahead first; nan where a trial is missing.
      choices: (1 + k,) how many settings each arm's losses are the best of.

    Returns:
      p; 1 for an arm that shares fewer than FEWEST seeds with the first, with which it is not compared, or is not behind it.
    """
    differences = losses[:, 1:] - losses[:, :1]
    shared = [column[np.isfinite(column)] for column in differences.T]
    more = np.maximum(choices[0] / choices[1:], 1.0)
    alone = np.array([t_test(one)[1] if len(one) >= FEWEST else math.nan for one in shared]) * more
    alone[[len(one) >= FEWEST and np.sum(one) <= 0 for one in shared]] = 1.0
    left = np.flatnonzero(np.isfinite(alone))
    together, floor = np.zeros(len(alone)), 0.0
    while len(left) > 1:
        p = alone[left] * math.comb(1 + len(left), 2)
        if len(left) > 2 or len(losses) > FEWEST:  # three arms come out in the same order at three seeds in 1 of 36 ways
            of_deals = dealt(losses[:, [0, *(1 + left)]]) * more[left].max()
            p = np.minimum(p / PAIRS, of_deals / (1 - PAIRS))
        p = np.maximum(p, floor)
        together[left], unlikely = p, p < CHANCE
        if not np.any(unlikely):
            break
        left, floor = left[~unlikely], float(p[unlikely].max())
    else:
        together[left] = floor
    return np.nan_to_num(np.minimum(np.maximum(alone, together), 1.0), nan=1.0)


def dealt(losses: np.ndarray) -> np.ndarray:
    """How often an arm comes to lie as far behind the best one as each does, if all are equal: p (k,) of all but the first.

    How far behind an arm lies is its distance from the first one, plus the distance of the mean of all that are no farther
    off than it, both in what the arms' means leave of the spread of the losses. With its own distance alone (Tukey's range) the
    worst arm would be told from the others more often than the best one. Each p is from all the ways in which each seed's
    losses can be dealt out among its arms, or from DEALS random ones and how they stand; of each way counts how far the worst
    arm lies behind the best one.

    Args:
      losses: (n, 1 + k) by seed and arm, nan where a trial is missing.
    """
    values = bounded(losses[np.isfinite(losses).sum(1) > 1])
    values -= np.nanmean(values, 1, keepdims=True)
    n, weights = len(values), 1 / np.sqrt(np.maximum(np.isfinite(values).sum(0), 1))  # so that few seeds put no arm far off
    order = np.argsort(np.nansum(values, 0) * weights, kind="stable")  # from the best arm to the worst
    values, weights, squares = values[:, order], weights[order] / math.sqrt(n), float(np.nansum(values**2)) or 1.0

    def in_noise(far: np.ndarray, means: np.ndarray) -> np.ndarray:
        """By what the means leave of the spread of the losses."""
        return far / np.sqrt(np.maximum(squares - n * np.sum(means**2, -1), 1e-9 * squares))

    means = np.nansum(values, 0) * weights
    nearer = np.cumsum(means) / np.arange(1, len(means) + 1)
    behind = np.empty(len(means))
    behind[order] = in_noise(means + nearer - 2 * means[np.argmin(order)], means)
    drawn = (part * weights for part in deals(values))
    worst = np.sort(np.concatenate([in_noise(of.max(1) + of.mean(1) - 2 * of.min(1), of) for of in drawn]))
    reached = len(worst) - np.searchsorted(worst, behind[1:] - 1e-9 * (1 + np.abs(behind[1:])))  # rounding tells nothing apart
    return reached / len(worst)


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


def deals(values: np.ndarray) -> Iterator[np.ndarray]:
    """Each arm's sum over seeds as losses (n, k) are dealt out anew, in parts (ways, k): all ways if they are few.

    The ways are the same in whatever order the seeds stand. They start from how the losses do, so that of many sweeps each has
    ways of its own.
    """
    n, k = values.shape
    rows = values[np.lexsort(values.T[::-1])]
    held = np.isfinite(rows)
    if held.all() and math.factorial(min(k, 8)) ** (n - 1) <= DEALS:
        sums = rows[:1]  # how one seed's losses stand makes no difference
        for row in rows[1:]:
            sums = (sums[:, None] + np.array(list(itertools.permutations(row)))).reshape(-1, k)
        yield sums
        return
    yield np.nansum(values, 0)[None]
    rng, ways = np.random.default_rng(0), max(min(DEALS, CELLS // (n * k)), LEAST)
    for start in range(0, ways, max(PART // k, 1)):
        sums = np.zeros((min(max(PART // k, 1), ways - start), k))
        for row, there in zip(rows, held, strict=True):
            sums[:, there] += rng.permuted(np.tile(row[there], (len(sums), 1)), axis=1)
        yield sums
