"""With a sigmoid at its end, should a network be trained by cross-entropy or by squared error?

    python -m experiments.sweep binary_losses

100 trials in two programs, 22 s on 2 cores of a shared machine. Not resolved: accuracies of 0.967 on validation and 0.961 on
test by squared error, 0.966 and 0.960 by cross-entropy, each at its best rate, which of squared error is ten times as large.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

QUESTION = Question(
    "binary_losses",
    "With a sigmoid at its end, should a network be trained by cross-entropy or by squared error?",
    arms=("train.objective",),
)
SETTINGS = {"optimizer.name": "sgd", "train.steps": 2000}
SEEDS = 10
MINUTES = 0.4


def sweep(base: Config) -> Sweep:
    """Both at five learning rates."""
    rates = {"optimizer.learning_rate": [0.1, 0.3, 1.0, 3.0, 10.0]}
    return grid(base, {"train.objective": ["cross_entropy", "squared_error"], **rates})
