"""Does label smoothing help?

python -m experiments.sweep label_smoothing
"""

from __future__ import annotations

from experiments.ablations.settings import LEARNT_BY_HEART
from jaxgen.config import Config
from jaxgen.sweep import Question, Sweep, grid

QUESTION = Question("label_smoothing", "Does label smoothing help?", arms=("regularizer.label_smoothing",))
SETTINGS = LEARNT_BY_HEART
SEEDS = 6


def sweep(base: Config) -> Sweep:
    """Five shares, each at two learning rates."""
    return grid(base, {"regularizer.label_smoothing": [0.0, 0.01, 0.03, 0.1, 0.2], "optimizer.learning_rate": [3e-3, 1e-2]})
