"""Which optimizer wins, each at learning rates that suit it?

python -m experiments.sweep optimizers
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.sweep import Sweep, zipped

QUESTION = "Which of the seven classic optimizers wins, each at learning rates that suit it?"
SEEDS = 3
LEARNING_RATES = {
    "sgd": (0.1, 0.3, 1.0),
    "momentum": (0.01, 0.03, 0.1),
    "nesterov": (0.01, 0.03, 0.1),
    "adagrad": (0.03, 0.1, 0.3),
    "rmsprop": (1e-3, 3e-3, 1e-2),
    "adam": (1e-3, 3e-3, 1e-2),
    "adamw": (1e-3, 3e-3, 1e-2),
}


def sweep(base: Config) -> Sweep:
    """Each optimizer at each of its learning rates."""
    pairs = [(name, rate) for name, rates in LEARNING_RATES.items() for rate in rates]
    names, rates = zip(*pairs, strict=True)
    return zipped(base, {"optimizer.name": names, "optimizer.learning_rate": rates})
