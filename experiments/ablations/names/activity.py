"""Does it help to keep activations small?

    python -m experiments.sweep activity

60 trials in one program, 1 min 12 s on 2 cores of a shared machine. 0.1 comes to 2.222 and beats 0.01 by 0.014, and none at
all (2.237) and 1, which is too much, by more.
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
