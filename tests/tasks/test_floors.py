"""How networks are said to stand beside what is had without one: a task of a test's own, and results that no one trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import jaxgen
from jaxgen.judge.floors import FEW, reference, standings
from jaxgen.judge.results import Results
from jaxgen.search.sweep import Sweep
from jaxgen.tasks.base import Task
from jaxgen.tasks.metric import Metric
from jaxgen.tasks.rows import Splits


class Floored(Task):
    """Two metrics, of which the one that does not select has floors: they depend on the split."""

    name = "floored"
    metrics = (Metric("loss", "nats"), Metric("accuracy", higher_is_better=True))

    def splits(self, data: Any) -> Any:
        return (np.full(20, data.split_seed, np.int32),)

    def floors(self, splits: Splits) -> Mapping[str, Mapping[str, float]]:
        best = 0.5 + 0.01 * float(splits.train[0][0])
        return {
            "guessing": {"val_accuracy": 0.1, "test_accuracy": 0.2},
            "a table": {"val_accuracy": best, "test_accuracy": 0.4},
        }


def stands(task: Task, found: Sequence[tuple[Mapping[str, Any], str, float]]) -> list[str]:
    """What is said of trials of these values, statuses and accuracies on validation."""
    results = Results(Sweep(task.config(), tuple(values for values, _, _ in found)), metrics=task.metrics)
    for trial, (_, status, accuracy) in enumerate(found):
        metrics = {"val_loss": 1.0 + trial, "val_accuracy": accuracy, "test_accuracy": accuracy - 0.1}
        results.rows.append(results.row(trial, status, 1, 5, 5, metrics))
    return standings(task, results)


def test_the_best_network_is_held_against_the_best_floor() -> None:
    base = {"data.split_seed": 10}
    better = stands(Floored(), [(base, "completed", 0.5), (base, "stopped", 0.75), (base, "diverged", 0.99)])
    floor = "0.6000 on validation, 0.4000 on test"
    assert better == [
        f"With data.split_seed 10: the floor without a network, a table, has accuracy {floor}; "
        "the best network, trial 1, is better: 0.7500 on validation, 0.6500 on test."
    ]
    (worse,) = stands(Floored(), [({"seed": 1}, "completed", 0.6)])
    assert worse.startswith("The floor without a network, a table, has accuracy 0.9200 on validation")
    assert "no network is better on validation: the best, trial 0, has 0.6000 on validation, 0.5000 on test." in worse
    (none,) = stands(Floored(), [({}, "diverged", 0.9), ({"seed": 1}, "completed", math.nan)])
    assert none.endswith("every network diverged.")


def test_of_a_run_that_was_stopped_nothing_is_said_to_have_diverged() -> None:
    task = Floored()
    results = Results(Sweep(task.config(), ({}, {"seed": 1})), metrics=task.metrics)
    (none,) = standings(task, results)
    assert none.endswith("0.4000 on test; no network has ended yet.")
    results.rows.append(results.row(0, "diverged", 1, 5, 5, {"val_accuracy": 0.9}))
    (some,) = standings(task, results)
    assert some.endswith("; every network that has ended (1 of 2) diverged.")


def test_of_many_splits_it_is_said_in_how_many() -> None:
    found = stands(Floored(), [({"data.split_seed": seed}, "completed", 0.55) for seed in range(FEW + 3)])
    assert found == [f"The best network beats the best floor without one on validation in 5 of {FEW + 3} (data.split_seed)."]


def test_where_nothing_is_known_nothing_is_said() -> None:
    class Solved(Floored):
        def trains(self, config: Any) -> bool:
            return False

    assert stands(Solved(), [({}, "completed", 0.9)]) == []
    bare = jaxgen.supervised((lambda model, key, x: ({}, {}), lambda *given: given), (np.zeros((20, 1)), np.zeros(20)))
    assert stands(bare, [({}, "completed", 0.9)]) == []


def test_a_leaderboard_has_the_best_floor_of_the_metric_that_ranks() -> None:
    class ByAccuracy(Floored):
        metrics = Floored.metrics[::-1]

    def found(task: Task, *points: Mapping[str, Any]) -> Any:
        return reference(task, Results(Sweep(task.config(), points), metrics=task.metrics))

    name, values = found(ByAccuracy(), {"data.split_seed": 10}) or ("", {})
    assert (name, values["val_accuracy"]) == ("a table", 0.6)
    assert found(Floored(), {}) is None  # no floor has a loss, which ranks
    assert found(ByAccuracy(), *({"data.split_seed": seed} for seed in (1, 2))) is None  # there are two
