"""Points that are made or read from files, and polynomials through them by least squares. NumPy only."""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgen import given
from jaxgen.fields import UserError, quoted
from jaxgen.tasks.curve.config import CONCRETE, MADE, MAX_DEGREE, SUNSPOTS, Data
from jaxgen.tasks.inputs import is_number, place_of, rows_of, scales
from jaxgen.tasks.rows import SHARES, Splits

HELD_OUT = {"validation": (2_000, 1), "test": (10_000, 2)}  # points that are made, and the seed that draws them
FAR = 3.0  # from where it should be lies an outlier
FILES = {SUNSPOTS: "sunspots.csv", CONCRETE: "concrete.csv"}
SHA256 = {
    "sunspots.csv": "f67889b1d9002cd5227f0e0ef54e35b419cdd85a31279adef6f73fb41e5c0a9b",
    "concrete.csv": "431e0b0b8bab99794c905cb45440a089c32c8f6d14bfd2602d1449727db92222",
}
FIRST, CUTS = 1700, (1921, 1956, 1980)  # the series' first year, and those before which its parts end (Weigend et al. 1990)
NEIGHBOURS = (1, 3, 5, 10)  # of which validation chooses
Floats = NDArray[np.floating[Any]]


class Points(NamedTuple):
    x: NDArray[np.float32]  # (N, columns); of a series the values before it, the last one last
    y: NDArray[np.float32]  # (N,)


class Read(NamedTuple):
    points: Points
    columns: tuple[str, ...]
    target: str
    series: bool


# Made. ----------------------------------------------------------------------------------------------------------------------

TRUTHS: Mapping[str, Callable[[Any], Any]] = {
    "sine": lambda x: np.sin(2 * np.pi * x),  # Bishop 2006, section 1.1
    "step": lambda x: np.where(x < 0.5, -1.0, 1.0),
}


def made(data: Data) -> Splits:
    """Training points on a grid; validation and test points anywhere in between, the same whatever the training points are."""
    truth = TRUTHS[data.path]
    drawn = np.random.default_rng(data.noise_seed).normal(size=data.points)
    off = data.noise * drawn + FAR * outliers(data)
    parts = {"train": points(truth, np.linspace(0, 1, data.points), off)}
    for name, (count, seed) in HELD_OUT.items():
        source = np.random.default_rng(seed)
        parts[name] = points(truth, source.random(count), data.noise * source.normal(size=count))
    return Splits(**parts)


def outliers(data: Data) -> Floats:
    """Which training points are far off, and to which side: -1, 0 or 1 of each (points,)."""
    source = np.random.default_rng([data.noise_seed, 1])
    places = source.permutation(data.points)[: round(data.outliers * data.points)]
    found = np.zeros(data.points)
    found[places] = source.choice([-1.0, 1.0], len(places))
    return found


def points(truth: Callable[[Any], Any], x: Floats, noise: Floats) -> Points:
    """The points at places (N,), off the truth by the noise (N,)."""
    return Points(x[:, None].astype(np.float32), (truth(x) + noise).astype(np.float32))


# Read. ----------------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4)  # a run asks several times
def read(path: str, column: str | None, lags: int) -> Read:
    """The rows of a file: a bundled one, or a CSV of a user's.

    Raises:
      UserError: where there are none, or they are not of numbers.
    """
    if path in FILES and not Path(path).exists():
        name = FILES[path]
        content = importlib.resources.files("jaxgen.bundled").joinpath(name).read_bytes()
        if hashlib.sha256(content).hexdigest() != SHA256[name]:
            raise UserError(f"the bundled {name!r} is not what it was; install jaxgen again")
        head, table = _table(path, content.decode("ascii"))
        return _series(path, head[1], table[:, 1], lags) if path == SUNSPOTS else _columns(head, table, len(head) - 1)
    where = Path(path)
    if not where.is_file():
        raise UserError(f"there are no points at {path!r}; expected one of {', '.join((*MADE, *FILES))}, or a CSV file")
    head, table = _table(path, given.text(where, given.read(where)))
    if len(head) == 1:
        return _series(path, head[0], table[:, 0], lags)
    return _columns(head, table, place_of(path, head, column))


