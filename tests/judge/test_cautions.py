"""What a verdict says of budgets that ended too soon and of ranges that were too narrow: results with a known answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from jaxgen.judge.answers import answer
from jaxgen.judge.results import Results
from jaxgen.search.sweep import Question, Sweep
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.task import METRICS

RATE, NAME = "optimizer.learning_rate", "optimizer.name"
BUDGET = Config().train.steps


def found(
    losses: Mapping[tuple[Any, ...], float],
    keys: Sequence[str],
    arms: Sequence[str] = (),
    best_step: int = 400,
    steps: int = BUDGET,
    status: str = "completed",
) -> list[str]:
    """The sentences of a verdict on settings of three seeds, by their loss."""
    points = [{**dict(zip(keys, values, strict=True)), "seed": seed} for values in losses for seed in range(3)]
    results = Results(Sweep(Config(), tuple(points)), question=Question(arms=tuple(arms)), metrics=METRICS)
    for trial in range(len(points)):
        loss = [*losses.values()][trial // 3] + 0.01 * (trial % 3)
        ended = {"train_loss": loss, "val_loss": loss, "test_loss": loss}
        results.rows.append(results.row(trial, status, 1, steps, best_step, ended))
    return [line for line in answer(results).sentences if "still improving" in line or "edge" in line]


@pytest.mark.parametrize(
    ("key", "best", "more", "said"),
    [
        (NAME, BUDGET, {}, ["6 of 6 trials were still improving when the budget ended (--train.steps); a longer one"]),
        (NAME, BUDGET - 400, {}, []),
        (NAME, 400, {"steps": 400}, []),  # one evaluation: the best of one
        (NAME, BUDGET, {"status": "stopped"}, []),  # by their patience
        ("optimizer.schedule", BUDGET, {}, ["3 of 3 trials were still improving"]),  # not the three whose rate ends at zero
    ],
)
def test_budgets_that_ended_too_soon(key: str, best: int, more: dict[str, Any], said: list[str]) -> None:
    values = ("constant", "cosine") if key.endswith("schedule") else ("adam", "sgd")
    lines = found({(values[0],): 2.3, (values[1],): 2.5}, (key,), best_step=best, **more)
    assert len(lines) == len(said)
    assert all(line.startswith(start) for line, start in zip(lines, said, strict=True))


def test_of_one_trial_nothing_is_said_of_an_order() -> None:
    results = Results(Sweep(Config()), metrics=METRICS)
    results.rows.append(results.row(0, "completed", 1, BUDGET, BUDGET, {"val_loss": 2.0}))
    assert answer(results).sentences[-1] == "the trial was still improving when the budget ended (--train.steps)"


def rates(**losses: Sequence[float]) -> dict[tuple[str, float], float]:
    """Losses by optimizer, each at the rates 0.1, 0.2, 0.3 and so on."""
    return {(name, (place + 1) / 10): loss for name, each in losses.items() for place, loss in enumerate(each)}


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        (rates(adam=(3, 2, 1), sgd=(2, 1, 2)), "adam at learning rate 0.3 (the largest tried)"),
        (
            rates(adam=(3, 2, 1), sgd=(1, 2, 3)),
            "adam at learning rate 0.3 (the largest tried); sgd at learning rate 0.1 (the smallest tried)",
        ),
        (rates(adam=(2, 1, 2), sgd=(2, 1, 2)), ""),
        (rates(adam=(1, 2), sgd=(1, 2)), ""),  # two values are no range
    ],
)
def test_arms_that_are_best_at_the_edge(losses: dict[tuple[str, float], float], said: str) -> None:
    start = "best at the edge of a range, so that better may lie beyond: "
    assert found(losses, (NAME, RATE), arms=(NAME,)) == ([start + said] if said else [])


def test_where_all_is_compared_the_winner_counts() -> None:
    losses = {(rate,): loss for rate, loss in ((0.1, 3.0), (0.2, 2.0), (0.3, 1.0))}
    (line,) = found(losses, (RATE,))
    assert line.endswith(": learning rate 0.3 (the largest tried)")


def test_nothing_lies_beyond_what_a_field_allows() -> None:
    losses = {(share,): loss for share, loss in ((0.0, 1.0), (0.2, 2.0), (0.4, 3.0))}
    assert found(losses, ("regularizer.dropout",)) == []
