"""How much is it that embeddings are learnt, and how much would a network make of random ones?

    python -m experiments.sweep random_embeddings

24 trials in four programs, 53 s on 2 cores of a shared machine. Resolved: of 64 random numbers each, a network says 85.2% of
the test votes right (RMSE 0.331), of 8 no more than the mean does; of those that are learnt, 91% and more (0.250).
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid

QUESTION = Question(
    "random_embeddings",
    "How much is it that embeddings are learnt, and how much would a network make of random ones?",
    arms=("model.embeddings", "model.embedding"),
    names={
        "trained, embedding 8": "8 numbers, learnt",
        "trained, embedding 64": "64 numbers, learnt",
        "random, embedding 8": "8 numbers, random",
        "random, embedding 64": "64 numbers, random",
    },
)
SETTINGS = {"model.family": "mlp", "train.steps": 6000, "optimizer.schedule": "cosine", "model.hidden": 64, "model.spread": 0.3}
SEEDS = 3
MINUTES = 0.9


def sweep(base: Config) -> Sweep:
    """Either of few numbers and of many, at two learning rates."""
    sizes = {"model.embeddings": ["trained", "random"], "model.embedding": [8, 64]}
    return grid(base, {**sizes, "optimizer.learning_rate": [1e-3, 3e-3]})
