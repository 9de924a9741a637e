"""Is it better to be deep or wide?

python -m experiments.sweep depth_width
"""

from __future__ import annotations

from experiments.ablations.settings import SHORT
from jaxgen.config import Config
from jaxgen.sweep import Question, Sweep, grid

QUESTION = Question("depth_width", "Is it better to be deep or wide?", arms=("model.depth", "model.hidden"))
SETTINGS = SHORT
SEEDS = 6


def sweep(base: Config) -> Sweep:
    """Three depths by three widths."""
    return grid(base, {"model.depth": [1, 3, 6], "model.hidden": [50, 100, 200]})
