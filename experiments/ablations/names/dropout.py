"""How much dropout, and where: in all hidden layers, the first, the last, or the embeddings?

    python -m experiments.sweep dropout

84 trials in one program, 2 min 24 s on 2 cores of a shared machine. Not resolved between dropping a tenth of the embeddings'
entries (2.198) and of every hidden layer's (2.211); with --seeds 14 the first beats it by 0.016, and all else, none at all
among it, by 0.031 or more.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid, zipped

from .settings import LEARNT_BY_HEART

QUESTION = Question(
    "dropout",
    "How much dropout, and where: in all hidden layers, the first, the last, or the embeddings?",
    arms=("regularizer.dropout", "regularizer.dropout_last", "regularizer.dropout_input"),
    names={
        "plain": "none",
        "dropout 0.1, dropout last 0.1": "0.1 in all layers",
        "dropout 0.3, dropout last 0.3": "0.3 in all layers",
        "dropout 0.3": "0.3 falling to 0",
        "dropout last 0.3": "0 rising to 0.3",
        "dropout input 0.1": "0.1 of embeddings",
        "dropout input 0.3": "0.3 of embeddings",
    },
)
SETTINGS = LEARNT_BY_HEART
SEEDS = 6
MINUTES = 2.4


def sweep(base: Config) -> Sweep:
    """None; two rates in all hidden layers; falling and rising from the first to the last; two rates in the embeddings; each
    at two learning rates."""
    arms = [
        (0.0, 0.0, 0.0),
        (0.1, 0.1, 0.0),
        (0.3, 0.3, 0.0),
        (0.3, 0.0, 0.0),
        (0.0, 0.3, 0.0),
        (0.0, 0.0, 0.1),
        (0.0, 0.0, 0.3),
    ]
    first, last, embeddings = zip(*arms, strict=True)
    axes = {"regularizer.dropout": first, "regularizer.dropout_last": last, "regularizer.dropout_input": embeddings}
    return grid(zipped(base, axes), {"optimizer.learning_rate": [3e-3, 1e-2]})
