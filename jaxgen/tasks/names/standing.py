"""What a run's losses are worth: the best floor without a network, and how much of validation was in training."""

from __future__ import annotations

import functools
import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from jaxgen.fields import UserError, override
from jaxgen.judge.floors import diverged
from jaxgen.judge.results import DIVERGED, Results, Row, by_score
from jaxgen.search.sweep import Sweep
from jaxgen.tasks.names.config import Config, DataConfig
from jaxgen.tasks.names.data import Corpus, cut, hold_out, windows
from jaxgen.tasks.names.models import FAMILIES
from jaxgen.tasks.names.ngram import ORDERS, Floor, floor


@dataclass(frozen=True)
class Standing:
    """A split of a corpus, and how the networks that were trained on it stand."""

    split: str  # rows, names or order, and what else tells it from other ones
    names: int  # in validation
    repeated: int  # of these, how many stand in the training part, too
    floor: Floor
    best: Row | None  # the network with the lowest validation loss; None: no network ended on this split
    ended: int = 1  # of the networks on this split
    networks: int = 1

    @property
    def lead(self) -> float:
        """By how many nats a character the best network's validation loss lies below the floor."""
        return math.nan if self.best is None else self.floor.val_loss - self.best.val_loss

    def __str__(self) -> str:
        losses = f"{self.floor.val_loss:.4f} nats on validation, {self.floor.test_loss:.4f} on test"
        floor = f"the floor without a network is {losses} ({self.floor})"
        if self.best is None:
            stands = diverged(self.ended, self.networks) if self.networks else "no network was trained on this split"
        elif self.lead > 0:
            stands = f"the best network, trial {self.best.trial}, is {self.lead:.4f} below it"
        else:
            stands = f"no network beats it: the best, trial {self.best.trial}, is {-self.lead:.4f} above it"
        share = f"{self.repeated:,} of {self.names:,} validation names are in the training part"
        return f"Split by {self.split}: {floor}; {stands}; {share}."


def standings(results: Results, corpus: Corpus) -> list[Standing]:
    """How the networks of a run stand on each split that they were trained on.

    Where names repeat, also by `rows` or by `names` if no trial was split so: how far that floor lies from the other says how
    much is gained by knowing a name.
    """
    configs = _told(results.sweep)
    splits = {_split(config): None for config in configs}
    others = [key for key in ("split_seed", "dev") if len({getattr(split, key) for split in splits}) > 1]
    networks = Counter(_split(config) for config in configs if _network(config))
    ended = Counter(_split(configs[row.trial]) for row in results.rows if _network(configs[row.trial]))
    if len(set(corpus.names)) < len(corpus.names):
        splits |= {replace(split, split=how): None for split in list(splits) for how in ("rows", "names")}
    rows = sorted((row for row in results.rows if _counts(row, configs[row.trial])), key=by_score)
    found = []
    for split in splits:
        best = next((row for row in rows if _split(configs[row.trial]) == split), None)
        try:
            name = ", ".join([split.split, *(f"{key} {getattr(split, key)}" for key in others)])
            found.append(Standing(name, *_facts(corpus, split), best, ended[split], networks[split]))
        except UserError:
            continue  # a split that no trial has, and that this corpus has too few names for
    return sorted(found, key=lambda one: one.best is None)


def _told(sweep: Sweep) -> list[Config]:
    """A config for each trial, as far as is asked here; those that say the same are one."""
    keys = [key for key in sweep.keys if key.startswith("data.") or key == "model.family"]
    found: dict[Any, Config] = {}
    told = []
    for point in sweep.points:
        values = {key: point[key] for key in keys if key in point}
        at = tuple(values.items())
        told.append(found[at] if at in found else found.setdefault(at, override(sweep.base, values)))
    return told


def _split(config: Config) -> DataConfig:
    """The part of a config that says how names are cut."""
    data = config.data
    return DataConfig(split=data.split, split_seed=data.split_seed, dev=data.dev)


def _counts(row: Row, config: Config) -> bool:
    return row.status != DIVERGED and math.isfinite(row.val_loss) and _network(config)


def _network(config: Config) -> bool:
    return FAMILIES[config.model.family].trained


@functools.lru_cache(maxsize=8)  # the terminal and the report ask for the same
def _facts(corpus: Corpus, split: DataConfig) -> tuple[int, int, Floor]:
    train, validation, test = cut(corpus, split.split, split.split_seed)
    train, _ = hold_out(train, split.dev)
    learnt, seen, last = (windows(names, corpus.vocabulary, ORDERS[-1]) for names in (train, validation, test))
    known = set(train)
    return len(validation), sum(name in known for name in validation), floor(learnt, seen, last, len(corpus.vocabulary))
