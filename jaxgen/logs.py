"""A run's tables that only grow. A save knows what counts of each by its size and SHA-256; a crash may leave more behind."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from jaxgen.config import UserError
from jaxgen.files import append, head, write, writing
from jaxgen.results import Curve, Diagnostic, Results, table

METRICS, DIAGNOSTICS = "metrics.csv", "diagnostics.csv"
# file -> what a line holds, and where results have it
LOGS: Mapping[str, tuple[type, str]] = {METRICS: (Curve, "curves"), DIAGNOSTICS: (Diagnostic, "diagnostics")}


class Log:
    """One such table: its file, and how much of it counts."""

    def __init__(self, path: Path) -> None:
        self._path, self._hash, self._size = path, hashlib.sha256(), 0

    def begin(self) -> None:
        """Makes the file, with its head alone."""
        first = lines([column_names(LOGS[self._path.name][0])])
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
        """Adds lines; they are on disk on return."""
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
    if METRICS not in logs or not logs.keys() <= LOGS.keys():
        raise UserError(f"{str(folder)!r} is damaged: a save speaks of tables that a run does not have")
    return {name: counting(folder / name, counted) for name, counted in logs.items()}


def take_up(results: Results, name: str, content: bytes) -> None:
    """Adds a table's lines to the results.

    Raises:
      UserError: if it holds something else.
    """
    kind, where = LOGS[name]
    types = [get_type_hints(kind)[column] for column in column_names(kind)]
    try:
        rows = (line.split(",") for line in content.decode("utf-8").splitlines()[1:])
        getattr(results, where).extend(kind(*(t(x) for t, x in zip(types, row, strict=True))) for row in rows)
    except ValueError:
        raise UserError(f"{name} is damaged: it does not hold what it should") from None


def lines(rows: Iterable[Any]) -> bytes:
    """Rows, as tuples or as the dataclasses of `LOGS`, as CSV."""
    return table([dataclasses.astuple(row) if dataclasses.is_dataclass(row) else row for row in rows]).encode()  # pyright: ignore[reportArgumentType]


def column_names(kind: type) -> tuple[str, ...]:
    """The head of a table of dataclasses."""
    return tuple(part.name for part in dataclasses.fields(kind))
