"""Do images that are moved, turned or zoomed in training make a network better on those that are not?

    python -m experiments.sweep image_augmentation

15 trials in one program, 4 min 26 s on 2 cores of a shared machine. Not resolved in 1,000 steps: moved images come to a
validation loss of 0.090 and a test accuracy of 0.981, all three to 0.092 and 0.980, images as they are to 0.095 and 0.979.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, zipped

from .settings import CNN

QUESTION = Question(
    "image_augmentation",
    "Do images that are moved, turned or zoomed in training make a network better on those that are not?",
    arms=("regularizer.shift", "regularizer.rotation", "regularizer.zoom"),
    names={
        "plain": "as they are",
        "shift 2": "moved",
        "rotation 15": "turned",
        "zoom 0.15": "zoomed",
        "shift 2, rotation 15, zoom 0.15": "all three",
    },
)
SETTINGS = CNN
SEEDS = 3
MINUTES = 4.4


def sweep(base: Config) -> Sweep:
    """None, each by itself, and all."""
    shift, rotation, zoom = zip(
        (0.0, 0.0, 0.0), (2.0, 0.0, 0.0), (0.0, 15.0, 0.0), (0.0, 0.0, 0.15), (2.0, 15.0, 0.15), strict=True
    )
    return zipped(base, {"regularizer.shift": shift, "regularizer.rotation": rotation, "regularizer.zoom": zoom})
