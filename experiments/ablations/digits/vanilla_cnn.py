"""Does a small convolutional network beat an MLP and logistic regression, each at a learning rate that suits it?

    python -m experiments.sweep vanilla_cnn

54 trials in three programs, 3 min 46 s on 2 cores that others shared (114 CPU seconds). Resolved: the CNN's validation loss is
0.021 nats below the MLP's (95% CI 0.016 to 0.029), and its test accuracy at the best rate 0.985, the MLP's 0.972, logistic
regression's 0.957; the nearest neighbour's, without a network, is 0.978. With --data.split order, where other people wrote what
is tested, they come to 0.956, 0.907 and 0.898, and of these the CNN alone passes the nearest neighbour's 0.947.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

QUESTION = Question(
    "vanilla_cnn",
    "Does a small convolutional network beat an MLP and logistic regression, each at a learning rate that suits it?",
    arms=("model.family",),
)
SETTINGS = {"optimizer.schedule": "cosine"}
SEEDS = 6
MINUTES = 3.8


def sweep(base: Config) -> Sweep:
    """Each family at some learning rates."""
    return grid(base, {"model.family": ["logistic", "mlp", "cnn"], "optimizer.learning_rate": [3e-3, 1e-2, 3e-2]})
