"""How long should RMSProp remember squared gradients?

    python -m experiments.sweep rmsprop

72 trials in one program, 53 s on 2 cores of a shared machine. Not resolved between 0.999 and 0.99 (2.371, 2.373); 0.999 does
beat 0.9 (2.377) and so short a memory as 0.5 (2.422). With --seeds 40 it beats 0.99, too, by 0.0026.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

from .settings import SHORT

QUESTION = Question("rmsprop", "How long should RMSProp remember squared gradients?", arms=("optimizer.b2",))
SETTINGS = SHORT
SEEDS = 6
MINUTES = 0.9


def sweep(base: Config) -> Sweep:
    """Four decays of the second moment, each at three learning rates."""
    return grid(
        base,
        {
            "optimizer.name": ["rmsprop"],
            "optimizer.b2": [0.5, 0.9, 0.99, 0.999],
            "optimizer.learning_rate": [1e-3, 3e-3, 1e-2],
        },
    )
