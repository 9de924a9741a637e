"""Does noise on the embeddings help?

    python -m experiments.sweep noise

60 trials in one program, 1 min 24 s on 2 cores of a shared machine. A standard deviation of 0.4 (2.200) beats 0.2 (2.209) by
0.010, and 0.1, 0.8 and none at all (2.237) by more.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

from .settings import LEARNT_BY_HEART

QUESTION = Question("noise", "Does noise on the embeddings help?", arms=("regularizer.noise",))
SETTINGS = LEARNT_BY_HEART
SEEDS = 6
MINUTES = 1.4


def sweep(base: Config) -> Sweep:
    """Five standard deviations (those of the embeddings begin at 1), each at two learning rates."""
    return grid(base, {"regularizer.noise": [0.0, 0.1, 0.2, 0.4, 0.8], "optimizer.learning_rate": [3e-3, 1e-2]})
