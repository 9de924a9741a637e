"""How large a learning rate, and which schedule?

    python -m experiments.sweep learning_rate

144 trials in one program, 1 min 41 s on 2 cores of a shared machine. Not resolved between inverse time (2.361) and cosine
with a warm-up; inverse time does beat a constant rate (2.368) and steps (2.421), each at its own best rate.
"""

from __future__ import annotations

from jaxgen.config import SCHEDULES, Config
from jaxgen.search.sweep import Question, Sweep, grid, zipped

from .settings import SHORT

QUESTION = Question(
    "learning_rate", "How large a learning rate, and which schedule?", arms=("optimizer.schedule", "optimizer.warmup")
)
SETTINGS = SHORT
SEEDS = 6
MINUTES = 1.7


def sweep(base: Config) -> Sweep:
    """Five schedules, and cosine with a warm-up, each at four learning rates of Adam's."""
    arms = zipped(base, {"optimizer.schedule": [*SCHEDULES, "cosine"], "optimizer.warmup": [0.0] * len(SCHEDULES) + [0.1]})
    return grid(arms, {"optimizer.learning_rate": [1e-3, 3e-3, 1e-2, 3e-2]})
