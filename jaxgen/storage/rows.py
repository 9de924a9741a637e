"""Rows of a run's table as a save holds them, of this format and of those before it."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from jaxgen.judge.results import ENDINGS, Row
from jaxgen.storage.files import checked

OF_NAMES = ("train_loss", "val_loss", "test_loss", "dev_loss")  # fields of a row before format 8


def row_of(facts: Any) -> Row:
    """The row that `dataclasses.asdict` made a JSON value of, of this format or of the names task's before it.

    Raises:
      ValueError: where that is none.
    """
    facts = dict(checked(facts, dict[str, Any]))
    if "metrics" not in facts and "val_loss" in facts:
        losses = {name: facts.pop(name) for name in OF_NAMES if name in facts}
        facts["metrics"] = {name: value for name, value in losses.items() if value is not None}
        facts |= {"score": losses["val_loss"], "measured": facts.pop("quality", {})}
    hints = get_type_hints(Row)
    needed = {part.name for part in fields(Row) if part.default is MISSING and part.default_factory is MISSING}
    if not needed <= facts.keys() <= hints.keys():
        raise ValueError(f"a row of {', '.join(map(str, facts))}")
    row = Row(**{key: checked(value, hints[key]) for key, value in facts.items()})
    if row.status not in ENDINGS:
        raise ValueError(f"a row that {row.status!r}")
    return row
