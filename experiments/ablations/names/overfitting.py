"""Where does the error come from as a network grows: bias, variance, or other data?

    python -m experiments.sweep overfitting

48 trials in 8 programs, 3 min 27 s on 2 cores of a shared machine. From 909 to 440,964 parameters bias falls (training loss
2.327 to 1.994) and variance grows (0.010 to 0.104); 80 units a layer have the lowest
loss on either split, which is not resolved from 320.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

from .settings import LEARNT_BY_HEART

QUESTION = Question(
    "overfitting",
    "Where does the error come from as a network grows: bias, variance, or other data?",
    arms=("data.split", "model.hidden"),
    verdict="overfitting",
)
SETTINGS = LEARNT_BY_HEART | {"data.dev": 10, "data.split": "rows"}
SEEDS = 6
MINUTES = 3.5


def sweep(base: Config) -> Sweep:
    """Four widths; validated on names like those trained on, and (the file being in order of frequency) on rarer ones.

    `data.split` says which names are like those trained on: of the same rows, or (`names`) none that stands in training.
    """
    splits = list(dict.fromkeys((base.data.split, "order")))
    return grid(base, {"data.split": splits, "model.hidden": [5, 20, 80, 320]})
