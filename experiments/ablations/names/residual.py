"""Do residual connections help, and from what depth on?

    python -m experiments.sweep residual

72 trials in 6 programs, 2 min 3 s on 2 cores of a shared machine. Six layers with them (2.400) beat three with them (2.409)
and all else; without them it is 2.411 with three layers and 2.416 with six, and with twelve 2.428 with them and 2.488 without.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

QUESTION = Question("residual", "Do residual connections help, and from what depth on?", arms=("model.residual", "model.depth"))
SETTINGS = {"train.steps": 1000, "train.eval_every": 100}
SEEDS = 6
MINUTES = 2.0


def sweep(base: Config) -> Sweep:
    """With and without, at three depths, without normalization, each at two learning rates."""
    axes = {"model.residual": [False, True], "model.depth": [3, 6, 12], "optimizer.learning_rate": [1e-3, 3e-3]}
    return grid(base, {"model.normalization": ["none"], **axes})
