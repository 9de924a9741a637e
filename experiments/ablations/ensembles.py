"""How much better is the mixture of several trials than the best one?

python -m experiments.sweep ensembles
"""

from __future__ import annotations

from experiments.ablations.settings import LEARNT_BY_HEART
from jaxgen.config import Config
from jaxgen.sweep import Question, Sweep

QUESTION = Question("ensembles", "How much better is the mixture of several trials than the best one?", verdict="ensembles")
SETTINGS = LEARNT_BY_HEART
SEEDS = 16


def sweep(base: Config) -> Sweep:
    """One setting; the seeds are the members."""
    return Sweep(base)
