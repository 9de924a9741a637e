"""Which of the seven classic optimizers wins, each at learning rates that suit it?

    python -m experiments.sweep optimizers

126 trials in one program, 1 min 17 s on 2 cores of a shared machine. Not resolved: on the bundled corpus AdaGrad at 0.3 has the
lowest mean validation loss, 2.364, and at their own best rates the other six come to 2.365 to 2.375. The rate matters more:
each optimizer's worst of three lies 0.026 to 0.081 above its best.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, zipped

QUESTION = Question(
    "optimizers",
    "Which of the seven classic optimizers wins, each at learning rates that suit it?",
    arms=("optimizer.name",),
)
SETTINGS = {"train.steps": 2000}
SEEDS = 6
MINUTES = 1.3
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
