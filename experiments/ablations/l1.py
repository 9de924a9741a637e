"""How strong an L1 penalty?

python -m experiments.sweep l1
"""

from __future__ import annotations

from experiments.ablations.settings import LEARNT_BY_HEART
from jaxgen.config import Config
from jaxgen.sweep import Question, Sweep, grid

QUESTION = Question("l1", "How strong an L1 penalty?", arms=("regularizer.l1",))
SETTINGS = LEARNT_BY_HEART
SEEDS = 6


def sweep(base: Config) -> Sweep:
    """Six strengths, each at two learning rates."""
    return grid(base, {"regularizer.l1": [0.0, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3], "optimizer.learning_rate": [3e-3, 1e-2]})
