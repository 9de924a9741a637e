"""Where does the error come from as a network grows: bias, variance, or other data?

python -m experiments.sweep overfitting
"""

from __future__ import annotations

from experiments.ablations.settings import LEARNT_BY_HEART
from jaxgen.config import Config
from jaxgen.sweep import Question, Sweep, grid

QUESTION = Question(
    "overfitting",
    "Where does the error come from as a network grows: bias, variance, or other data?",
    arms=("data.split", "model.hidden"),
    verdict="overfitting",
)
SETTINGS = LEARNT_BY_HEART | {"data.dev": 10}
SEEDS = 6


def sweep(base: Config) -> Sweep:
    """Four widths; validated on names like those trained on, and (the file being in order of frequency) on rarer ones."""
    return grid(base, {"data.split": ["rows", "order"], "model.hidden": [5, 20, 80, 320]})
