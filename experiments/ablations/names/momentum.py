"""How much momentum, and is Nesterov's better?

    python -m experiments.sweep momentum

126 trials in one program, 1 min 33 s on 2 cores of a shared machine. Not resolved: 0.9 and 0.5, Polyak's and Nesterov's, and
none at all come to 2.366 to 2.369, each at its own best rate, and 0.99 to 2.382 and 2.385.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, zipped

from .settings import SHORT

MOMENTA = (0.5, 0.9, 0.99)
QUESTION = Question(
    "momentum",
    "How much momentum, and is Nesterov's better?",
    arms=("optimizer.name", "optimizer.momentum"),
    names={
        "sgd, default momentum": "no momentum",
        **{f"momentum, momentum {m}": f"momentum {m}" for m in MOMENTA},
        **{f"nesterov, momentum {m}": f"nesterov {m}" for m in MOMENTA},
    },
)
SETTINGS = SHORT
SEEDS = 6
MINUTES = 1.6


def sweep(base: Config) -> Sweep:
    """Plain, Polyak's and Nesterov's momentum, each at three rates around (1 - momentum), which keeps the length of a step."""
    points = [("sgd", None, 1.0)]
    points += [(name, momentum, 1 - momentum) for name in ("momentum", "nesterov") for momentum in MOMENTA]
    settings = [(name, momentum, round(rate * scale, 6)) for name, momentum, scale in points for rate in (0.1, 0.3, 1.0)]
    names, momenta, rates = zip(*settings, strict=True)
    return zipped(base, {"optimizer.name": names, "optimizer.momentum": momenta, "optimizer.learning_rate": rates})
