"""On all ratings at once, does AdaGrad get further than momentum?

    python -m experiments.sweep rating_optimizers

48 trials in one program, 50 s on 2 cores of a shared machine. Not resolved: in 400 steps AdaGrad comes to an RMSE of 0.241 on
test at a learning rate of 0.1, momentum to 0.243 at one of 30; at three times that it diverges from the start.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, zipped

QUESTION = Question(
    "rating_optimizers",
    "On all ratings at once, does AdaGrad get further than momentum?",
    arms=("optimizer.name",),
)
SETTINGS = {
    "model.embedding": 8,
    "train.batch_size": 50_285,
    "train.draw": "epochs",
    "train.steps": 400,
    "train.eval_every": 40,
}
SEEDS = 6
MINUTES = 0.8


def sweep(base: Config) -> Sweep:
    """Either at four learning rates; AdaGrad's sums begin at nothing, since slopes of a mean over all ratings are small."""
    names = ["momentum"] * 4 + ["adagrad"] * 4
    rates = [3.0, 10.0, 30.0, 100.0, 0.03, 0.1, 0.3, 1.0]
    sums = [None] * 4 + [0.0] * 4
    return zipped(base, {"optimizer.name": names, "optimizer.learning_rate": rates, "optimizer.accumulator": sums})
