"""What can be said of points without a network: the more frequent kind, logistic regression, neighbours. NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgen.tasks.inputs import scales
from jaxgen.tasks.points.data import Points
from jaxgen.tasks.rows import Splits

NEIGHBOURS = (1, 5, 15, 45)  # of which validation chooses
ITERATIONS, NEAR = 100, 1e-10  # of Newton's method, and the change at which it ends
L2 = 1e-4  # of the logistic regression: where kinds can be told apart for sure, weights would grow for ever
AT_A_TIME = 2_000
Floats = NDArray[np.floating[Any]]


def floors(splits: Splits) -> Mapping[str, Mapping[str, float]]:
    """The accuracy of the more frequent kind, of logistic regression by Newton's method, with its losses, and of as many
    neighbours as do best on validation."""
    train, parts = Points(*splits.train), {"val": Points(*splits.validation), "test": Points(*splits.test)}
    middle, size = scales(train.x, "standard")
    x = {name: (part.x - middle) / size for name, part in (("train", train), *parts.items())}
    most = float(train.y.mean() >= 0.5)
    weights, bias = newton(x["train"], train.y, L2)
    near = {name: neighbours(x["train"], train.y, x[name]) for name in parts}
    right = {(name, k): float(np.mean(near[name][k] == part.y)) for name, part in parts.items() for k in near[name]}
    best = max(near["val"], key=lambda k: right["val", k])  # the first of equals
    logistic = {name: measured(x[name] @ weights + bias, part.y) for name, part in parts.items()}
    return {
        "the more frequent kind": {f"{name}_accuracy": float(np.mean(part.y == most)) for name, part in parts.items()},
        "logistic regression by Newton's method": {
            f"{name}_{metric}": value for name, found in logistic.items() for metric, value in found.items()
        },
        "the nearest neighbour" if best == 1 else f"{best} nearest neighbours": {
            f"{name}_accuracy": right[name, best] for name in parts
        },
    }


def measured(scores: Floats, y: NDArray[Any]) -> dict[str, float]:
    """The accuracy, and the mean cross-entropy in nats, of scores whose sigmoid is the probability of kind 1."""
    return {
        "accuracy": float(np.mean((scores > 0) == (y > 0.5))),
        "loss": float(np.mean(np.logaddexp(0, scores) - y * scores)),
    }


def newton(x: Floats, y: NDArray[Any], l2: float) -> tuple[Floats, float]:
    """The weights and the bias for which the mean cross-entropy + l2 / 2 * the sum of squared weights is least.

    By Newton's method, which is iteratively reweighted least squares here (Bishop 2006, section 4.3.3); a step that makes it
    worse is halved.
    """
    x = np.column_stack([x, np.ones(len(x))]).astype(np.float64)
    held = np.append(np.full(x.shape[1] - 1, l2), 0.0)
    weights = np.zeros(x.shape[1])

    def objective(weights: Floats) -> float:
        return measured(x @ weights, y)["loss"] + float(held @ weights**2) / 2

    for _ in range(ITERATIONS):
        shares = 1 / (1 + np.exp(-x @ weights))
        slope = x.T @ (shares - y) / len(x) + held * weights
        bend = (x * (shares * (1 - shares))[:, None]).T @ x / len(x) + np.diag(held)
        step = np.linalg.lstsq(bend, slope)[0]
        now = objective(weights)
        while objective(weights - step) > now and np.abs(step).max() > NEAR:
            step /= 2
        weights = weights - step
        if np.abs(step).max() <= NEAR:
            break
    return weights[:-1], float(weights[-1])


def neighbours(train: Floats, kinds: NDArray[Any], x: Floats) -> dict[int, Floats]:
    """How many neighbours -> the kind that most of them are, (N,); of equals kind 1."""
    ks = [k for k in NEIGHBOURS if k <= len(train)]
    found: dict[int, list[Floats]] = {k: [] for k in ks}
    for first in range(0, len(x), AT_A_TIME):
        part = x[first : first + AT_A_TIME]
        squares = (part**2).sum(1)[:, None] - 2 * part @ train.T + (train**2).sum(1)
        near = kinds[np.argsort(squares, axis=1, kind="stable")[:, : max(ks)]]
        for k in ks:
            found[k].append((near[:, :k].mean(1) >= 0.5).astype(float))
    return {k: np.concatenate(parts) for k, parts in found.items()}
