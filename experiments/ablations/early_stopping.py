"""How patient should early stopping be, and what does it cost?

python -m experiments.sweep early_stopping
"""

from __future__ import annotations

from experiments.ablations.settings import LEARNT_BY_HEART
from jaxgen.config import Config
from jaxgen.sweep import Question, Sweep, grid

QUESTION = Question(
    "early_stopping",
    "How patient should early stopping be, and what does it cost?",
    arms=("train.patience",),
    verdict="early_stopping",
)
SETTINGS = LEARNT_BY_HEART | {"train.eval_every": 250, "optimizer.schedule": "constant", "train.steps": 8000}
SEEDS = 8


def sweep(base: Config) -> Sweep:
    """Four patiences, in evaluations without a better validation loss; 0 goes through the whole budget."""
    return grid(base, {"train.patience": [0, 1, 2, 4]})
