"""Which of Adam's coefficients matter, and does it need its bias correction?

    python -m experiments.sweep adam

108 trials in one program, 1 min 14 s on 2 cores of a shared machine. Not resolved: Adam's own coefficients come to 2.368, no
momentum to 2.366, and every other choice to 2.377 or less. Without bias correction a third of the learning rate is best.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid, zipped

from .settings import SHORT

QUESTION = Question(
    "adam",
    "Which of Adam's coefficients matter, and does it need its bias correction?",
    arms=("optimizer.b1", "optimizer.b2", "optimizer.debias"),
    names={"plain": "Adam's own", "debias 0": "no bias correction"},
)
SETTINGS = SHORT
SEEDS = 6
MINUTES = 1.2


def sweep(base: Config) -> Sweep:
    """Adam's own coefficients, each of them changed alone, and no bias correction; each at three learning rates."""
    arms = [(0.9, 0.999, 1.0), (0.9, 0.999, 0.0), (0.0, 0.999, 1.0), (0.99, 0.999, 1.0), (0.9, 0.9, 1.0), (0.9, 0.99, 1.0)]
    b1, b2, debias = zip(*arms, strict=True)
    arms_of = zipped(base, {"optimizer.b1": b1, "optimizer.b2": b2, "optimizer.debias": debias})
    return grid(arms_of, {"optimizer.name": ["adam"], "optimizer.learning_rate": [1e-3, 3e-3, 1e-2]})
