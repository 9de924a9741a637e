"""Does a perceptron's rule find a line that is as good as logistic regression's?

    python -m experiments.sweep perceptron

60 trials in two programs, 21 s on 2 cores of a shared machine. Not resolved: the perceptron (validation accuracy 0.915, test
0.907) and logistic regression (0.914 and 0.906), each at its best rate; the perceptron says the same at every rate.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

QUESTION = Question(
    "perceptron",
    "Does a perceptron's rule find a line that is as good as logistic regression's?",
    arms=("model.family",),
)
SETTINGS = {"data.path": "line", "optimizer.name": "sgd"}
SEEDS = 10
MINUTES = 0.3


def sweep(base: Config) -> Sweep:
    """Both on the same noisy points, at three rates."""
    return grid(base, {"model.family": ["perceptron", "logistic"], "optimizer.learning_rate": [1.0, 10.0, 100.0]})
