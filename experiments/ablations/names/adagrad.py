"""What should AdaGrad's sum of squared gradients start at?

    python -m experiments.sweep adagrad

72 trials in one program, 54 s on 2 cores of a shared machine. Not resolved between 0.1 and 1 (2.364, 2.365), which would take
about 130 seeds; 0.1 does beat a start at 0 (2.386).
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

from .settings import SHORT

QUESTION = Question("adagrad", "What should AdaGrad's sum of squared gradients start at?", arms=("optimizer.accumulator",))
SETTINGS = SHORT
SEEDS = 6
MINUTES = 0.9


def sweep(base: Config) -> Sweep:
    """Three starts, each at four learning rates."""
    return grid(
        base,
        {
            "optimizer.name": ["adagrad"],
            "optimizer.accumulator": [0.0, 0.1, 1.0],
            "optimizer.learning_rate": [0.01, 0.03, 0.1, 0.3],
        },
    )
