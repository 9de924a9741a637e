"""How many characters should the network see?

    python -m experiments.sweep context

72 trials in 6 programs, 2 min 28 s on 2 cores of a shared machine. Not resolved between 6 and 8 characters (2.342, 2.346); 6
does beat 4 (2.353), 3 (2.368), 2 (2.400) and 1 (2.578).
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

from .settings import SHORT

QUESTION = Question("context", "How many characters should the network see?", arms=("model.context",))
SETTINGS = SHORT
SEEDS = 6
MINUTES = 2.5


def sweep(base: Config) -> Sweep:
    """Six contexts, each at two learning rates."""
    return grid(base, {"model.context": [1, 2, 3, 4, 6, 8], "optimizer.learning_rate": [1e-3, 3e-3]})
