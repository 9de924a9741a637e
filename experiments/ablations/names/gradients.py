"""Where do gradients vanish or explode: over depth, with and without BatchNorm, residual connections, clipping?

    python -m experiments.sweep gradients

72 trials in 9 programs, 3 min 32 s on 2 cores of a shared machine. Sigmoids without help: at 6 layers gradients have vanished
before the first step, and at 20 the first layer's is 3.5e-10 times the last one's. With BatchNorm or residual connections
they reach it, and 20 layers learn (2.728, 2.623, and 2.951 with neither); clipping, against gradients that explode, changes
nothing here.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid, zipped

QUESTION = Question(
    "gradients",
    "Where do gradients vanish or explode: over depth, with and without BatchNorm, residual connections, clipping?",
    arms=("model.depth", "model.normalization", "model.residual", "optimizer.clip_norm"),
    verdict="gradients",
)
# Sigmoids, whose slope is a quarter at most, are what gradients vanished in first.
SETTINGS = {
    "train.diagnostics": True,
    "model.activation": "sigmoid",
    "train.steps": 400,
    "train.eval_every": 50,
    "model.hidden": 50,
}
SEEDS = 6
MINUTES = 3.5


def sweep(base: Config) -> Sweep:
    """Depths 1, 6 and 20, as they are, with residual connections, with BatchNorm, and with clipped gradients."""
    kinds = [("none", False, 0.0), ("none", False, 1.0), ("none", True, 0.0), ("batchnorm", False, 0.0)]
    normalization, residual, clip = zip(*kinds, strict=True)
    axes = {"model.normalization": normalization, "model.residual": residual, "optimizer.clip_norm": clip}
    return zipped(grid(base, {"model.depth": [1, 6, 20]}), axes)
