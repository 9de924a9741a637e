"""Does it help to keep activations small?

    python -m experiments.sweep activity

60 trials in one program, 1 min 12 s on 2 cores of a shared machine. Not resolved: 0.1 has the lowest loss, 2.222, and none at
all comes to 2.237; it does beat 1, which is too much, by 0.065.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

from .settings import LEARNT_BY_HEART

QUESTION = Question("activity", "Does it help to keep activations small?", arms=("regularizer.activity",))
SETTINGS = LEARNT_BY_HEART
SEEDS = 6
MINUTES = 1.2


def sweep(base: Config) -> Sweep:
    """Five strengths, each at two learning rates."""
    return grid(base, {"regularizer.activity": [0.0, 1e-3, 1e-2, 0.1, 1.0], "optimizer.learning_rate": [3e-3, 1e-2]})
