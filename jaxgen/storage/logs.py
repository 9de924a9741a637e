"""A run's tables that only grow. A save knows what counts of each by its size and SHA-256; a crash may leave more behind."""

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
    """One such table: its file, and how much of it counts."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path, self._columns, self._hash, self._size = path, columns, hashlib.sha256(), 0

    def begin(self) -> None:
        """Makes the file, with its head alone."""
        first = table([self._columns]).encode()
        write(self._path, first)
        self._count(first)

    def resume(self, counted: str) -> bytes:
        """Cuts off what does not count, and returns what does. Raises as `counting` does."""
        whole = counting(self._path, counted)
        with writing(self._path):
            os.truncate(self._path, len(whole))
        self._count(whole)
        return whole

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


def counting(path: Path, counted: str) -> bytes:
    """What of a table a save knows of.

    Raises:
      UserError: if it is not there or damaged.
    """
    size, _, digest = counted.partition(" ")
    try:
        whole = head(path, int(size))
    except (FileNotFoundError, ValueError):
        whole = None
    if whole is None or hashlib.sha256(whole).hexdigest() != digest:
        raise UserError(f"{str(path)!r} is damaged: its first {size} bytes are not those that were written")
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
