"""Does a convolution need a frame of zeros, and does a stride do what a pooling does?

    python -m experiments.sweep padding_stride

16 trials in four programs, 2 min 35 s on 2 cores of a shared machine. With and without a frame is not resolved (0.094 and
0.093); a pooling beats a stride of 2 by 0.032 nats or more.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid, zipped

from .settings import CNN

QUESTION = Question(
    "padding_stride",
    "Does a convolution need a frame of zeros, and does a stride do what a pooling does?",
    arms=("model.padding", "model.stride", "model.pooling"),
    names={
        "same, stride 1, max": "framed, a pooling",
        "valid, stride 1, max": "not framed, a pooling",
        "same, stride 2, no pooling": "framed, a stride of 2",
        "valid, stride 2, no pooling": "not framed, a stride of 2",
    },
)
SETTINGS = CNN
SEEDS = 4
MINUTES = 2.6


def sweep(base: Config) -> Sweep:
    """With and without a frame, by a pooling and by a stride."""
    framed = grid(base, {"model.padding": ["same", "valid"]})
    return zipped(framed, {"model.stride": [1, 2], "model.pooling": ["max", "none"]})
