"""Whether a task keeps the promises that the engine builds on: `jaxgen.testing.check(task)`, in a script or in a test.

`promises` holds what is promised and how it is looked at, with the functions that runs are made of; `case`, on what.

Examples:
  >>> found = jaxgen.testing.check(task, promises=["pure"])
  >>> found.broken
  ()
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from jaxgen.config import Config
from jaxgen.engine import probe
from jaxgen.fields import Caution, UserError
from jaxgen.tasks import task_of
from jaxgen.testing.case import Broken, Case, case_of
from jaxgen.testing.promises import PROMISES, Promise


@dataclass(frozen=True)
class Kept:
    """How a promise stands."""

    name: str
    holds: bool | None  # None: it was not looked at
    said: str = ""

    def __str__(self) -> str:
        word = {True: "holds", False: "BROKEN", None: "not looked at"}[self.holds]
        return f"{self.name}: {word}{f': {self.said}' if self.said else ''}"


@dataclass(frozen=True)
class Report:
    """How a task's promises stand, in the order in which they were looked at."""

    task: str
    promises: tuple[Kept, ...]

    @property
    def broken(self) -> tuple[str, ...]:
        """The names of the broken ones."""
        return tuple(kept.name for kept in self.promises if kept.holds is False)

    def __str__(self) -> str:
        held = sum(kept.holds is True for kept in self.promises)
        head = f"the task {self.task!r} keeps {held} of {len(self.promises)} promises"
        return "\n".join([head, *(f"  {kept}" for kept in self.promises)])


def check(task: Any, config: Config | None = None, promises: Sequence[str] | None = None) -> Report:
    """Looks at a task's promises: on its first rows, at its first steps, in some ten small programs.

    Args:
      task: a `Task`, or a corpus for the names task on it.
      config: one of the task's, whose structure decides what is compiled: a regularizer that is 0 in it is not. None:
        `task.config()`.
      promises: names of `PROMISES`. None: all.

    Returns:
      what holds, and what was said of it; `print` shows a line a promise.

    Raises:
      UserError: where promises are broken, with a line for each: what was promised, what was seen, what to do. It is the one
        error for all that a user can mend: a script ends with its text, and a test fails by it as by any other. Also where
        the task cannot be run at all, with what `run` would say.
    """
    found = look(task, config, promises)
    if found.broken:
        lines = (f"  {kept.name}: {kept.said}" for kept in found.promises if kept.holds is False)
        raise UserError("\n".join([f"the task {found.task!r} breaks {', '.join(found.broken)}:", *lines]))
    return found


def look(task: Any, config: Config | None = None, promises: Sequence[str] | None = None) -> Report:
    """Like `check`, and raises nothing for a broken promise.

    Raises:
      UserError: for the name of no promise, and where the task cannot be run at all.
    """
    wrong = sorted({*(promises or ())} - {*PROMISES})
    if wrong:
        raise UserError(f"there is no promise {wrong[0]!r}; expected one of {', '.join(PROMISES)}")
    found: list[Kept] = []
    # At this precision what is compared is told from rounding on every device.
    with jax.default_matmul_precision("highest"), warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)  # a promise asks for them
        case = case_of(task_of(task), config)
        for name in PROMISES if promises is None else (name for name in PROMISES if name in promises):
            first = next((kept.name for kept in found if kept.holds is False and PROMISES[kept.name].first), None)
            found.append(_asked(name, PROMISES[name], case) if first is None else Kept(name, None, f"{first} comes first"))
    return Report(case.task.name, tuple(found))


def _asked(name: str, promise: Promise, case: Case) -> Kept:
    try:
        return Kept(name, True, promise.look(case))
    except Broken as broken:
        return Kept(name, False, f"{promise.text}, but {broken}")
    except Exception as error:
        if promise.first:  # it cannot be run at all
            raise error if isinstance(error, UserError) else probe.untraced(error) from error
        return Kept(name, False, f"{promise.text}, but {probe.untraced(error)}")
