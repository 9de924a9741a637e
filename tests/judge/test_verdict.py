"""Verdicts on results with a known answer: no training, losses by arm, learning rate and seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

import jaxgen
from jaxgen.judge.answers import answer
from jaxgen.judge.chance import corrected
from jaxgen.judge.results import DIVERGED, Results, label
from jaxgen.judge.statistics import Tried, best_of, interval, seeds_for, t_test
from jaxgen.judge.verdict import Comparison, Verdict
from jaxgen.search.sweep import Question, Sweep
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.task import METRICS

pytestmark = pytest.mark.filterwarnings("error")  # a warning of NumPy's or SciPy's is a number that nobody thought about

Losses = Mapping[tuple[Any, ...], Sequence[float | None]]
TUNED = ("optimizer.name", "optimizer.learning_rate")


def results(losses: Losses, keys: Sequence[str] = TUNED, arms: Sequence[str] = TUNED[:1]) -> Results:
    """Results by the values of `keys`: a validation loss a seed, infinite if the trial diverged, None if it has not ended.

    The test loss is the validation loss less 0.01.
    """
    points = [
        dict(zip((*keys, "seed"), (*values, seed), strict=True))
        for values, per_seed in losses.items()
        for seed in range(len(per_seed))
    ]
    found = Results(Sweep(Config(), tuple(points)), question=Question(arms=tuple(arms)), metrics=METRICS)
    for trial, loss in enumerate(itertools.chain(*losses.values())):
        if loss is not None:
            status = "completed" if math.isfinite(loss) else DIVERGED
            found.rows.append(
                found.row(trial, status, 1, 1, 1, {"train_loss": loss, "val_loss": loss, "test_loss": loss - 0.01})
            )
    return found


def sweep_of(rng: np.random.Generator, tried: Sequence[int], seeds: int, gap: float = 0.0) -> Results:
    """Arms with noise that all share at a seed (0.05) and noise of their own (0.004); all but the first worse by `gap`."""
    common = 2.3 + rng.normal(0, 0.05, seeds)
    return results(
        {
            (f"arm {arm}", float(rate)): list(common + rng.normal(0, 0.004, seeds) + (gap if arm else 0.0))
            for arm, count in enumerate(tried)
            for rate in range(1, count + 1)
        }
    )


def test_a_verdict_reads_as_promised() -> None:
    verdict = answer(
        results(
            {
                ("adam", 0.001): [2.4, 2.5, 2.4, 2.5],
                ("adam", 0.003): [2.30, 2.32, 2.31, 2.33],
                ("sgd", 0.1): [2.340, 2.361, 2.349, 2.370],
                ("sgd", 0.3): [2.5, 2.5, 2.5, 2.5],
                ("lion", 0.1): [2.8, 2.8, 2.8, 2.8],
                ("lion", 0.3): [2.9, 2.9, 2.9, 2.9],
            }
        )
    )
    # sgd less adam: 0.040, 0.041, 0.039, 0.040; t(3) is 3.1824 at 97.5%, and the standard error 0.000408
    assert verdict.sentences == (
        "adam beats sgd by 0.040 nats (95% CI 0.039 to 0.041, 4 seeds), and lion by more",
        "Selected: adam at learning rate 0.003, validation 2.3150, test 2.3050 nats a character (mean of 4 seeds)",
    )
    closest, other = verdict.comparisons
    assert (closest.better, closest.worse, closest.seeds, closest.resolved) == ("adam", "sgd", 4, True)
    assert (other.better, other.worse) == ("adam", "lion")
    assert [closest.difference, closest.low, closest.high] == pytest.approx(
        [0.04, 0.04 - 3.1824 * 0.00040825, 0.04 + 3.1824 * 0.00040825], abs=1e-6
    )
    assert closest.effect == pytest.approx(0.04 / 0.00081650, rel=1e-4)
    adam = [2.30, 2.32, 2.31, 2.33]
    # A twentieth of the chance is for t-tests of the three pairs.
    assert closest.p == pytest.approx(3 / 0.05 * stats.ttest_rel([2.340, 2.361, 2.349, 2.370], adam).pvalue)
    assert {name: [tried.settings for tried in curve] for name, curve in verdict.budgets.items()} == {
        "adam": [1, 2],
        "sgd": [1, 2],
        "lion": [1, 2],
    }
    assert [tried.loss for tried in verdict.budgets["adam"]] == pytest.approx([(2.315 + 2.45) / 2, 2.315])


def test_what_is_not_resolved_says_so_and_what_is_still_known() -> None:
    verdict = answer(
        results(
            {
                ("adam",): [2.30, 2.32, 2.31, 2.33],
                ("rmsprop",): [2.31, 2.31, 2.33, 2.32],
                ("sgd",): [2.340, 2.361, 2.349, 2.370],
                ("zero",): [3.300, 3.321, 3.310, 3.330],
            },
            TUNED[:1],
        )
    )
    headline, takes, beaten, selected = verdict.sentences
    assert headline == "not resolved: adam leads rmsprop by 0.003 nats, which could be chance (95% CI -0.021 to 0.034, 4 seeds)"
    assert takes == "if the difference is what it is here, about 280 seeds (--seeds) would resolve it"
    assert beaten == "adam does beat sgd, zero (by 0.04 nats or more)"
    assert selected == "Selected: adam, validation 2.3150, test 2.3050 nats a character (mean of 4 seeds)"
    assert verdict.budgets == {}


def test_a_clear_lead_over_the_closest_does_not_hide_a_noisy_one() -> None:
    verdict = answer(
        results({("a",): [2.0, 2.1, 2.0], ("b",): [2.100, 2.201, 2.101], ("c",): [3.0, 2.2, 2.6]}, TUNED[:1]),
    )
    assert verdict.sentences[0].startswith("a beats b by 0.101 nats")
    assert verdict.sentences[1] == "not resolved: a and c"


def test_a_lead_that_only_the_number_of_arms_makes_chance_says_so() -> None:
    shown = str(Comparison("a", "b", 0.004, 0.001, 0.007, 1.5, 0.21, 6, False, "nats"))
    assert shown == (
        "not resolved: a leads b by 0.004 nats, which could be chance (95% CI 0.001 to 0.007, 6 seeds; corrected p 0.21)"
    )


def test_small_differences_keep_the_digits_that_matter() -> None:
    shown = str(Comparison("a", "b", 0.00052, 0.00031, 0.00071, 3.0, 0.01, 8, True, "nats"))
    assert shown == "a beats b by 0.0005 nats (95% CI 0.0003 to 0.0007, 8 seeds)"


@pytest.mark.parametrize("effect", [0.3, 0.7, 1.5])
@pytest.mark.parametrize("share", [0.05, 0.05 / 6])
def test_so_many_seeds_find_a_difference_in_four_of_five_sweeps(effect: float, share: float) -> None:
    found = seeds_for(effect, share, 1000)
    rng = np.random.default_rng(0)

    def power(n: int) -> float:
        tests: Any = stats.ttest_1samp(rng.normal(effect, 1, (20_000, n)), 0, axis=1)
        return float(np.mean(tests.pvalue < share))

    error = math.sqrt(0.8 * 0.2 / 20_000)
    assert power(found) > 0.8 - 4 * error
    assert power(found - 1) < 0.8 + 4 * error
    assert seeds_for(effect, share, found - 1) == found  # more than were asked for


@pytest.mark.parametrize(("others", "gap"), [(1, 0.5), (6, 1.0), (2, 0.7)])
def test_that_many_seeds_resolve_a_verdict_in_about_as_many_sweeps(others: int, gap: float) -> None:
    # The verdict's own rule is no t-test corrected for the arms, so that the estimate is a rough one: 71 to 85% were found.
    n, rng = seeds_for(gap / math.sqrt(2), 0.05 / others, 1000), np.random.default_rng(1)
    told = 0
    for _ in range(100):
        table = rng.normal(np.r_[0, np.full(others, gap)], 1, (n, 1 + others))
        order = np.argsort(table.mean(0))
        told += order[0] == 0 and bool(np.all(corrected(table[:, order], np.ones(1 + others)) < 0.05))
    assert 60 <= told <= 95


def test_what_no_number_of_seeds_would_show_is_said() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (2, 6))
    noise[1] += noise[0].mean() - noise[1].mean() + 1e-5
    takes = answer(results({("a",): list(2 + noise[0]), ("b",): list(2 + noise[1])}, TUNED[:1])).sentences[1]
    assert takes == "if the difference is what it is here, more than 1,000 seeds would be needed to resolve it"


@pytest.mark.parametrize("n", [2, 3, 5, 6, 8, 30])
def test_the_t_test_is_scipys(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(2.3, 0.05, (2, n))
    effect, p = t_test(b - a)
    expected: Any = stats.ttest_rel(b, a)
    assert p == pytest.approx(expected.pvalue)
    assert effect == pytest.approx(expected.statistic / math.sqrt(n))


@pytest.mark.parametrize("n", range(2, 10))
def test_differences_that_are_all_the_same(n: int) -> None:
    """No spread, though the rounding of their mean may leave one; the interval is a point, and no warning is given."""
    for same, expected in ((0.1, 0.0), (0.0, 1.0)):
        differences = np.full(n, same)
        effect, p = t_test(differences)
        assert math.isnan(effect)
        assert p == expected
        assert interval(differences) == pytest.approx((same, same), abs=1e-12)


def hall(differences: np.ndarray) -> tuple[float, float]:
    """Hall's interval, by finding the t of which his transformation gives Student's."""
    n, skewness = len(differences), float(stats.skew(differences, bias=False))
    a, t, error = skewness / math.sqrt(n), stats.t.ppf(0.975, n - 1), float(stats.sem(differences))

    def g(t: float) -> float:
        return t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6

    ends: Any = (optimize.brentq(lambda x, end=end: g(x) - end, -1e4, 1e4) for end in (-t, t))
    upper, lower = ends
    return np.mean(differences) - lower * error, np.mean(differences) - upper * error


@pytest.mark.parametrize("n", [2, 3, 5, 6, 12])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_interval_is_students_or_halls_where_that_is_wider(n: int, sign: int) -> None:
    differences = sign * np.random.default_rng(n).lognormal(0, 1, n)
    student: Any = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    low, high = hall(differences) if n > 2 else (student.low, student.high)
    assert interval(differences) == pytest.approx((min(low, student.low), max(high, student.high)))
    assert n == 2 or low != pytest.approx(student.low)


@pytest.mark.parametrize(
    ("draw", "seeds", "least", "most"),
    [
        (lambda rng: rng.normal(0, 1, 6), 6, 0.95, 0.98),  # 96.4%
        (lambda rng: 1 - rng.exponential(1, 6), 6, 0.92, 0.96),  # 94.1%; Student's 88.5%
        (lambda rng: rng.lognormal(0, 1, 6) - math.exp(0.5), 6, 0.88, 0.93),  # 90.3%; Student's 82.3%
    ],
    ids=["normal", "exponential", "lognormal"],
)
def test_the_interval_holds_the_truth_as_often_as_it_says(draw: Any, seeds: int, least: float, most: float) -> None:
    """The standard error of 2,000 cases is 0.4 to 0.7%."""
    rng = np.random.default_rng(1)
    ends = [interval(draw(rng)) for _ in range(2000)]
    assert least < np.mean([low <= 0 <= high for low, high in ends]) < most


@pytest.mark.parametrize("tried", [(1, 1), (1,) * 6, (1, 6), (3, 3)], ids=str)
def test_equal_arms_are_called_better_at_most_at_the_stated_rate(tried: tuple[int, ...]) -> None:
    """Within two standard errors of 80 sweeps; `test_chance` has the rule alone in many more."""
    rng = np.random.default_rng(5)
    verdicts = [answer(sweep_of(rng, tried, seeds=6)) for _ in range(80)]
    wrong = np.mean([any(found.resolved for found in verdict.comparisons) for verdict in verdicts])
    assert wrong <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 80)


def test_a_verdict_goes_by_the_table_of_its_arms_at_their_best_settings() -> None:
    """By seed and arm, the winner first; a trial that diverged is missing from it."""
    inf, nan = math.inf, math.nan
    losses = {
        ("a", 0.1): [2.41, 2.38, 2.44, 2.35, 2.42, 2.39],
        ("a", 0.3): [2.31, 2.35, 2.28, 2.30, 2.33, 2.29],
        ("b", 0.1): [2.33, 2.34, 2.30, 2.29, 2.36, 2.32],
        ("b", 0.3): [2.39, 2.39, 2.35, 2.38, 2.35, 2.40],
        ("c", 0.1): [2.38, inf, 2.36, 2.41, 2.37, 2.44],
        ("d", 0.1): [inf, inf, 2.31, inf, 2.45, inf],
    }
    found = {one.worse: one for one in answer(results(losses)).comparisons}
    table = np.array(
        [losses["a", 0.3], losses["b", 0.1], [2.38, nan, 2.36, 2.41, 2.37, 2.44], [nan, nan, 2.31, nan, 2.45, nan]]
    )
    assert [found[name].p for name in "bcd"] == list(corrected(table.T, np.array([2, 2, 1, 1])))
    assert found["c"].p < found["b"].p < found["d"].p == 1
    assert [found[name].seeds for name in "bcd"] == [6, 5, 2]


def test_two_seeds_never_tell_two_arms_apart() -> None:
    """However far apart: chance puts the same arm ahead at both in half of all cases."""
    verdict = answer(results({("a",): [2.0, 2.1], ("b",): [3.0, 3.1], ("c",): [3.0, 3.3]}, TUNED[:1]))
    assert verdict.sentences[0] == ("not resolved: a leads b by 1.000 nats, but two seeds cannot tell; give --seeds 6 or more")
    assert not any("beat" in sentence for sentence in verdict.sentences)


def test_where_equal_arms_are_ruled_out_the_interval_stops_at_zero() -> None:
    """The differences have a long tail downwards: Student's interval excludes zero, Hall's does not."""
    differences = np.array([0.05, 0.045, 0.055, 0.05, 0.048, 0.002])
    student: Any = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert interval(differences)[0] < 0 < student.low
    a = np.array([2.31, 2.35, 2.28, 2.30, 2.33, 2.29])
    (found,) = answer(results({("a",): list(a), ("b",): list(a + differences)}, TUNED[:1])).comparisons
    assert found.resolved
    assert found.low == 0
    assert str(found).startswith("a beats b by 0.042 nats (95% CI 0.000 to 0.0")
    three = replace(found, difference=0.00004, high=0.0001)
    assert str(three).startswith("a beats b by 0.00004 nats (95% CI 0.00000 to 0.00010")


def test_a_real_difference_is_found() -> None:
    """0.02 nats under common noise of 0.05 and own noise of 0.004: pairing is what finds it, at six seeds."""
    rng = np.random.default_rng(7)
    found = [answer(sweep_of(rng, (1, 1), seeds=6, gap=0.02)).comparisons[0] for _ in range(100)]
    assert sum(c.resolved and c.better == "arm 0" for c in found) >= 98
    assert np.mean([c.difference for c in found]) == pytest.approx(0.02, abs=3 * 0.004 * math.sqrt(2 / 600))
    of_six = [answer(sweep_of(rng, (1,) * 6, seeds=8, gap=0.02)) for _ in range(20)]
    for verdict in of_six:
        check(verdict)
    assert sum("and the 4 other arms by more" in verdict.sentences[0] for verdict in of_six) >= 19


def test_more_settings_to_choose_from_ask_for_more_evidence() -> None:
    """An arm of four settings has four times the chances of a lucky one that an arm of a single setting has."""
    a, b = [2.30, 2.32, 2.31, 2.33], [2.34, 2.36, 2.34, 2.38]
    worse = {("a", rate): [3.0 + rate] * 4 for rate in (0.1, 0.2, 0.3)}
    alone = answer(results({("a", 1.0): a, ("b", 1.0): b}))
    tuned = answer(results({("a", 1.0): a, ("b", 1.0): b, **worse}))
    assert tuned.comparisons[0].p == pytest.approx(4 * alone.comparisons[0].p)
    assert "not tuned equally: an arm's best is one of 1 to 4 sound settings" in tuned.sentences
    assert not any("equally" in sentence for sentence in alone.sentences)
    diverged = {("a", rate): [math.inf] * 4 for rate in (0.1, 0.2, 0.3)}  # which no luck could have chosen
    assert answer(results({("a", 1.0): a, ("b", 1.0): b, **diverged})).comparisons == alone.comparisons


def test_a_setting_that_diverges_at_a_seed_ranks_behind_those_that_do_not() -> None:
    verdict = answer(
        results(
            {
                ("adam", 0.01): [2.1, 2.1, math.inf],
                ("adam", 0.001): [2.4, 2.5, 2.6],
                ("adam", 0.003): [2.31, 2.30, 2.32],
                ("sgd", 1.0): [math.inf, 2.33, 2.36],
                ("sgd", 2.0): [math.inf, math.inf, 2.0],
            }
        )
    )
    closest = verdict.comparisons[0]
    assert (closest.better, closest.seeds) == ("adam", 2)
    assert closest.difference == pytest.approx((0.03 + 0.04) / 2)  # at the seeds that both have
    assert verdict.sentences[1].startswith("Selected: adam at learning rate 0.003, validation 2.3100,")
    assert "diverged at their best setting: sgd in 1 of 3 trials" in verdict.sentences


def test_the_winner_leads_where_the_arms_meet() -> None:
    """`luck` has the lower mean only because it diverged at the seed that is hard for both."""
    verdict = answer(results({("luck",): [2.1, 2.1, math.inf], ("skill",): [2.0, 2.09, 2.9]}, TUNED[:1]))
    (found,) = verdict.comparisons
    assert (found.better, found.worse, found.seeds) == ("skill", "luck", 2)
    assert found.difference == pytest.approx(0.055)
    assert verdict.sentences[1].startswith("Selected: skill,")


def test_where_arms_beat_each_other_in_a_circle_each_comparison_is_true() -> None:
    """Each is better where it meets the next: over seeds 1, 2 and 0."""
    circle = {("a",): [2.9, 2.0, math.inf], ("b",): [math.inf, 2.1, 2.0], ("c",): [2.8, math.inf, 2.1]}
    verdict = answer(results(circle, TUNED[:1]))
    assert {(c.better, c.worse) for c in verdict.comparisons} < {("a", "b"), ("b", "c"), ("c", "a")}
    assert all(c.difference > 0 for c in verdict.comparisons)


def test_the_test_loss_chooses_nothing() -> None:
    """With other test losses only the sentence on the selected setting differs, which gives their mean."""
    losses = {("adam", 0.1): [2.30, 2.32], ("adam", 0.3): [2.33, 2.35], ("sgd", 0.1): [2.31, 2.34], ("sgd", 0.3): [2.4, 2.5]}
    one, other = results(losses), results(losses)
    other.rows = [replace(row, metrics={**row.metrics, "test_loss": 9.0 - row.trial}) for row in other.rows]
    a, b = answer(one), answer(other)
    assert (a.comparisons, a.budgets) == (b.comparisons, b.budgets)
    different = [(x, y) for x, y in zip(a.sentences, b.sentences, strict=True) if x != y]
    assert different == [
        tuple(
            f"Selected: adam at learning rate 0.1, validation 2.3100, test {test:.4f} nats a character (mean of 2 seeds)"
            for test in (2.3, 8.5)
        )
    ]


def test_arms_without_a_seed_in_common_rank_by_validation_too() -> None:
    found = results({("a",): [2.1, math.inf], ("b",): [math.inf, 2.0]}, TUNED[:1])
    found.rows = [replace(row, metrics={**row.metrics, "test_loss": row.trial}) for row in found.rows]
    assert answer(found).sentences[1].startswith("Selected: b,")


def test_the_order_of_the_rows_and_of_the_calls_changes_nothing() -> None:
    found = sweep_of(np.random.default_rng(3), (2, 3, 1), seeds=7, gap=0.003)
    before = answer(found)
    found.rows.reverse()
    assert answer(found) == before


@pytest.mark.parametrize(
    ("losses", "sentences"),
    [
        ({("a", 1.0): [None, None]}, ["nothing to say yet", "2 of 2 trials have not ended"]),
        ({("a", 1.0): [math.inf], ("b", 1.0): [math.inf]}, ["nothing to choose from", "a, b diverged in every trial"]),
        (
            {("a", 1.0): [2.0], ("b", 1.0): [2.1]},
            [
                "not resolved: a leads b by 0.100 nats, but one seed cannot tell; give --seeds 6 or more",
                "Selected: a at learning rate 1, validation 2.0000, test 1.9900 nats a character (one seed)",
            ],
        ),
        (
            {("a", 1.0): [2.0, None, None], ("b", 1.0): [2.1, 2.2, math.inf], ("c", 1.0): [None, math.inf, math.inf]},
            [
                "not resolved: a leads b by 0.100 nats, but one seed cannot tell",
                "Selected: a at learning rate 1, validation 2.0000, test 1.9900 nats a character (one seed)",
                "c diverged in every trial so far",
                "diverged at their best setting: b in 1 of 3 trials",
                "3 of 9 trials have not ended",
            ],
        ),
        (
            {("a", 1.0): [2.0, math.inf], ("b", 1.0): [math.inf, 2.1]},
            [
                "not resolved: a and b have no seed in common; give --seeds 6 or more",
                "Selected: a at learning rate 1, validation 2.0000, test 1.9900 nats a character (one seed)",
                "diverged at their best setting: a in 1 of 2, b in 1 of 2 trials",
            ],
        ),
        (
            {("a", 1.0): [2.0, 2.5, 2.1, 2.2, 2.3, 2.4], ("b", 1.0): [2.0, 2.5, 2.1, 2.2, 2.3, 2.4]},
            [
                "not resolved: a and b come to the same loss at each of 6 seeds",
                "Selected: a at learning rate 1, validation 2.2500, test 2.2400 nats a character (mean of 6 seeds)",
            ],
        ),
        (
            {("a", 1.0): [2.0, 2.5], ("b", 1.0): [math.inf, math.inf]},
            [
                "nothing to compare a with",
                "Selected: a at learning rate 1, validation 2.2500, test 2.2400 nats a character (mean of 2 seeds)",
                "b diverged in every trial",
            ],
        ),
    ],
    ids=["no rows", "all diverged", "one seed", "unfinished", "no seed in common", "the same loss", "one arm"],
)
def test_what_there_is_to_say_of_little(losses: Losses, sentences: list[str]) -> None:
    assert list(answer(results(losses)).sentences) == sentences


def test_without_a_question_every_combination_is_an_arm() -> None:
    losses = {("adam", 0.1): [2.30, 2.32], ("adam", 0.3): [2.33, 2.35], ("sgd", 0.1): [2.31, 2.34]}
    verdict = jaxgen.answer(results(losses, arms=()))
    assert [c.worse for c in verdict.comparisons] == ["sgd, learning rate 0.1", "adam, learning rate 0.3"]
    assert verdict.comparisons[0].better == "adam, learning rate 0.1"
    assert verdict.budgets == {}


def test_a_trial_alone_is_selected() -> None:
    verdict = answer(results({(): [2.3]}, keys=(), arms=()))
    assert verdict.sentences == ("It comes to validation 2.3000, test 2.2900 nats a character (one seed)",)


def test_a_question_whose_keys_do_not_vary_has_one_arm() -> None:
    verdict = answer(results({(0.1,): [2.3, 2.4], (0.3,): [2.2, 2.3]}, keys=TUNED[1:]))
    assert verdict.comparisons == ()
    (selected,) = verdict.sentences
    assert selected.startswith("Selected: learning rate 0.3, validation")


def test_many_arms_are_not_all_named() -> None:
    verdict = answer(
        results({(f"arm {i}",): [2.0 + i, 2.1 + i, 2.0 + i] for i in range(9)} | {("b",): [2.2, 2.0, 2.0]}, TUNED[:1])
    )
    assert verdict.sentences[2].startswith("arm 0 does beat arm 1, arm 2, arm 3, arm 4, arm 5, arm 6 and 2 more (by 1 nats")


def best_of_all_orders(losses: Sequence[float], k: int) -> Tried:
    """By trying the settings in each order, the better before the worse where both have been tried."""
    best = sorted(losses[min(order[:k])] for order in itertools.permutations(range(len(losses))))
    low, high = (best[math.ceil(len(best) * percent / 100) - 1] for percent in (5, 95))
    return Tried(k, sum(best) / len(best), low, high)


@pytest.mark.parametrize(
    "losses",
    [
        [2.0],
        [2.0, 2.1],
        [2.0, 2.1, 2.1, 2.5, 3.0, 3.5],  # at k = 3 exactly 95% of the cases reach the third best
        [2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6],
        [2.0, 2.1, math.inf, math.inf],
        [math.inf, math.inf],
        [2.5, 2.0, 2.1],  # the first diverges at fewer seeds than the other two
    ],
    ids=str,
)
def test_best_of_k_is_that_of_all_orders(losses: list[float]) -> None:
    found = best_of(losses)
    assert [tried.settings for tried in found] == list(range(1, len(losses) + 1))
    for tried in found:
        expected = best_of_all_orders(losses, tried.settings)
        assert tried.loss == pytest.approx(expected.loss, rel=1e-12)
        assert (tried.low, tried.high) == (expected.low, expected.high)


def test_a_thousand_settings_have_a_curve() -> None:
    """Where binomial coefficients exceed every float: the expected minimum of k of 1..n is (n + 1) / (k + 1)."""
    found = best_of([float(i) for i in range(1, 1001)])
    assert [tried.loss for tried in found] == pytest.approx([1001 / (k + 1) for k in range(1, 1001)])


def test_budgets_end_at_the_selected_loss() -> None:
    verdict = answer(results({("a", 1.0): [2.0, math.inf], ("a", 2.0): [2.3, 2.4], ("b", 1.0): [2.5, 2.4]}))
    assert list(verdict.budgets) == ["a"]
    assert verdict.budgets["a"][-1].loss == pytest.approx(2.35)
    assert "Selected: a at learning rate 2, validation 2.3500" in verdict.sentences[1]


loss = st.one_of(st.floats(0.5, 4.0, width=32), st.sampled_from([math.inf, None, 2.0]))
sweeps = st.integers(1, 7).flatmap(
    lambda seeds: st.dictionaries(
        st.tuples(st.sampled_from("abc"), st.sampled_from([0.1, 0.3, 1.0])),
        st.lists(loss, min_size=seeds, max_size=seeds),
        max_size=6,
    )
)


def check(verdict: Verdict) -> None:
    headline = verdict.sentences[0]
    selected = "".join(line for line in verdict.sentences if line.startswith("Selected: "))
    winner = selected.removeprefix("Selected: ").partition(" at ")[0].partition(",")[0]
    for found in verdict.comparisons:
        assert found.seeds == 0 or found.difference >= 0
        assert found.resolved == (found.p < 0.05)
        assert not found.resolved or found.low >= 0 < found.difference
        assert not found.resolved or found.better == winner
        assert (" beats " in str(found)) == found.resolved
        assert math.isnan(found.low) == (found.seeds < 2)
        assert found.seeds >= 3 or (found.p == 1 and not found.resolved)
        assert found.seeds < 2 or found.low - 1e-12 <= found.difference <= found.high + 1e-12
    differences = [found.difference for found in verdict.comparisons if found.seeds]
    assert differences == sorted(differences)
    if verdict.comparisons:
        closest = verdict.comparisons[0]
        assert headline.startswith(str(closest))
        assert headline.startswith("not resolved: ") != (" beats " in headline)
    assert not any(" beats " in sentence for sentence in verdict.sentences[1:])
    assert sum("test " in sentence for sentence in verdict.sentences) <= 1
    for curve in verdict.budgets.values():
        assert all(tried.low <= tried.high for tried in curve)


@settings(max_examples=60, deadline=None)
@given(sweeps)
def test_no_verdict_claims_what_its_interval_does_not(losses: dict[tuple[str, float], list[float | None]]) -> None:
    check(answer(results(losses)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(st.characters(codec=None), max_size=8), min_size=2, max_size=4, unique=True))
def test_any_name_is_one_printable_line(names: list[str]) -> None:
    losses = {(name, 1.0): [2.0 + 0.1 * i, 2.2 + 0.1 * i, 2.1 + 0.09 * i] for i, name in enumerate(names)}
    verdict = answer(results(losses))
    assert all(sentence.isprintable() for sentence in verdict.sentences)
    assert len({found.worse for found in verdict.comparisons}) == len(names) - 1


def test_arms_that_read_alike_are_told_apart() -> None:
    rates = {(0.1234567, 1): [2.0, 2.1], (0.1234568, 1): [2.2, 2.3]}
    names = ("regularizer.l2 0.1234567, model.depth 1", "regularizer.l2 0.1234568, model.depth 1")
    found = answer(results(rates, ("regularizer.l2", "model.depth"), ()))
    assert (found.comparisons[0].better, found.comparisons[0].worse) == names
    commas = {("a, b", "c"): [2.0, 2.1], ("a", "b, c"): [2.2, 2.3]}
    found = answer(results(commas, ("data.path", "data.column"), ()))
    assert found.comparisons[0].better == "data.path 'a, b', data.column 'c'"


def test_arms_of_several_keys_are_told_apart_in_a_list() -> None:
    """The first two cannot be told from each other, and both beat the others."""
    noise = [0.0, 0.01, -0.01, 0.02, -0.02, 0.0]
    losses = {
        (l2, depth): [2.0 + far + n for n in noise[start:] + noise[:start]]
        for l2, depth, far, start in ((0.0, 1, 0.0, 0), (0.0, 2, 0.0, 1), (0.1, 1, 1.0, 2), (0.1, 2, 1.0, 3))
    }
    found = answer(results(losses, ("regularizer.l2", "model.depth"), ()))
    assert found.sentences[1].startswith("l2 0, depth 1 does beat l2 0.1, depth 1; l2 0.1, depth 2 (by 1 nats")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"optimizer.name": "adam"}, "adam"),
        ({"model.hidden": 100, "regularizer.dropout": 0.25}, "hidden 100, dropout 0.25"),
        ({"train.batch_size": 1000000}, "batch size 1000000"),
        ({"model.residual": True, "model.norm_last": False}, "residual, no norm last"),
        ({"model.normalization": "none"}, "no normalization"),
        ({"optimizer.learning_rate": None}, "default learning rate"),
        ({"data.path": "", "data.column": "a\nb"}, r"'', 'a\nb'"),
        ({}, "the trial"),
    ],
)
def test_labels(values: dict[str, Any], expected: str) -> None:
    assert label(values) == expected
