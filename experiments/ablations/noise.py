"""Does noise on the embeddings help?

python -m experiments.sweep noise
"""

from __future__ import annotations

from experiments.ablations.settings import LEARNT_BY_HEART
from jaxgen.config import Config
from jaxgen.sweep import Question, Sweep, grid

QUESTION = Question("noise", "Does noise on the embeddings help?", arms=("regularizer.noise",))
SETTINGS = LEARNT_BY_HEART
SEEDS = 6


def sweep(base: Config) -> Sweep:
    """Five standard deviations (those of the embeddings begin at 1), each at two learning rates."""
    return grid(base, {"regularizer.noise": [0.0, 0.1, 0.2, 0.4, 0.8], "optimizer.learning_rate": [3e-3, 1e-2]})
