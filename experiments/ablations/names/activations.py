"""Which activation function?

    python -m experiments.sweep activations

60 trials in 5 programs, 2 min 6 s on 2 cores of a shared machine. Not resolved between GELU (2.340), leaky ReLU (2.343) and
ReLU (2.346), which would take about 45 seeds; GELU does beat tanh (2.368) and the sigmoid (2.419).
"""

from __future__ import annotations

from jaxgen.search.sweep import Question, Sweep, grid
from jaxgen.tasks.names.config import ACTIVATIONS, Config

from .settings import SHORT

QUESTION = Question("activations", "Which activation function?", arms=("model.activation",))
SETTINGS = SHORT
SEEDS = 6
MINUTES = 2.1


def sweep(base: Config) -> Sweep:
    """All of them, each at two learning rates."""
    return grid(base, {"model.activation": ACTIVATIONS, "optimizer.learning_rate": [1e-3, 3e-3]})
