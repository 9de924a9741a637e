"""Of fits that can go through ten noisy points: least squares, the same polynomial by descent, or a network?

    python -m experiments.sweep curve_fits

60 trials, of which 40 are trained in two programs, 57 s on 2 cores that others shared (25 CPU seconds). Resolved: an MLP of 16
units, with a mean squared error of 0.138 on test points, beats the polynomial of degree 9 by 0.231 on validation, though that
says where descent stops, and least squares by more. It does not beat a polynomial of the right size: in 6 of 20 draws alone it
is better than least squares of the best degree.
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
MINUTES = 0.9
DRAWS = 20


def sweep(base: Config) -> Sweep:
    """Each family on the same draws of the noise."""
    return grid(base, {"model.family": ["least_squares", "polynomial", "mlp"], "data.noise_seed": range(DRAWS)})
