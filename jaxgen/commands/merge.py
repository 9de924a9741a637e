"""Joins the parts of a run that several machines trained, and says what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from jaxgen.commands.cli import Signals, given_task, parse


@dataclass(frozen=True)
class Flags:
    """Joins what the parts of a run hold (sweep --part) to the run that one machine would have made, and says what is missing.

    It can be called as often as one likes, also while parts are trained.
    """

    run: tyro.conf.Positional[str]
    """The run's folder."""
    task: str | None = None
    """FILE.py:OBJECT or package.module:OBJECT, where the run's task is one of your own."""


def command(signals: Signals) -> None:
    flags = parse(Flags, "merge")
    from jaxgen.commands.shares import merged

    merged(Path(flags.run), given_task(flags.task))
