"""Is it better to hold ratings between their lowest and their highest?

    python -m experiments.sweep rating_range

24 trials in two programs, 29 s on 2 cores of a shared machine. Resolved: between 0 and 1, by a sigmoid, the RMSE on test is
0.240, free 0.249.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

QUESTION = Question(
    "rating_range",
    "Is it better to hold ratings between their lowest and their highest?",
    arms=("model.range",),
)
SETTINGS = {"train.steps": 6000, "optimizer.schedule": "cosine", "model.embedding": 16}
SEEDS = 3
MINUTES = 0.5


def sweep(base: Config) -> Sweep:
    """Either at two learning rates and two pulls."""
    return grid(
        base, {"model.range": ["bounded", "free"], "optimizer.learning_rate": [3e-3, 1e-2], "regularizer.seen": [0.003, 0.01]}
    )
