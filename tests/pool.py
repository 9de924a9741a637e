"""Trials through the pool of lanes alone: without a folder, and by any functions."""

from __future__ import annotations

from jaxgen.config import Config
from jaxgen.engine import lanes as engine
from jaxgen.engine import programs
from jaxgen.engine.lanes import Ended, Evaluated
from jaxgen.engine.plan import Plan, choose
from jaxgen.search.sweep import Sweep, groups
from jaxgen.tasks.names.data import Corpus, split
from jaxgen.tasks.names.loss import next_character
from jaxgen.tasks.rows import Splits
from jaxgen.train.functions import Functions


def trained(
    sweep: Sweep | list[Config], corpus: Corpus, plan: Plan | None = None, task: Functions | None = None
) -> tuple[dict[int, Ended], list[Evaluated]]:
    """Each trial's end and every evaluation."""
    splits = split(corpus, "rows", 42, 3)
    ended, evaluated = {}, []
    for number, group in enumerate(groups(sweep, lambda config: len(splits.train.targets))):
        used, data = plan or choose(len(group.trials)), programs.prepare(Splits(*splits))
        for event in engine.train(task or next_character(len(corpus.vocabulary)), data, group, used, number):
            if isinstance(event, Ended):
                ended[event.trial] = event
            elif isinstance(event, Evaluated):
                evaluated.append(event)
    return ended, evaluated
