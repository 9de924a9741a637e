"""Measures between outputs and targets, a number of each row: losses, and what else tells networks apart."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from jaxgen.fields import UserError

Loss = Literal["cross_entropy", "binary_cross_entropy", "squared_error", "absolute_error"]
Outputs = Float[Any, "rows ..."]  # of any kind of array: to name JAX's is to import it
Targets = Shaped[Any, "rows ..."]
Measure = Callable[[Any, Any], Any]
"""(outputs, targets) -> a number of each row (N,), or a pair of these and their weights."""


class Measured(NamedTuple):
    """A measure between outputs and targets, and how it is spoken of."""

    of: Measure
    unit: str = ""
    higher_is_better: bool = False


def _rows(found: Float[Any, "rows ..."]) -> Float[Any, " rows"]:
    """The mean of each row's numbers, (N, ...) -> (N,)."""
    return found.reshape(found.shape[0], -1).mean(1)


def _alike(outputs: Any, targets: Any, classes: bool) -> None:
    """Refuses shapes that would broadcast to a number of something else.

    Raises:
      UserError: then.
    """
    if not (hasattr(outputs, "shape") and hasattr(targets, "shape")):
        raise UserError("outputs or targets are several arrays; a loss by its name wants one of each: give a function of both")
    wanted = outputs.shape[:-1] if classes else outputs.shape
    if wanted != targets.shape:
        expected = f"{(*targets.shape, 'classes') if classes else targets.shape}".replace("'", "")
        raise UserError(
            f"outputs are of shape {outputs.shape} and targets of {targets.shape}; expected outputs of {expected}: "
            "reshape one of them, for instance outputs[..., 0]"
        )


def cross_entropy(outputs: Outputs, targets: Targets) -> Float[Any, " rows"]:
    """Minus the log-probability of whole-number targets (N, ...), from logits (N, ..., classes): (N,), in nats."""
    import optax

    _alike(outputs, targets, True)
    if targets.dtype.kind not in "ui":
        raise UserError(f"targets are of type {targets.dtype}; cross_entropy wants whole numbers, a class each, from 0 on")
    return _rows(optax.softmax_cross_entropy_with_integer_labels(outputs, targets))


def binary_cross_entropy(outputs: Outputs, targets: Targets) -> Float[Any, " rows"]:
    """Minus the log-probability of targets 0 or 1, or between, from logits of the same shape: (N,), in nats."""
    import optax

    _alike(outputs, targets, False)
    return _rows(optax.sigmoid_binary_cross_entropy(outputs, targets.astype(outputs.dtype)))


def squared_error(outputs: Outputs, targets: Targets) -> Float[Any, " rows"]:
    """The mean square of what outputs are off, (N,)."""
    _alike(outputs, targets, False)
    return _rows((outputs - targets) ** 2)


def root_of_squares(outputs: Outputs, targets: Targets) -> Any:
    """The mean square of what outputs are off, (N,), of whose mean over the rows the root is taken."""
    from jaxgen.train.functions import Weighed

    return Weighed(squared_error(outputs, targets), root=True)


def absolute_error(outputs: Outputs, targets: Targets) -> Float[Any, " rows"]:
    """The mean size of what outputs are off, (N,)."""
    _alike(outputs, targets, False)
    return _rows(abs(outputs - targets))


def accuracy(outputs: Outputs, targets: Targets) -> Float[Any, " rows"]:
    """Whether the likeliest class of logits (N, ..., classes) is the target, (N,); of outputs like the targets, their sign."""
    if getattr(outputs, "shape", None) == getattr(targets, "shape", ()):
        return _rows(((outputs > 0) == (targets > 0.5)).astype(np.float32))
    _alike(outputs, targets, True)
    return _rows((outputs.argmax(-1) == targets).astype(np.float32))


MEASURES: Mapping[str, Measured] = {
    "cross_entropy": Measured(cross_entropy, "nats"),
    "binary_cross_entropy": Measured(binary_cross_entropy, "nats"),
    "squared_error": Measured(squared_error),
    "absolute_error": Measured(absolute_error),
    "rmse": Measured(root_of_squares),
    "accuracy": Measured(accuracy, higher_is_better=True),
}
LOSSES: tuple[str, ...] = typing.get_args(Loss)
