"""BatchNorm, LayerNorm or neither, and how does each bear a bad initialization?

    python -m experiments.sweep batchnorm

120 trials in 9 programs, 2 min 54 s on 2 cores of a shared machine. Not resolved at the top: He's start without normalization
comes to 2.371, N(0, 1) with LayerNorm to 2.378 and with BatchNorm to 2.380; with --seeds 12 the first beats all others, the
next one by 0.010. From N(0, 1) without normalization it is 2.668: a bad start is what normalization makes up for.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid, zipped

QUESTION = Question(
    "batchnorm",
    "BatchNorm, LayerNorm or neither, and how does each bear a bad initialization?",
    arms=("model.normalization", "model.batch_momentum", "model.init"),
)
SETTINGS = {"train.steps": 1500, "train.eval_every": 150}
SEEDS = 5
MINUTES = 2.9


def sweep(base: Config) -> Sweep:
    """Each normalization with each of three initializations; BatchNorm with two momenta."""
    kinds = [("batchnorm", 0.9), ("batchnorm", 0.99), ("layernorm", 0.9), ("none", 0.9)]
    names, momenta = zip(*kinds, strict=True)
    arms = zipped(base, {"model.normalization": names, "model.batch_momentum": momenta})
    return grid(arms, {"model.init": ["normal", "xavier", "he"], "optimizer.learning_rate": [1e-3, 3e-3]})
