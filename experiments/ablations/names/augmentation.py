"""Does it help to replace characters of the context in training?

    python -m experiments.sweep augmentation

60 trials in one program, 1 min 14 s on 2 cores of a shared machine. Not resolved between 0.05 (2.203) and 0.1 (2.211), nor at
20 seeds (2.207 and 2.209); 0.05 does beat 0.02, 0.2 and none at all (2.237).
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

from .settings import LEARNT_BY_HEART

QUESTION = Question(
    "augmentation", "Does it help to replace characters of the context in training?", arms=("regularizer.augmentation",)
)
SETTINGS = LEARNT_BY_HEART
SEEDS = 6
MINUTES = 1.2


def sweep(base: Config) -> Sweep:
    """Five probabilities, each at two learning rates."""
    return grid(base, {"regularizer.augmentation": [0.0, 0.02, 0.05, 0.1, 0.2], "optimizer.learning_rate": [3e-3, 1e-2]})
