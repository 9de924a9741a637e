"""The config of the digits task. Nothing here imports JAX, so that every command's --help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from jaxgen.config import Cut, Steps, Training
from jaxgen.fields import Leaf, Share, Strength


@dataclass(frozen=True)
class Data(Cut):
    split: Literal["random", "order"] = "random"
    """random: shuffle the images and cut 60/20/20; order: cut them as they stand in the file, so that other people wrote those
    of validation and test."""


@dataclass(frozen=True)
class Model:
    family: Literal["logistic", "mlp", "cnn"] = "mlp"
    """logistic (softmax regression), mlp, or cnn: two convolutions of 3 by 3, a maximum over 2 by 2, a hidden layer."""
    hidden: Annotated[int, Interval(ge=1, le=65536)] = 128
    """Width of a hidden layer (mlp, cnn)."""
    depth: Annotated[int, Interval(ge=1, le=1000)] = 1
    """Hidden layers (mlp)."""
    channels: Annotated[int, Interval(ge=1, le=4096)] = 16
    """Channels of the first convolution; the second has twice as many (cnn)."""
    dropout: Strength[Share] = 0.3
    """Probability that a hidden unit is dropped in training (mlp, cnn)."""


@dataclass(frozen=True)
class Train(Training):
    steps: Leaf[Steps] = 2000
    """Step budget (S)."""
    eval_every: Steps = 100
    """Steps between two evaluations: a segment."""
