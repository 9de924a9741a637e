"""The config of the points task. Nothing here imports JAX, so that every command's --help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from jaxgen.config import Cut, Steps, Training
from jaxgen.fields import Amount, Known, Leaf, Seed

MADE = ("moons", "circles", "spirals", "line")
CANCER = "cancer"
Width = Annotated[int, Interval(ge=1, le=65536)]


@dataclass(frozen=True)
class Data(Cut):
    path: Annotated[str, Known(*MADE, CANCER)] = "moons"
    """moons, circles, spirals or line, points of the plane that are made by a formula; cancer, 569 real rows of 30 numbers; or
    a CSV file of your own: columns of numbers, and one that says which of two kinds a row is of."""
    column: str | None = None
    """Of a file of your own, the column with the kinds, by its name or number. None: the last."""
    points: Annotated[int, Interval(ge=2, le=1_000_000)] = 200
    """How many points are made to train on."""
    noise: Amount = 0.2
    """Standard deviation of what is added to points that are made, along either axis."""
    noise_seed: Seed = 42
    """Draws the training points that are made; validation and test are the same whatever it is."""


@dataclass(frozen=True)
class Model:
    family: Literal["perceptron", "logistic", "mlp"] = "mlp"
    """perceptron (Rosenblatt's rule), logistic (logistic regression), mlp."""
    hidden: Width = 16
    """Width of a hidden layer (mlp)."""
    depth: Annotated[int, Interval(ge=1, le=1000)] = 1
    """Hidden layers (mlp)."""
    activation: Literal["tanh", "relu", "sigmoid"] = "tanh"
    """Between layers (mlp)."""
    scaling: Literal["standard", "range", "none"] = "standard"
    """standard: of each column the mean is taken off, and it is divided by its standard deviation; range: columns go from -1
    to 1; none. By the training rows of the run's own data section."""


@dataclass(frozen=True)
class Train(Training):
    steps: Leaf[Steps] = 2000
    """Step budget (S)."""
    eval_every: Steps = 100
    """Steps between two evaluations: a segment."""
    objective: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    """What descent makes smaller: the cross-entropy of the output's sigmoid, or its squared error (logistic, mlp)."""
