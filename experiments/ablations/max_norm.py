"""Does it help to bound the length of a unit's weights?

python -m experiments.sweep max_norm
"""

from __future__ import annotations

from experiments.ablations.settings import LEARNT_BY_HEART
from jaxgen.config import Config
from jaxgen.sweep import Question, Sweep, grid

QUESTION = Question("max_norm", "Does it help to bound the length of a unit's weights?", arms=("regularizer.max_norm",))
SETTINGS = LEARNT_BY_HEART
SEEDS = 6


def sweep(base: Config) -> Sweep:
    """Five bounds (0: none) on a network without normalization, each at two learning rates."""
    axes = {"regularizer.max_norm": [0.0, 0.5, 1.0, 2.0, 4.0], "optimizer.learning_rate": [1e-3, 3e-3]}
    return grid(base, {"model.normalization": ["none"], **axes})
