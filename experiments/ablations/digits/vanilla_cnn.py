"""Does a small convolutional network beat an MLP and logistic regression, each at a learning rate that suits it?

python -m experiments.sweep vanilla_cnn
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

QUESTION = Question(
    "vanilla_cnn",
    "Does a small convolutional network beat an MLP and logistic regression, each at a learning rate that suits it?",
    arms=("model.family",),
)
SETTINGS = {"optimizer.schedule": "cosine"}
SEEDS = 6


def sweep(base: Config) -> Sweep:
    """Each family at some learning rates."""
    return grid(base, {"model.family": ["logistic", "mlp", "cnn"], "optimizer.learning_rate": [3e-3, 1e-2, 3e-2]})
