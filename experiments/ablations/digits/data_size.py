"""How much do more images help, and does a CNN need fewer of them than an MLP?

    python -m experiments.sweep data_size

30 trials in ten programs, 3 min 57 s on 2 cores of a shared machine. Each step lowers the error; on 1,000 images the CNN's test
accuracy is 0.951, and the MLP's on 9,000 is 0.942.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

QUESTION = Question(
    "data_size",
    "How much do more images help, and does a CNN need fewer of them than an MLP?",
    arms=("model.family", "data.rows"),
)
SETTINGS = {"optimizer.schedule": "cosine", "optimizer.learning_rate": 3e-3, "train.steps": 1000, "model.channels": 8}
SEEDS = 3
MINUTES = 4.0


def sweep(base: Config) -> Sweep:
    """Both networks on a hundred to nine thousand images."""
    return grid(base, {"model.family": ["mlp", "cnn"], "data.rows": [100, 300, 1000, 3000, 9000]})
