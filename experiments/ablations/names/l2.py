"""How strong an L2 penalty?

    python -m experiments.sweep l2

72 trials in one program, 1 min 38 s on 2 cores of a shared machine. Not resolved: 1e-3 has the lowest loss, 2.233, and none
at all comes to 2.237; it does beat 3e-3 and 1e-2, which are too much, by 0.025 and more.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

from .settings import LEARNT_BY_HEART

QUESTION = Question("l2", "How strong an L2 penalty?", arms=("regularizer.l2",))
SETTINGS = LEARNT_BY_HEART
SEEDS = 6
MINUTES = 1.6


def sweep(base: Config) -> Sweep:
    """Six strengths, each at two learning rates."""
    return grid(base, {"regularizer.l2": [0.0, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2], "optimizer.learning_rate": [3e-3, 1e-2]})
