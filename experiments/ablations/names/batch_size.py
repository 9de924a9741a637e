"""How large a batch, at the same number of windows seen?

    python -m experiments.sweep batch_size

54 trials in 3 programs, 1 min 23 s on 2 cores of a shared machine. Not resolved between 32 and 128 (both 2.368); 128 does
beat 8 by 0.072, whose BatchNorm has 8 windows to take a mean of.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, zipped

from .settings import SHORT

QUESTION = Question("batch_size", "How large a batch, at the same number of windows seen?", arms=("train.batch_size",))
SETTINGS = SHORT
SEEDS = 6
MINUTES = 1.4


def sweep(base: Config) -> Sweep:
    """Three batch sizes, each at three learning rates around what the square root of the size asks for."""
    windows = base.train.steps * base.train.batch_size
    points = []
    for size, rates in ((8, (3e-4, 1e-3, 3e-3)), (32, (1e-3, 3e-3, 1e-2)), (128, (1e-3, 3e-3, 1e-2))):
        steps = max(windows // size, 1)
        points += [(size, steps, max(steps // 10, 1), rate) for rate in rates]
    sizes, steps, segments, rates = zip(*points, strict=True)
    axes = {"train.batch_size": sizes, "train.steps": steps, "train.eval_every": segments, "optimizer.learning_rate": rates}
    return zipped(base, axes)
