"""Rows of a run's table as a save holds them, of this format and of those before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from jaxgen.judge.results import ENDINGS, Row

OF_NAMES = ("train_loss", "val_loss", "test_loss", "dev_loss")  # fields of a row before format 8
NEEDED = {part.name for part in fields(Row) if part.default is MISSING and part.default_factory is MISSING}


def _numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(x, float | int) for x in value.values())


def scalars(value: Any) -> bool:
    """Whether a JSON value is of names and values of a config."""
    return isinstance(value, dict) and all(x is None or isinstance(x, str | float | int) for x in value.values())


KINDS: Mapping[str, Callable[[Any], bool]] = {  # by hand: a checker of any type takes a millisecond a row
    **{name: lambda value: isinstance(value, int) for name in ("trial", "seed", "params", "steps", "best_step")},
    **{name: lambda value: isinstance(value, str) for name in ("status", "flaw")},
    "values": scalars,
    "metrics": _numbers,
    "score": lambda value: isinstance(value, float | int),
    "measured": _numbers,
}


def row_of(facts: Any) -> Row:
    """The row that `dataclasses.asdict` made a JSON value of, of this format or of the names task's before it.

    Raises:
      ValueError: where that is none.
    """
    if not isinstance(facts, dict):
        raise ValueError("a row that is none")
    if "metrics" not in facts and "val_loss" in facts:
        facts = dict(facts)
        losses = {name: facts.pop(name) for name in OF_NAMES if name in facts}
        facts["metrics"] = {name: value for name, value in losses.items() if value is not None}
        facts |= {"score": losses["val_loss"], "measured": facts.pop("quality", {})}
    if not NEEDED <= facts.keys() <= KINDS.keys():
        raise ValueError(f"a row of {', '.join(map(str, facts))}")
    strange = next((key for key, value in facts.items() if not KINDS[key](value)), None)
    if strange is not None or facts["status"] not in ENDINGS:
        raise ValueError(f"a row whose {strange or 'status'} is {facts[strange or 'status']!r:.200}")
    return Row(**facts)
