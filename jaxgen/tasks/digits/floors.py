"""What can be said of images without a network: the most frequent class, nearest neighbours, and logistic regression.

NumPy in float64, and SciPy's minimizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.optimize
import scipy.special
from numpy.typing import NDArray

from jaxgen.tasks.digits.images import Images
from jaxgen.tasks.rows import Splits

NEIGHBOURS = (1, 3, 5, 7, 9)  # of which validation chooses
AT_A_TIME = 1000  # images whose distances to all others are held at once
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)  # l2 of logistic regression, of which validation chooses
ITERATIONS = 200
Floats = NDArray[np.floating[Any]]


def floors(splits: Splits, classes: int, ink: int) -> Mapping[str, Mapping[str, float]]:
    """The accuracy of the most frequent class, of as many nearest neighbours as do best on validation, and of logistic
    regression, whose loss is told, too."""
    train, parts = Images(*splits.train), {"val": Images(*splits.validation), "test": Images(*splits.test)}
    most = int(np.bincount(train.labels).argmax())
    near = {name: neighbours(train, part.images, classes) for name, part in parts.items()}
    right = {(name, k): float(np.mean(near[name][k] == parts[name].labels)) for name in parts for k in near[name]}
    best = max(near["val"], key=lambda k: right["val", k])  # the first of equals
    called = "the nearest neighbour" if best == 1 else f"{best} nearest neighbours"
    return {
        "the most frequent class": {f"{name}_accuracy": float(np.mean(part.labels == most)) for name, part in parts.items()},
        called: {f"{name}_accuracy": right[name, best] for name in parts},
        "logistic regression by L-BFGS": _logistic(train, parts, classes, ink),
    }


def neighbours(train: Images, images: NDArray[np.uint8], classes: int) -> dict[int, NDArray[np.intp]]:
    """How many neighbours -> the class that most of them are, (N,), by Euclidean distance; of equals the first.

    Distances are exact: whole numbers, of which float64 holds all up to 2^53.
    """
    most = min(max(NEIGHBOURS), len(train.labels))
    b = train.images.reshape(len(train.images), -1).astype(np.float64)
    own, places = (b**2).sum(1), np.arange(len(b))
    found = []
    for first in range(0, len(images), AT_A_TIME):
        a = images[first : first + AT_A_TIME].reshape(-1, b.shape[1]).astype(np.float64)
        squares = ((a**2).sum(1)[:, None] - 2 * a @ b.T + own).astype(np.int64)  # (images, train)
        ranked = squares * len(b) + places  # of equal distances the first
        nearest = np.sort(np.partition(ranked, most - 1, axis=1)[:, :most], axis=1) % len(b)
        found.append((train.labels[nearest][:, :, None] == np.arange(classes)).cumsum(1))  # (images, neighbours, classes)
    votes = np.concatenate(found)
    return {k: votes[:, k - 1].argmax(1) for k in NEIGHBOURS if k <= most}


def softmax_regression(x: Floats, labels: NDArray[np.integer[Any]], classes: int, l2: float) -> tuple[Floats, Floats]:
    """The weights (features, classes) and biases of the least mean cross-entropy + l2 / 2 * the sum of squared weights.

    Found by L-BFGS (Liu and Nocedal 1989); the problem is convex.
    """
    rows, features = x.shape
    is_class = labels[:, None] == np.arange(classes)

    def objective(flat: Floats) -> tuple[float, Floats]:
        weights, bias = flat[:-classes].reshape(features, classes), flat[-classes:]
        scores = x @ weights + bias
        level = np.asarray(scipy.special.logsumexp(scores, axis=1, keepdims=True))
        off = (np.exp(scores - level) - is_class) / rows
        loss = np.mean(level[:, 0] - scores[is_class]) + l2 / 2 * (weights**2).sum()
        return float(loss), np.concatenate([(x.T @ off + l2 * weights).ravel(), off.sum(0)])

    start = np.zeros((features + 1) * classes)
    found = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}).x
    return found[:-classes].reshape(features, classes), found[-classes:]


def _logistic(train: Images, parts: Mapping[str, Images], classes: int, ink: int) -> Mapping[str, float]:
    x = {name: part.images.reshape(len(part.images), -1) / ink for name, part in (("train", train), *parts.items())}
    best: dict[str, float] = {}
    for l2 in PENALTIES:
        weights, bias = softmax_regression(x["train"], train.labels, classes, l2)
        found = {}
        for name, part in parts.items():
            scores = x[name] @ weights + bias
            said = scipy.special.log_softmax(scores, axis=1)
            found |= {
                f"{name}_loss": float(-said[np.arange(len(said)), part.labels].mean()),
                f"{name}_accuracy": float(np.mean(scores.argmax(1) == part.labels)),
            }
        if not best or found["val_loss"] < best["val_loss"]:
            best = found
    return best
