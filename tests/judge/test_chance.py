"""How often chance puts an arm ahead, beside brute force, SciPy's permutation test and simulated sweeps of equal arms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jaxgen.judge import chance
from jaxgen.judge.chance import bounded, corrected, deals, dealt

pytestmark = pytest.mark.filterwarnings("error")


def ones(losses: np.ndarray) -> np.ndarray:
    return np.ones(losses.shape[1], int)


def table(seed: int, seeds: int, arms: int, behind: Sequence[float] = ()) -> np.ndarray:
    """Losses (seeds, arms) with what all share at a seed, the lowest mean first."""
    rng = np.random.default_rng(seed)
    losses = rng.normal(size=(seeds, 1)) + rng.normal(size=(seeds, arms)) + np.resize(np.array(behind or [0.0]), arms)
    return losses[:, np.argsort(losses.mean(0))]


def farthest(rows: Sequence[Sequence[float]]) -> float:
    """How far the worst arm lies behind the best one and the mean behind it, in what is left of the spread."""
    n, k = len(rows), len(rows[0])
    means = [sum(row[arm] for row in rows) / n for arm in range(k)]
    grand = sum(means) / k
    of_seeds = [sum(row) / k for row in rows]
    rest = sum((rows[s][a] - of_seeds[s] - means[a] + grand) ** 2 for s in range(n) for a in range(k))
    return (max(means) - min(means) + grand - min(means)) / math.sqrt(rest)


@pytest.mark.parametrize(("seeds", "arms"), [(3, 3), (4, 3), (5, 3), (3, 4)])
def test_few_ways_are_all_counted(seeds: int, arms: int) -> None:
    losses = table(1, seeds, arms, (0.0, 1.5))
    rows = bounded(losses).tolist()
    ways = itertools.product(*(list(itertools.permutations(row)) for row in rows))
    reached = [farthest(way) >= farthest(rows) - 1e-9 for way in ways]
    assert dealt(losses)[-1] == pytest.approx(sum(reached) / len(reached), abs=1e-12)


@pytest.mark.parametrize(("seeds", "arms", "behind"), [(4, 3, (0.0, 1.0, 1.0)), (6, 5, (0.0, 0.0, 1.0)), (8, 7, (0.0,))])
def test_the_farthest_arm_is_that_of_scipys_permutation_test(seeds: int, arms: int, behind: tuple[float, ...]) -> None:
    losses = table(2, seeds, arms, behind)
    values = bounded(losses)

    def statistic(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        stacked = np.moveaxis(np.stack(samples), axis, -1)  # (arms, ..., seeds)
        means = stacked.mean(-1)
        rest = stacked - means[..., None] - stacked.mean(0) + means.mean(0)[..., None]
        far = means.max(0) + means.mean(0) - 2 * means.min(0)
        return far / np.sqrt((rest**2).sum((0, -1)))

    found: Any = stats.permutation_test(
        tuple(values.T),
        statistic,
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        alternative="greater",
        rng=np.random.default_rng(0),
    )
    p = float(dealt(losses)[-1])
    assert p == pytest.approx(found.pvalue, abs=1e-12 + 4 * (seeds > 4) * math.sqrt(p * (1 - p) / 1800))


@pytest.mark.parametrize("n", [3, 4, 6, 12])
def test_two_arms_are_told_apart_by_students_t(n: int) -> None:
    losses = table(n, n, 2)
    expected: Any = stats.ttest_rel(losses[:, 1], losses[:, 0])
    assert corrected(losses, np.array([1, 1])) == pytest.approx([expected.pvalue])
    assert corrected(losses, np.array([1, 4])) == pytest.approx([expected.pvalue])  # the other had more to choose from
    assert corrected(losses, np.array([3, 1])) == pytest.approx([min(3 * expected.pvalue, 1)])
    assert corrected(losses[:, ::-1], np.array([1, 1])) == [1]


def test_no_p_is_below_that_of_the_two_arms_alone() -> None:
    """The fourth arm lies farthest off by one trial, and the others far from the first: of it nothing is known."""
    losses = np.array([[0.0, 1.0, 1.1, 0.1], [0.1, 1.1, 1.0, 0.2], [0.0, 1.1, 1.2, 0.0], [0.1, 1.0, 1.1, 0.1]] * 2)
    losses += np.random.default_rng(0).normal(0, 0.01, losses.shape)
    losses[3, 3] = 40.0
    p = corrected(losses, ones(losses))
    assert np.all(p[:2] < 0.01)
    assert p[2] >= stats.ttest_rel(losses[:, 3], losses[:, 0]).pvalue > 0.3  # pyright: ignore


def test_few_seeds_tell_arms_that_lie_very_far_apart() -> None:
    """Chance deals one of four arms the best loss at each of three seeds in 1 of 16 ways, however far the others lie off."""
    losses = table(9, 3, 4, (0.0, 100.0, 100.0, 100.0))
    assert np.all(dealt(losses) > 0.05)
    p = corrected(losses, ones(losses))
    assert np.all(p < 0.05)
    pairs = [float(stats.ttest_rel(losses[:, arm], losses[:, 0]).pvalue) for arm in (1, 2, 3)]  # pyright: ignore
    assert max(p) == pytest.approx(max(pairs) * math.comb(4, 2) / 0.05)


def test_three_arms_at_three_seeds_are_told_apart_by_pairs() -> None:
    losses = table(5, 3, 3, (0.0, 0.0, 100.0))
    pair = float(stats.ttest_rel(losses[:, 2], losses[:, 0]).pvalue)  # pyright: ignore
    assert corrected(losses, ones(losses))[1] == pytest.approx(3 * pair)


def test_arms_that_are_beaten_make_room_for_the_others() -> None:
    """Stepping down: with two arms far off left out, there are three to correct for and not five."""
    losses = table(8, 8, 5, (0.0, 0.7, 0.7, 9.0, 9.0))
    p = corrected(losses, ones(losses))
    assert p[2:].max() < 0.01
    assert list(p[:2]) == list(corrected(losses[:, :3], ones(losses[:, :3])))
    nearer = losses - np.repeat([[0.0, 0.0, 0.0, 8.3, 8.3]], 8, 0)  # not beaten
    p_nearer = corrected(nearer[:, np.argsort(nearer.mean(0))], ones(nearer))
    assert p_nearer.min() > 0.05
    assert p_nearer[0] > 1.5 * p[0]


def test_an_arm_of_two_seeds_is_left_out_and_takes_nothing_from_the_others() -> None:
    losses = table(4, 6, 5, (0.0, 1.5))
    short = np.full(6, math.nan)
    short[[1, 4]] = losses[[1, 4], 0] + 50
    both = corrected(np.column_stack([losses, short]), np.ones(6, int))
    assert list(both) == [*corrected(losses, ones(losses)), 1.0]


def test_arms_with_missing_trials_are_compared_where_they_have_them() -> None:
    losses = table(6, 8, 5, (0.0, 0.0, 0.0, 4.0))
    losses[0, 1] = losses[2, 4] = losses[5, 0] = math.nan
    p = corrected(losses, ones(losses))
    assert p[-1] < 0.05
    assert p[-1] >= stats.ttest_rel(losses[:, -1], losses[:, 0], nan_policy="omit").pvalue  # pyright: ignore
    losses[7] = math.nan  # a seed that no arm has
    assert np.all(np.isfinite(corrected(losses, ones(losses))))


@pytest.mark.parametrize("arms", [2, 3, 7])
def test_equal_losses_are_never_told_apart(arms: int) -> None:
    losses = np.repeat(table(0, 6, 1), arms, axis=1)
    assert list(corrected(losses, ones(losses))) == [1.0] * (arms - 1)
    further = losses + np.arange(arms)  # and those that are apart by the same at each seed are
    assert np.all(corrected(further, ones(losses)) < 0.05)


def test_one_trial_that_went_wrong_hides_no_difference() -> None:
    losses = table(11, 8, 7, (0.0, *[3.0] * 6))
    before = dealt(losses)
    losses[2, 5] += 1000
    assert np.all(dealt(losses) < 0.01)
    assert np.all(before < 0.01)


sweeps = st.builds(table, st.integers(0, 10_000), st.integers(3, 6), st.integers(2, 5), st.just((0.0, 0.5, 1.0)))


@settings(max_examples=30, deadline=None)
@given(sweeps, st.randoms(use_true_random=False), st.floats(1e-3, 1e3), st.booleans())
def test_names_and_scales_change_nothing(losses: np.ndarray, source: Any, scale: float, holes: bool) -> None:
    """Arms and seeds in another order, another unit, and a seed that is harder for all."""
    n, k = losses.shape
    if holes:
        losses[source.randrange(n), source.randrange(k)] = math.nan
    arms, seeds = list(range(1, k)), list(range(n))
    source.shuffle(arms)
    source.shuffle(seeds)
    other = losses[seeds][:, [0, *arms]] * scale + np.array([source.uniform(-3, 3) for _ in range(n)])[:, None]
    p = corrected(losses, ones(losses))
    np.testing.assert_allclose(corrected(other, ones(losses)), p[np.array(arms) - 1], rtol=1e-6)
    np.testing.assert_array_equal(corrected(losses, ones(losses)), p)


@settings(max_examples=30, deadline=None)
@given(sweeps)
def test_p_falls_with_distance_and_rises_with_settings(losses: np.ndarray) -> None:
    p = dealt(losses)
    order = np.argsort(bounded(losses).mean(0)[1:])
    assert np.all(np.diff(p[order]) <= 0)
    one, many = corrected(losses, ones(losses)), corrected(losses, np.array([3, *[1] * (losses.shape[1] - 1)]))
    assert np.all(one <= many)
    assert np.all((p > 0) & (p <= 1) & (one >= 0) & (many <= 1))


def test_large_sweeps_are_dealt_out_less_often() -> None:
    for n, k in ((8, 7), (12, 20), (6, 600), (4, 20_000)):
        parts = [len(part) for part in deals(np.random.default_rng(0).normal(size=(n, k)))]
        assert sum(parts) - 1 == max(99, min(1999, 5_000_000 // (n * k)))
        assert max(parts) * k <= 500_000


NOISE: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy-tailed": lambda rng, shape: rng.standard_t(3, shape),
    "skewed": lambda rng, shape: rng.lognormal(size=shape),
    "in steps": lambda rng, shape: rng.integers(0, 3, shape).astype(float),
}


def rate(noise: str, case: tuple[int, Sequence[float], Sequence[int]], sweeps: int) -> float:
    """In what share of simulated sweeps an arm is called better than one that is as good or better."""
    (seeds, behind, tried), rng, wrong = case, np.random.default_rng(0), 0
    for _ in range(sweeps):
        of_arms = [NOISE[noise](rng, (seeds, count)) + far for far, count in zip(behind, tried, strict=True)]
        losses = np.stack([one[:, np.argmin(one.mean(0))] for one in of_arms], 1)
        order = np.argsort(losses.mean(0), kind="stable")
        truth = np.array(behind)[order]
        better = corrected(losses[:, order], np.array(tried)[order]) < 0.05
        wrong += bool(np.any(better & (truth[1:] <= truth[0])))
    return wrong / sweeps


CASES: dict[str, tuple[int, Sequence[float], Sequence[int]]] = {
    "two arms, three seeds": (3, (0.0,) * 2, (1,) * 2),
    "three arms": (4, (0.0,) * 3, (1,) * 3),
    "seven arms": (6, (0.0,) * 7, (1,) * 7),
    "seven arms, three settings": (6, (0.0,) * 7, (3,) * 7),
    "six settings and one": (6, (0.0,) * 4, (6, 1, 6, 1)),
    "three equal, four worse": (8, (0.0,) * 3 + (1.5,) * 4, (1,) * 7),
    "two equal, five far worse": (4, (0.0,) * 2 + (9.0,) * 5, (1,) * 7),
}


@pytest.mark.parametrize("noise", ["normal", "skewed"])
@pytest.mark.parametrize("case", CASES)
def test_an_arm_is_falsely_called_better_at_most_at_the_stated_rate(case: str, noise: str) -> None:
    """Within 2.6 standard errors of 150 sweeps. `docs/verdicts.md` has more cases."""
    assert rate(noise, CASES[case], 150) <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / 150)


@pytest.mark.long
@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("case", CASES)
def test_that_rate_in_many_sweeps(case: str, noise: str) -> None:
    """Within 2.6 standard errors of 3,000 sweeps."""
    assert rate(noise, CASES[case], 3000) <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / 3000)


def test_more_is_found_than_by_pairs() -> None:
    """One of seven arms better by one standard deviation, eight seeds: any difference in 46% of sweeps, 22% by Bonferroni."""
    rng, found, by_pairs = np.random.default_rng(0), 0, 0
    for _ in range(300):
        losses = rng.normal(size=(8, 7)) - np.eye(7)[0]
        losses = losses[:, np.argsort(losses.mean(0))]
        found += bool(np.any(corrected(losses, ones(losses)) < 0.05))
        alone: Any = stats.ttest_rel(losses[:, 1:], losses[:, :1])
        by_pairs += bool(np.any(21 * alone.pvalue < 0.05))
    assert found > 1.5 * by_pairs
    assert found > 0.4 * 300
    assert chance.CHANCE == 0.05
