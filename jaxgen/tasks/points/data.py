"""Points of two kinds, made by formulas or read from files. NumPy only."""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgen import given
from jaxgen.fields import UserError, quoted
from jaxgen.tasks.inputs import is_number, place_of, rows_of
from jaxgen.tasks.points.config import CANCER, MADE, Data
from jaxgen.tasks.rows import Splits, cut

FILE = "breast_cancer.csv"
SHA256 = "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed"
SOURCE = (
    "W. Wolberg, O. Mangasarian and W. Street, Breast Cancer Wisconsin (Diagnostic) (1995), UCI Machine Learning Repository"
)
HELD_OUT = {"validation": (2_000, 1), "test": (10_000, 2)}  # points that are made, and the seed that draws them
SHARES = (0.6, 0.8)  # where rows of a file are cut: training, validation, test
TURNS = 1.5  # of each spiral about the middle
RADII = (1.0, 0.5)  # of the two circles
Floats = NDArray[np.floating[Any]]


class Points(NamedTuple):
    x: NDArray[np.float32]  # (N, columns)
    y: NDArray[np.float32]  # (N,), 0 or 1


class Read(NamedTuple):
    points: Points
    kinds: tuple[str, str]  # what 0 and 1 are called
    columns: tuple[str, ...]


# Made. ----------------------------------------------------------------------------------------------------------------------


def moons(t: Floats, kind: Floats) -> tuple[Floats, Floats]:
    """Two half circles that reach into each other, at shares t of them: as scikit-learn's make_moons."""
    angle = math.pi * t
    return np.where(kind == 0, np.cos(angle), 1 - np.cos(angle)), np.where(kind == 0, np.sin(angle), 0.5 - np.sin(angle))


def circles(t: Floats, kind: Floats) -> tuple[Floats, Floats]:
    """A circle in another one, as scikit-learn's make_circles with a factor of a half."""
    radius = np.where(kind == 0, *RADII)
    return radius * np.cos(2 * math.pi * t), radius * np.sin(2 * math.pi * t)


def spirals(t: Floats, kind: Floats) -> tuple[Floats, Floats]:
    """Two arms that go round the middle, as in Lang and Witbrock (1988), with half as many turns: 2 wide at their ends."""
    angle, radius = 2 * math.pi * TURNS * np.sqrt(t), 2 * np.sqrt(t)  # evenly along the plane
    turned = angle + math.pi * kind
    return radius * np.cos(turned), radius * np.sin(turned)


FORMULAS: Mapping[str, Callable[[Floats, Floats], tuple[Floats, Floats]]] = {
    "moons": moons,
    "circles": circles,
    "spirals": spirals,
}


def points(name: str, count: int, noise: float, seed: int) -> Points:
    """So many points of a set that is made, by chance of either kind, each moved at random along either axis."""
    source = np.random.default_rng(seed)
    if name == "line":  # of a square, on either side of a line through its middle
        x = source.uniform(-1, 1, (count, 2))
        kind = (x @ [1.0, 2.0] > 0).astype(float)
    else:
        t, kind = source.random(count), source.integers(0, 2, count).astype(float)
        x = np.stack(FORMULAS[name](t, kind), 1)
    return Points((x + noise * source.normal(size=x.shape)).astype(np.float32), kind.astype(np.float32))


# Read. ----------------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4)  # a run asks several times
def read(path: str, column: str | None) -> Read:
    """The rows of a file: the bundled one, or a CSV of a user's.

    Raises:
      UserError: where there are none, or they are not of numbers with two kinds.
    """
    if path == CANCER and not Path(path).exists():
        content = importlib.resources.files("jaxgen.bundled").joinpath(FILE).read_bytes()
        if hashlib.sha256(content).hexdigest() != SHA256:
            raise UserError(f"the bundled {FILE!r} is not what it was; install jaxgen again")
        rows = rows_of(content.decode("ascii"))
        table = np.array(rows[1:], float)
        return Read(_points(table[:, :-1], table[:, -1]), ("malignant", "benign"), tuple(f"x{i}" for i in range(30)))
    where = Path(path)
    if not where.is_file():
        raise UserError(f"there are no points at {path!r}; expected one of {', '.join((*MADE, CANCER))}, or a CSV file")
    rows = rows_of(given.text(where, given.read(where)))
    if len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
        raise UserError(
            f"{path!r} holds rows of {sorted({len(row) for row in rows})} columns; expected a CSV of 2 or more columns"
        )
    return _table(path, rows, column)


def _table(path: str, rows: list[list[str]], column: str | None) -> Read:
    place = place_of(path, [name.strip() for name in rows[0]], column)
    others = [other for other in range(len(rows[0])) if other != place]
    head = (
        [rows[0][other].strip() for other in others]
        if not all(is_number(rows[0][other], finite=True) for other in others)
        else []
    )
    rows = rows[1:] if head else rows
    wrong = next(
        ((line, row[other]) for line, row in enumerate(rows, 1) for other in others if not is_number(row[other], finite=True)),
        None,
    )
    if wrong is not None:
        raise UserError(f"row {wrong[0]} of {path!r} holds {quoted(wrong[1])}, expected a number; fill or take out such rows")
    texts = [row[place].strip() for row in rows]
    kinds = sorted(set(texts), key=lambda text: (float(text) if is_number(text, finite=True) else math.inf, text))
    if len(kinds) != 2:
        raise UserError(
            f"the column of kinds of {path!r} holds {len(kinds)} different values ({quoted(', '.join(kinds))}), expected 2; "
            "name it by --data.column, or, for more kinds, make a task of your own (jaxgen.supervised)"
        )
    x = np.array([[float(row[other]) for other in others] for row in rows])
    named = tuple(head) or tuple(f"x{i}" for i in range(len(others)))
    return Read(_points(x, np.array([kinds.index(text) for text in texts])), (kinds[0], kinds[1]), named)


def _points(x: Floats, y: NDArray[Any]) -> Points:
    return Points(x.astype(np.float32), y.astype(np.float32))


# Parts. ---------------------------------------------------------------------------------------------------------------------


def split(data: Data) -> Splits:
    """Training points; validation and test points of the same formula, or other rows of the file.

    Raises:
      UserError: as `read`.
    """
    if data.path in MADE:
        parts = {"train": (data.points, data.noise_seed), **HELD_OUT}
        return Splits(**{name: tuple(points(data.path, count, data.noise, seed)) for name, (count, seed) in parts.items()})
    return cut(tuple(read(data.path, data.column).points), data.split_seed, SHARES)


def names(data: Data) -> tuple[tuple[str, str], tuple[str, ...]]:
    """What the two kinds and the columns are called."""
    if data.path in MADE:
        return ("0", "1"), ("x", "y")
    found = read(data.path, data.column)
    return found.kinds, found.columns
