"""The config of the curve task. Nothing here imports JAX, so that every command's --help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from jaxgen.config import Steps, Training
from jaxgen.fields import Amount, Leaf, Seed

MAX_DEGREE = 9  # of a polynomial: with ten points, it goes through all of them


@dataclass(frozen=True)
class Data:
    points: Annotated[int, Interval(ge=2, le=100_000)] = 10
    """Training points, evenly spaced from 0 to 1."""
    noise: Amount = 0.3
    """Standard deviation of what is added to the sine."""
    noise_seed: Seed = 42
    """Draws the noise of the training points; validation and test are the same whatever it is."""


@dataclass(frozen=True)
class Model:
    family: Literal["polynomial", "least_squares", "mlp"] = "mlp"
    """polynomial (trained like a network, on Legendre's basis), least_squares (the same solved exactly, with regularizer.l2 if
    that is given), mlp (tanh)."""
    degree: Annotated[int, Interval(ge=1, le=MAX_DEGREE)] = 3
    """Of the polynomial."""
    hidden: Annotated[int, Interval(ge=1, le=65536)] = 16
    """Width of a hidden layer (mlp)."""
    depth: Annotated[int, Interval(ge=1, le=1000)] = 1
    """Hidden layers (mlp)."""


@dataclass(frozen=True)
class Train(Training):
    steps: Leaf[Steps] = 2000
    """Step budget (S)."""
    batch_size: Annotated[int, Interval(ge=1, le=1_000_000)] = 10
    """Rows a step (B)."""
    eval_every: Steps = 100
    """Steps between two evaluations: a segment."""
    draw: Literal["replacement", "epochs"] = "epochs"
    """replacement: each of a step's rows is any row; epochs: each row comes once an epoch, in an order of seed and epoch."""
