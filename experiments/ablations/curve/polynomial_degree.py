"""Which degree of polynomial suits ten noisy points, and from which on does it overfit?

python -m experiments.sweep polynomial_degree
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

QUESTION = Question(
    "polynomial_degree",
    "Which degree of polynomial suits ten noisy points, and from which on does it overfit?",
    arms=("model.degree",),
    verdict="draws",
)
SETTINGS = {"model.family": "least_squares"}
SEEDS = 1  # what is solved is the same at each
DRAWS = 20


def sweep(base: Config) -> Sweep:
    """Each degree on the same draws of the noise."""
    return grid(base, {"model.degree": range(1, 10), "data.noise_seed": range(DRAWS)})
