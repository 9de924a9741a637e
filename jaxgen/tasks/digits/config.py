"""The config of the digits task. Nothing here imports JAX, so that every command's --help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from jaxgen.config import Cut, Penalties, Steps, Training
from jaxgen.fields import Amount, Known, Leaf, Share, Strength

BUNDLED = ("mnist", "fashion", "digits8x8")
Count = Annotated[int, Interval(ge=1, le=65536)]


@dataclass(frozen=True)
class Data(Cut):
    path: Annotated[str, Known(*BUNDLED)] = "mnist"
    """mnist, fashion or digits8x8, which come with the package; or images of your own: a folder of IDX files, an .npz or CSV
    file, or a folder or .zip file of pictures in which each class has a folder."""
    split: Literal["random", "order"] = "random"
    """random: shuffle the images before they are cut; order: cut them as they stand, so that of digits8x8 other people wrote
    those of validation and test. Images that come in a training and a test part keep these."""
    test: Annotated[float, Interval(gt=0.0, lt=1.0)] = 0.2
    """Share of the images that is the test part, where they come without one."""
    validation: Annotated[float, Interval(gt=0.0, lt=1.0)] = 0.1
    """Share of the images that are not for testing, for validation."""
    rows: Annotated[int, Interval(ge=1, le=2**31 - 1)] | None = None
    """How many images are trained on, of those that there are. None: all."""
    source: Annotated[str, Known(*BUNDLED)] | None = None
    """Other images of the same size, as --data.path takes them, for the first train.pretrain steps."""


@dataclass(frozen=True)
class Model:
    family: Literal["logistic", "mlp", "cnn"] = "mlp"
    """logistic (softmax regression), mlp, or cnn: blocks of a convolution and a pooling, then a hidden layer."""
    hidden: Count = 128
    """Width of a hidden layer (mlp, cnn)."""
    depth: Annotated[int, Interval(ge=1, le=1000)] = 1
    """Hidden layers (mlp)."""
    channels: Annotated[int, Interval(ge=1, le=4096)] = 16
    """Channels of the first block; each further one has twice as many as the one before (cnn)."""
    blocks: Annotated[int, Interval(ge=1, le=10)] = 2
    """Blocks (cnn)."""
    kernel: Annotated[int, Interval(ge=1, le=64)] = 3
    """Pixels along a side of what a convolution sees (cnn)."""
    padding: Literal["same", "valid"] = "same"
    """same: images are framed by zeros, so that a convolution gives as many places as it gets; valid: they are not (cnn)."""
    stride: Annotated[int, Interval(ge=1, le=64)] = 1
    """Places that a block's first convolution goes at a time (cnn)."""
    dilation: Annotated[int, Interval(ge=1, le=64)] = 1
    """Places from one pixel that a convolution sees to the next (cnn)."""
    pooling: Literal["max", "average", "none"] = "max"
    """What a block makes of each 2 by 2 places (cnn)."""
    residual: bool = False
    """Whether a block has a second convolution, whose output is added to its input (cnn)."""
    batchnorm: bool = False
    """Whether BatchNorm stands before each activation function (mlp, cnn)."""
    dropout: Strength[Share] = 0.3
    """Probability that a hidden unit is dropped in training (mlp, cnn)."""


@dataclass(frozen=True)
class Regularizer(Penalties):
    shift: Strength[Amount] = 0.0
    """Training images are moved by up to so many pixels, along each side."""
    rotation: Strength[Annotated[float, Interval(ge=0.0, le=180.0)]] = 0.0
    """Training images are turned by up to so many degrees, either way."""
    zoom: Strength[Share] = 0.0
    """Training images are made larger or smaller by up to this share."""


@dataclass(frozen=True)
class Train(Training):
    steps: Leaf[Steps] = 2000
    """Step budget (S)."""
    batch_size: Annotated[int, Interval(ge=1, le=1_000_000)] = 64
    """Rows a step (B)."""
    eval_every: Steps = 200
    """Steps between two evaluations: a segment."""
