"""How strong an L1 penalty?

    python -m experiments.sweep l1

72 trials in one program, 1 min 27 s on 2 cores of a shared machine. Not resolved: 1e-4 has the lowest loss, 2.232, and none
at all comes to 2.237; it does beat 1e-3, which is too much, by 0.091.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

from .settings import LEARNT_BY_HEART

QUESTION = Question("l1", "How strong an L1 penalty?", arms=("regularizer.l1",))
SETTINGS = LEARNT_BY_HEART
SEEDS = 6
MINUTES = 1.4


def sweep(base: Config) -> Sweep:
    """Six strengths, each at two learning rates."""
    return grid(base, {"regularizer.l1": [0.0, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3], "optimizer.learning_rate": [3e-3, 1e-2]})
