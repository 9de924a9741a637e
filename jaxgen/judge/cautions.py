"""What decides how to read a comparison beside chance: budgets that ended too soon, and ranges that were too narrow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxgen.fields import keys
from jaxgen.judge.results import Arm, Results, Row, Scalar, label

MANY = 0.5  # of the trials, from which on it is said that they were still improving
RANGE = 3  # values, from which on the outermost are the edge of a range


def still_improving(results: Results) -> list[str]:
    """How many trials were at their best when their steps ended, where that is half of them or more.

    Only of trials that were evaluated more than once. A cosine schedule ends where the rate is zero: that its trials are best
    at their end says nothing of more steps.
    """
    counted = [row for row in results.rows if row.status == "completed" and _could_go_on(results, row)]
    late = sum(row.best_step == row.steps for row in counted)
    if not late or late < MANY * len(counted):
        return []
    which = f"{late} of {len(counted)} trials were" if len(counted) > 1 else "the trial was"
    what = "; a longer one may change the order" if len(results.leaderboard()) > 1 else ""
    return [f"{which} still improving when the budget ended (--train.steps){what}"]


def _could_go_on(results: Results, row: Row) -> bool:
    base = results.sweep.base
    every: Any = row.values.get("train.eval_every", base.train.eval_every)
    return row.steps > every and row.values.get("optimizer.schedule", base.optimizer.schedule) != "cosine"


def at_the_edge(results: Results, chosen: Iterable[tuple[str, Arm, Sequence[Arm], Sequence[str]]]) -> list[str]:
    """Which arms are best at the smallest or the largest value that was tried of a number, so that better may lie beyond.

    Args:
      chosen: of each arm its name, its best setting, all of its settings, and the keys in which they differ.
    """
    kind = type(results.sweep.base)
    found: list[str] = []
    for name, best, settings, tuned in chosen:
        ends = {}
        for key in tuned:
            end = _end(best.values.get(key), [setting.values.get(key) for setting in settings])
            part = keys(kind).get(key)
            if end and part is not None and not key.startswith("data.") and best.values[key] != getattr(part, BOUNDS[end]):
                ends[key] = end
        said = " and ".join(f"{label({key: best.values[key]})} (the {end} tried)" for key, end in ends.items())
        if said:
            found.append(f"{name} at {said}" if name else said)
    if not found:
        return []
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return [f"best at the edge of a range, so that better may lie beyond: {'; '.join(found[:SHOWN])}{more}"]


SHOWN = 6  # arms that one sentence names
BOUNDS: Mapping[str, str] = {"smallest": "low", "largest": "high"}  # where a field allows nothing beyond


def _end(value: Scalar, tried: Sequence[Scalar]) -> str:
    """Whether a number is the smallest or the largest of those that were tried."""
    numbers = {x for x in tried if isinstance(x, int | float) and not isinstance(x, bool)}
    if len(numbers) < RANGE or value not in numbers:
        return ""
    return "smallest" if value == min(numbers) else "largest" if value == max(numbers) else ""
