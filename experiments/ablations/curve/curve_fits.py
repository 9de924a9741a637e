"""Of fits that can go through ten noisy points: least squares, the same polynomial by descent, or a network?

python -m experiments.sweep curve_fits
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

QUESTION = Question(
    "curve_fits",
    "Of fits that can go through ten noisy points: least squares, the same polynomial by descent, or a network?",
    arms=("model.family",),
    verdict="draws",
)
SETTINGS = {"model.degree": 9, "optimizer.learning_rate": 0.01}
SEEDS = 1  # the draws of the noise are what varies
DRAWS = 20


def sweep(base: Config) -> Sweep:
    """Each family on the same draws of the noise."""
    return grid(base, {"model.family": ["least_squares", "polynomial", "mlp"], "data.noise_seed": range(DRAWS)})
