"""The config of the curve task. Nothing here imports JAX, so that every command's --help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from jaxgen.config import Cut, Steps, Training
from jaxgen.fields import Amount, Known, Leaf, Seed, Share

MAX_DEGREE = 9  # of a polynomial: with ten points, it goes through all of them
MADE = ("sine", "step")
SUNSPOTS, CONCRETE = "sunspots", "concrete"


@dataclass(frozen=True)
class Data(Cut):
    path: Annotated[str, Known(*MADE, SUNSPOTS, CONCRETE)] = "sine"
    """sine or step, points of the plane that are made by a formula; sunspots, a real series, of which a year is told from those
    before it; concrete, the strength of 1,030 real mixtures; or a CSV file of your own: columns of numbers, or one that is a
    series."""
    column: str | None = None
    """Of a file of your own, the column that is to be told, by its name or number. None: the last."""
    lags: Annotated[int, Interval(ge=1, le=10_000)] = 12
    """Of a series, how many values before it tell one."""
    points: Annotated[int, Interval(ge=2, le=100_000)] = 10
    """Training points that are made, evenly spaced from 0 to 1."""
    noise: Amount = 0.3
    """Standard deviation of what is added to points that are made."""
    noise_seed: Seed = 42
    """Draws the noise of the training points; validation and test are the same whatever it is."""
    outliers: Share = 0.0
    """Share of the training points that are made, which lie 3 higher or lower than they should."""


@dataclass(frozen=True)
class Model:
    family: Literal["polynomial", "least_squares", "mlp"] = "mlp"
    """polynomial (of each column, trained like a network, on Legendre's basis), least_squares (the same solved exactly, with
    regularizer.l2 if that is given), mlp."""
    degree: Annotated[int, Interval(ge=1, le=MAX_DEGREE)] = 3
    """Of the polynomial."""
    hidden: Annotated[int, Interval(ge=1, le=65536)] = 16
    """Width of a hidden layer (mlp)."""
    depth: Annotated[int, Interval(ge=1, le=1000)] = 1
    """Hidden layers (mlp)."""
    activation: Literal["tanh", "relu"] = "tanh"
    """Between layers (mlp)."""
    scaling: Literal["range", "standard"] = "range"
    """range: inputs go from -1 to 1, as those of a polynomial always do; standard: of each column the mean is taken off, and it
    is divided by its standard deviation (mlp). By the training rows of the run's own data section."""


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
    objective: Literal["squared_error", "absolute_error", "huber"] = "squared_error"
    """What descent makes smaller; huber: half the squared error of what is off by less than train.huber, and beyond that a line
    (Huber 1964)."""
    huber: Amount = 1.0
    """Where the line begins, in standard deviations of the training targets where these are read from a file."""
    method: Literal["gradient", "newton", "gauss_newton"] = "gradient"
    """What the optimizer is given: the gradient; newton: what the inverse of the Hessian makes of it, as far as that bends up;
    gauss_newton: the same with the product of the outputs' Jacobians in place of the Hessian (with sgd at a learning rate of 1,
    Levenberg's method). Both by conjugate gradients."""
    damping: Amount = 1e-3
    """Times a direction, added to what the Hessian makes of it (newton, gauss_newton)."""
    inner: Annotated[int, Interval(ge=1, le=10_000)] = 30
    """Conjugate gradients of a step (newton, gauss_newton)."""
