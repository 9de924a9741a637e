"""Of two spirals, does a deep network learn more than a shallow one with as many weights?

    python -m experiments.sweep shallow_deep

96 trials in four programs, 26 s on 2 cores of a shared machine. Three layers of 16 (validation accuracy 0.991), one of 150
(0.990) and two of 22 (0.989) are not resolved; three layers do beat five of 11 (0.985), by 0.006.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid, zipped

QUESTION = Question(
    "shallow_deep",
    "Of two spirals, does a deep network learn more than a shallow one with as many weights?",
    arms=("model.depth", "model.hidden"),
    names={
        "depth 1, hidden 150": "1 layer of 150",
        "depth 2, hidden 22": "2 layers of 22",
        "depth 3, hidden 16": "3 layers of 16",
        "depth 5, hidden 11": "5 layers of 11",
    },
)
SETTINGS = {"data.path": "spirals", "data.noise": 0.1, "data.points": 400, "optimizer.schedule": "cosine"}
SEEDS = 8
MINUTES = 0.4


def sweep(base: Config) -> Sweep:
    """About 600 weights in one to five layers, at three learning rates."""
    shapes = {"model.depth": [1, 2, 3, 5], "model.hidden": [150, 22, 16, 11]}
    return grid(zipped(base, shapes), {"optimizer.learning_rate": [1e-2, 3e-2, 1e-1]})
