"""Do surnames help to learn first names, and which layers should go on learning?

    python -m experiments.sweep transfer

60 trials in one program, 1 min 51 s on 2 cores of a shared machine. Surnames first helps: then training the last two layers
alone beats training all by 0.016 nats (95% CI 0.008 to 0.028), and no surnames at all by 0.077.
"""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, grid, zipped

from .settings import LEARNT_BY_HEART

QUESTION = Question(
    "transfer",
    "Do surnames help to learn first names, and which layers should go on learning?",
    arms=("train.pretrain", "train.freeze"),
    names={
        "pretrain 0, freeze 0": "no surnames",
        "freeze 0": "surnames, then all layers",
        "freeze 1": "surnames, then all but the embedding",
        "freeze 5": "surnames, then the last two",
        "freeze 6": "surnames, then the last",
    },
)
SETTINGS = LEARNT_BY_HEART | {"data.source": "data/names.txt", "optimizer.schedule": "constant", "train.steps": 3000}
SEEDS = 6
MINUTES = 1.9


def sweep(base: Config) -> Sweep:
    """From scratch; and after as many steps on the other names all layers, all but the embedding, the last two, the last."""
    steps, layers = base.train.steps, base.model.depth + 2
    arms = [(0, 0), *((steps, freeze) for freeze in (0, 1, layers - 2, layers - 1))]
    pretrain, freeze = zip(*arms, strict=True)
    budgets = [steps + before for before in pretrain]
    axes = {"train.pretrain": pretrain, "train.freeze": freeze, "train.steps": budgets}
    return grid(zipped(base, axes), {"optimizer.learning_rate": [1e-3, 3e-3]})
