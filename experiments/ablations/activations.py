"""Which activation function?

python -m experiments.sweep activations
"""

from __future__ import annotations

from experiments.ablations.settings import SHORT
from jaxgen.config import ACTIVATIONS, Config
from jaxgen.sweep import Question, Sweep, grid

QUESTION = Question("activations", "Which activation function?", arms=("model.activation",))
SETTINGS = SHORT
SEEDS = 6


def sweep(base: Config) -> Sweep:
    """All of them, each at two learning rates."""
    return grid(base, {"model.activation": ACTIVATIONS, "optimizer.learning_rate": [1e-3, 3e-3]})
