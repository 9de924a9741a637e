"""Is it better to be deep or wide?

    python -m experiments.sweep depth_width

54 trials in 9 programs, 2 min 34 s on 2 cores of a shared machine. 3 layers of 200 (2.344) beat 3 of 100 (2.351) by 0.007,
and all else by more: 1 layer comes to 2.362 at best, 6 to 2.381.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

from .settings import SHORT

QUESTION = Question("depth_width", "Is it better to be deep or wide?", arms=("model.depth", "model.hidden"))
SETTINGS = SHORT
SEEDS = 6
MINUTES = 2.6


def sweep(base: Config) -> Sweep:
    """Three depths by three widths."""
    return grid(base, {"model.depth": [1, 3, 6], "model.hidden": [50, 100, 200]})
