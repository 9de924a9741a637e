"""Points of a sine with noise (Bishop 2006, section 1.1), and polynomials through them by least squares. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgen.tasks.curve.config import MAX_DEGREE, Data
from jaxgen.tasks.rows import Splits

HELD_OUT = {"validation": (2_000, 1), "test": (10_000, 2)}  # points, and the seed that draws them


class Points(NamedTuple):
    x: NDArray[np.float32]  # (N, 1), 0 to 1
    y: NDArray[np.float32]  # (N,)


def truth(x: Any) -> Any:
    """What points scatter around, of the shape of x."""
    return np.sin(2 * np.pi * x)


def split(data: Data) -> Splits:
    """Training points on a grid; validation and test points anywhere in between, the same whatever the training points are."""
    drawn = np.random.default_rng(data.noise_seed).normal(size=data.points)
    parts = {"train": points(np.linspace(0, 1, data.points), data.noise * drawn)}
    for name, (count, seed) in HELD_OUT.items():
        source = np.random.default_rng(seed)
        parts[name] = points(source.random(count), data.noise * source.normal(size=count))
    return Splits(**parts)


def points(x: NDArray[np.floating[Any]], noise: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The points (x, y) at places (N,), off the truth by the noise (N,)."""
    return x[:, None].astype(np.float32), (truth(x) + noise).astype(np.float32)


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
    weights: NDArray[np.floating[Any]]  # (degree,), of the basis
    bias: float | np.floating[Any]

    def __call__(self, x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """The heights (N,) at places (N, 1)."""
        return np.concatenate(basis(x, len(self.weights)), 1) @ self.weights + self.bias


def least_squares(rows: Any, degree: int, l2: float = 0.0) -> Polynomial:
    """The polynomial for which the mean squared error + l2 / 2 * the sum of squared weights is least; its bias is free."""
    x, y = (np.asarray(part, np.float64) for part in rows)
    columns = np.concatenate(basis(x, degree), 1)  # (N, degree)
    middle, height = columns.mean(0), y.mean()
    held = (len(x) * l2 / 2) ** 0.5 * np.eye(degree)  # rows that want each weight to be 0
    weights = np.linalg.lstsq(np.concatenate([columns - middle, held]), np.concatenate([y - height, np.zeros(degree)]))[0]
    return Polynomial(weights, float(height - middle @ weights))


def errors(said: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]]) -> dict[str, float]:
    """The metrics of predictions (N,)."""
    off = np.asarray(said, np.float64) - np.asarray(y, np.float64)
    return {"loss": float(np.mean(off**2)), "absolute_error": float(np.mean(np.abs(off)))}


def measured(parts: Mapping[str, Any], predict: Callable[[Any], Any]) -> dict[str, float]:
    """The metrics of each part's points, by names such as val_loss."""
    return {f"{name}_{metric}": value for name, (x, y) in parts.items() for metric, value in errors(predict(x), y).items()}


def floors(splits: Splits) -> Mapping[str, Mapping[str, float]]:
    """The errors of the mean of the training points, and of least squares, whose degree validation chooses."""
    parts = {"val": splits.validation, "test": splits.test}
    mean = np.mean(splits.train[1], dtype=np.float64)
    solved = {d: measured(parts, least_squares(splits.train, d)) for d in range(1, MAX_DEGREE + 1)}
    best = min(solved, key=lambda degree: solved[degree]["val_loss"])
    return {
        "the mean of the training points": measured(parts, lambda x: np.full(len(x), mean)),
        f"least squares of degree {best}": solved[best],
    }
