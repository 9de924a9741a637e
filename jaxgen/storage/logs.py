"""A run's logs, files that only grow, and the tables among them. A save knows what counts of each by its size and SHA-256; a
crash may leave more behind."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from jaxgen.fields import UserError
from jaxgen.judge.results import Curve, Diagnostic, Results, table
from jaxgen.storage.files import append, foreign, head, write, writing

METRICS, DIAGNOSTICS = "metrics.csv", "diagnostics.csv"


class Kind(NamedTuple):
    """What lines a table has: where results hold them, its columns, and a line as what it stands for and back."""

    where: str
    columns: Callable[[Results], Sequence[str]]
    line: Callable[[Any, Sequence[str]], Sequence[Any]]
    read: Callable[[Sequence[str], Sequence[str]], Any]


def _curve(columns: Sequence[str], values: Sequence[str]) -> Curve:
    metrics = {name: float(x) for name, x in zip(columns[2:], values[2:], strict=True)}
    return Curve(int(values[0]), int(values[1]), metrics)


def _diagnostic(columns: Sequence[str], values: Sequence[str]) -> Diagnostic:
    types = get_type_hints(Diagnostic)
    return Diagnostic(**{name: types[name](x) for name, x in zip(columns, values, strict=True)})


KINDS: Mapping[str, Kind] = {
    METRICS: Kind(
        "curves",
        lambda results: ("trial", "step", *results.curve_columns),
        lambda curve, columns: (curve.trial, curve.step, *(curve.metrics.get(name, math.nan) for name in columns[2:])),
        _curve,
    ),
    DIAGNOSTICS: Kind(
        "diagnostics",
        lambda results: [part.name for part in dataclasses.fields(Diagnostic)],
        lambda row, columns: dataclasses.astuple(row),
        _diagnostic,
    ),
}


class Log:
    """A file that only grows, and how much of it counts."""

    def __init__(self, path: Path) -> None:
        self._path, self._hash, self._size = path, hashlib.sha256(), 0

    def begin(self, first: bytes = b"") -> None:
        """Makes the file, with its head alone."""
        write(self._path, first)
        self._count(first)

    def go_on(self, whole: bytes) -> None:
        """Goes on behind all that counts (`counting`), and cuts off what does not."""
        with writing(self._path):
            os.truncate(self._path, len(whole))
        self._count(whole)

    def append(self, more: bytes) -> None:
        """Adds lines; they are on disk on return.

        Raises:
          CannotWrite: if they cannot be written, or another process has added some.
        """
        with writing(self._path):
            if self._path.stat().st_size != self._size:
                raise foreign(self._path)
        append(self._path, more)
        self._count(more)

    def _count(self, written: bytes) -> None:
        self._hash.update(written)
        self._size += len(written)

    @property
    def counted(self) -> str:
        """Size in bytes and SHA-256 of all that has been written."""
        return f"{self._size} {self._hash.hexdigest()}"


def reaching(path: Path, counted: str) -> bytes:
    """As much of a log as a save knows of, as it is now.

    Raises:
      UserError: if it is not there, or has less.
    """
    size = counted.partition(" ")[0]
    try:
        whole = head(path, int(size))
    except (FileNotFoundError, ValueError):
        whole = None
    if whole is None:
        raise damaged(path, counted)
    return whole


def as_written(content: bytes, counted: str) -> bool:
    """Whether that is what a save knows of."""
    return hashlib.sha256(content).hexdigest() == counted.partition(" ")[2]


def damaged(path: Path, counted: str) -> UserError:
    """What to say where it is not."""
    size = counted.partition(" ")[0]
    return UserError(f"{str(path)!r} is damaged: its first {size} bytes are not those that were written")


def counting(path: Path, counted: str) -> bytes:
    """What of a log a save knows of.

    Raises:
      UserError: if it is not there or damaged.
    """
    whole = reaching(path, counted)
    if not as_written(whole, counted):
        raise damaged(path, counted)
    return whole


def all_counting(folder: Path, logs: Mapping[str, str]) -> dict[str, bytes]:
    """What of each table of a run's folder a save knows of.

    Raises:
      UserError: if one is not there or damaged.
    """
    if METRICS not in logs or not logs.keys() <= KINDS.keys():
        raise UserError(f"{str(folder)!r} is damaged: a save speaks of tables that a run does not have")
    return {name: counting(folder / name, counted) for name, counted in logs.items()}


def take_up(results: Results, name: str, content: bytes) -> None:
    """Adds a table's lines to the results.

    Raises:
      UserError: if it holds something else.
    """
    kind = KINDS[name]
    try:
        head, *rows = (line.split(",") for line in content.decode("utf-8").splitlines())
        getattr(results, kind.where).extend([kind.read(head, row) for row in rows])
    except (ValueError, TypeError, KeyError, IndexError):
        raise UserError(f"{name} is damaged: it does not hold what it should") from None


def lines(results: Results, name: str, first: int = 0) -> bytes:
    """A table's lines from what results hold, from the first that is wanted on, as CSV."""
    kind = KINDS[name]
    columns = kind.columns(results)
    return table([kind.line(row, columns) for row in getattr(results, kind.where)[first:]]).encode()


def renumbered(content: bytes, trials: Sequence[int]) -> tuple[bytes, bytes]:
    """A table's head and its lines, by other numbers of its trials: each by the one that it has in the table."""
    head, *lines = content.splitlines(keepends=True)
    cut = (line.partition(b",") for line in lines)
    return head, b"".join(b"%d,%s" % (trials[int(trial)], rest) for trial, _, rest in cut)
