"""Trials that are counted and not trained, and networks that stand on counts: what happens in a group of the former, as the
engine says it of others, and how both are read again."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jaxgen.engine.lanes import Ended, Evaluated, Event
from jaxgen.engine.programs import Data
from jaxgen.fields import UserError
from jaxgen.search.sweep import Group
from jaxgen.storage.arrays import named_shapes
from jaxgen.tasks.names import ngram
from jaxgen.tasks.names.config import Config, ModelConfig
from jaxgen.tasks.names.data import Vocabulary, Windows
from jaxgen.tasks.names.loss import next_character
from jaxgen.tasks.names.models import FAMILIES
from jaxgen.tasks.names.models.ngram import fits, parameters
from jaxgen.tasks.names.models.on_counts import COUNTS
from jaxgen.train.trial import Status, Stream, stream


def count(data: Data, vocabulary: int, group: Group) -> Iterator[Event]:
    """Counts once for all trials of a group, which differ in nothing that counting knows of, and yields what each comes to."""
    data = jax.device_get(data)
    model = ngram.fit(Windows(*data.train), vocabulary, group.static.model.context, group.static.model.smoothing)

    def loss(part: Any) -> float:
        return float(-np.log(ngram.probabilities(model, Windows(*part))).mean())

    parts = {"train_loss": data.train_part, "val_loss": data.validation, "test_loss": data.test}
    if data.dev is not None:
        parts["dev_loss"] = data.dev
    losses = {name: loss(part) for name, part in parts.items()}
    curve = {name: loss([x[place] for x in data.curves]) for place, name in enumerate(("train_loss", "val_loss"))}
    params = parameters(model)
    for trial in group.trials:
        yield Evaluated(trial, 0, curve)
        yield Ended(trial, Status.COMPLETED, 0, 0, losses, params, {})


def restored(config: Config, trial: int, vocabulary: Vocabulary, state: Callable[[Any], Any]) -> tuple[Any, Any]:
    """A trained trial's params and stats from `state(their shapes)`; of one that counts, from `state(None)`.

    Raises:
      UserError: where what was counted, or what stands on it, is not of the config's order and shapes.
    """
    model = config.model
    shape = network_shape(model, len(vocabulary)) if FAMILIES[model.family].trained else None
    params, stats = state(None if model.counts else shape)
    if shape is None or model.counts:
        tables, order = (params, model.context) if shape is None else (stats.get(COUNTS), model.counts)
        network = None if shape is None else (params, {name: part for name, part in stats.items() if name != COUNTS})
        if not fits(tables, order, len(vocabulary)) or named_shapes(network) != named_shapes(shape):
            raise UserError(f"trial {trial} holds no counts of {order} characters; train it, or export it, again")
    return params, stats


@functools.lru_cache(maxsize=64)  # asked of each trial of a run that is read; to trace a start takes longer than to read one
def network_shape(model: ModelConfig, vocabulary: int) -> Any:
    """The shapes of a network's params and stats."""
    config = dataclasses.replace(Config(), model=model)
    return jax.eval_shape(lambda: next_character(vocabulary).init(config, stream(0, Stream.START)))
