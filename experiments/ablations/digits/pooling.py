"""What should a pooling make of neighbouring places: the largest value, the mean, or nothing?

    python -m experiments.sweep pooling

12 trials in three programs, 4 min 24 s on 2 cores of a shared machine. Resolved: the largest value (0.094) beats the mean by
0.006 nats (95% CI 0.000 to 0.018), and no pooling at all, whose network is 16 times as large, by 0.028.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

from .settings import CNN

QUESTION = Question(
    "pooling",
    "What should a pooling make of neighbouring places: the largest value, the mean, or nothing?",
    arms=("model.pooling",),
)
SETTINGS = CNN
SEEDS = 4
MINUTES = 4.4


def sweep(base: Config) -> Sweep:
    """Each pooling."""
    return grid(base, {"model.pooling": ["max", "average", "none"]})