def _table(path: str, text: str) -> tuple[list[str], Floats]:
    """The names of a text's columns, and its numbers."""
    rows = rows_of(text)
    if len({len(row) for row in rows}) != 1:
        raise UserError(
            f"{path!r} holds rows of {sorted({len(row) for row in rows})} columns; expected a CSV of as many in each"
        )
    head = [] if all(is_number(x) for x in rows[0]) else [x.strip() for x in rows[0]]
    for line, row in enumerate(rows[bool(head) :], 1):
        wrong = next((x for x in row if not is_number(x, finite=True)), None)
        if wrong is not None:
            raise UserError(f"row {line} of {path!r} holds {quoted(wrong)}, expected a number; fill or take out such rows")
    found = np.array(rows[bool(head) :], float).reshape(-1, len(rows[0]))
    return head or [f"x{i}" for i in range(len(rows[0]))], found


def _columns(head: list[str], table: Floats, target: int) -> Read:
    x, y = np.delete(table, target, 1), table[:, target]
    others = tuple(name for place, name in enumerate(head) if place != target)
    return Read(Points(x.astype(np.float32), y.astype(np.float32)), others, head[target], series=False)


def _series(path: str, name: str, values: Floats, lags: int) -> Read:
    if len(values) < lags + 10:
        raise UserError(f"the series in {path!r} has {len(values)} values; expected {lags + 10} or more, with data.lags {lags}")
    x = np.lib.stride_tricks.sliding_window_view(values, lags)[:-1]
    columns = tuple(f"{lags - place} before" for place in range(lags))
    return Read(Points(x.astype(np.float32), values[lags:].astype(np.float32)), columns, name, series=True)


def cut(data: Data, found: Read) -> Splits:
    """The parts of rows of a file: of a series the first, later and last values; of a table rows that were shuffled, of which
    those with the same inputs come into the same part.

    Raises:
      UserError: where they are too few.
    """
    x, y = found.points
    if found.series:
        ends = [round(share * len(y)) for share in SHARES]
        if data.path == SUNSPOTS:
            *ends, last = (year - FIRST - data.lags for year in CUTS)
            x, y = x[:last], y[:last]
        groups = np.arange(len(y))
    else:
        groups = np.unique(x, axis=0, return_inverse=True)[1].ravel()
        groups = np.random.default_rng(data.split_seed).permutation(groups.max() + 1)[groups]
        ends = [int(share * (groups.max() + 1)) for share in SHARES]
    parts = np.digitize(groups, ends)
    if {*parts.tolist()} != {0, 1, 2}:
        raise UserError(f"{len(y)} rows are too few to be cut 80/10/10; expected 10 or more of different inputs")
    return Splits(*(Points(x[parts == part], y[parts == part]) for part in range(3)))


def split(data: Data) -> Splits:
    """The parts of the points that a data section names.

    Raises:
      UserError: as `read` and `cut`.
    """
    found = made(data) if data.path in MADE else cut(data, read(data.path, data.column, data.lags))
    return Splits(*(part if part is None else tuple(part) for part in found))


def to_unit(train: Floats) -> Callable[[Floats], Floats]:
    """What brings places (N, columns) to where a polynomial has them: 0 to 1, as far as the training rows go."""
    middle, size = scales(train, "range")
    return lambda x: ((x - middle) / size + 1) / 2


# Without a network. ---------------------------------------------------------------------------------------------------------


def basis(x: Any, degree: int) -> list[Any]:
    """Legendre's polynomials of degree 1 to `degree` on [0, 1], each of mean square 1 there: each like x, an array of any kind.

    Of powers of x, any two are nearly alike, and descent would take forever; these are as different as can be.
    """
    t = 2 * x - 1
    before, found = 1.0, [t]
    for k in range(1, degree):
        before, now = found[-1], ((2 * k + 1) * t * found[-1] - k * before) / (k + 1)  # Bonnet's recursion
        found.append(now)
    return [(2 * k + 1) ** 0.5 * one for k, one in enumerate(found, 1)]


