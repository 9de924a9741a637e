"""Grid, random or coarse-to-fine random search, at the same budget?

    python -m experiments.sweep search

192 trials in one program, 2 min 5 s on 2 cores of a shared machine. Coarse-to-fine comes to 2.404 on average, random to
2.409, the grid to 2.412, where the best of all 96 settings has 2.396; coarse-to-fine finds the better setting than random in
63% of 2,000 plays.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

QUESTION = Question("search", "Grid, random or coarse-to-fine random search, at the same budget?", verdict="search")
SETTINGS = {"train.steps": 1500, "train.eval_every": 300}
SEEDS = 2
MINUTES = 2.1


def sweep(base: Config) -> Sweep:
    """A fine table of learning rates and L2 penalties, in which the three searches are played many times."""
    rates = [round(10 ** (-4 + place / 5), 8) for place in range(16)]  # 1e-4 to 0.1
    return grid(base, {"optimizer.learning_rate": rates, "regularizer.l2": [0.0, 1e-5, 1e-4, 1e-3, 1e-2, 0.1]})