class Polynomial(NamedTuple):
    weights: NDArray[np.floating[Any]]  # (degree * columns,), of the basis
    bias: float | np.floating[Any]

    def __call__(self, x: Floats) -> Floats:
        """The heights (N,) at places (N, columns) from 0 to 1."""
        return np.concatenate(basis(x, len(self.weights) // x.shape[1]), 1) @ self.weights + self.bias


def least_squares(rows: Any, degree: int, l2: float = 0.0) -> Polynomial:
    """The polynomial for which the mean squared error + l2 / 2 * the sum of squared weights is least; its bias is free."""
    x, y = (np.asarray(part, np.float64) for part in rows)
    columns = np.concatenate(basis(x, degree), 1)  # (N, degree * columns)
    middle, height = columns.mean(0), y.mean()
    count = columns.shape[1]
    held = (len(x) * l2 / 2) ** 0.5 * np.eye(count)  # rows that want each weight to be 0
    weights = np.linalg.lstsq(np.concatenate([columns - middle, held]), np.concatenate([y - height, np.zeros(count)]))[0]
    return Polynomial(weights, float(height - middle @ weights))


def errors(said: Floats, y: Floats) -> dict[str, float]:
    """The metrics of predictions (N,)."""
    off = np.asarray(said, np.float64) - np.asarray(y, np.float64)
    return {"loss": float(np.mean(off**2)), "absolute_error": float(np.mean(np.abs(off)))}


def measured(parts: Mapping[str, Any], predict: Callable[[Any], Any]) -> dict[str, float]:
    """The metrics of each part's points, by names such as val_loss."""
    return {f"{name}_{metric}": value for name, (x, y) in parts.items() for metric, value in errors(predict(x), y).items()}


def floors(splits: Splits, series: bool = False) -> dict[str, dict[str, float]]:
    """The errors of the mean of the training points, of least squares, whose degree validation chooses, of a series' value
    before, and of neighbours where there are several columns."""
    parts = {"val": splits.validation, "test": splits.test}
    mean = np.mean(splits.train[1], dtype=np.float64)
    unit = to_unit(splits.train[0])

    def best(found: Mapping[Any, dict[str, float]]) -> tuple[Any, dict[str, float]]:
        return min(found.items(), key=lambda pair: pair[1]["val_loss"])

    train = unit(splits.train[0]), splits.train[1]
    fits = {d: least_squares(train, d) for d in range(1, MAX_DEGREE + 1)}
    degree, solved = best({d: measured(parts, lambda x, fit=fit: fit(unit(x))) for d, fit in fits.items()})
    made = {
        "the mean of the training points": measured(parts, lambda x: np.full(len(x), mean)),
        f"least squares of degree {degree}": solved,
    }
    if series:
        made["the value before"] = measured(parts, lambda x: x[:, -1])
    if splits.train[0].shape[1] > 1:
        ks = [k for k in NEIGHBOURS if k <= len(train[1])]
        near = {id(x): nearest(splits.train, x) for x, _ in parts.values()}
        k, found = best({k: measured(parts, lambda x, k=k: near[id(x)][:, :k].mean(1)) for k in ks})
        made["the nearest neighbour" if k == 1 else f"{k} nearest neighbours"] = found
    return made


def nearest(train: Any, x: Floats) -> Floats:
    """The heights of the training points that are nearest to places (N, columns), the nearest first: (N, as many as asked)."""
    middle, size = scales(train[0], "standard")
    mine, theirs = (x - middle) / size, (train[0] - middle) / size
    squares = (mine**2).sum(1)[:, None] - 2 * mine @ theirs.T + (theirs**2).sum(1)
    return np.asarray(train[1], np.float64)[np.argsort(squares, axis=1, kind="stable")[:, : max(NEIGHBOURS)]]
