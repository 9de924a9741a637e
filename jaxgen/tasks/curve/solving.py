"""Trials that are solved and not trained: what happens in a group of them, as the engine says it of others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxgen.engine.lanes import Ended, Evaluated, Event
from jaxgen.engine.programs import Data
from jaxgen.search.sweep import Group
from jaxgen.tasks.curve.data import Polynomial, least_squares, measured, to_unit
from jaxgen.train.trial import Status


def solved(target: tuple[float, float], data: Data, group: Group) -> Iterator[Event]:
    """The best polynomial of each trial's degree and regularizer.l2, and what it comes to.

    Args:
      target: the middle and the size of the targets, in which networks say theirs.
    """
    data = jax.device_get(data)
    curves = {name: jax.tree.map(lambda x, place=place: x[place], data.curves) for place, name in enumerate(("train", "val"))}
    whole = {"train": data.train_part, "val": data.validation, "test": data.test}
    unit = to_unit(data.train[0])
    rows = unit(data.train[0]), (data.train[1] - target[0]) / target[1]
    for trial, config in zip(group.trials, group.configs, strict=True):
        found = least_squares(rows, config.model.degree, config.regularizer.l2 or 0.0)
        kept = Polynomial(found.weights.astype(np.float32), np.float32(found.bias))  # as it is stored

        def said(x: Any, kept: Polynomial = kept) -> Any:
            return target[0] + target[1] * kept(unit(x))

        params = {"dense_0": {"kernel": kept.weights[:, None], "bias": np.array([kept.bias])}}
        yield Evaluated(trial, 0, measured(curves, said))
        yield Ended(trial, Status.COMPLETED, 0, 0, measured(whole, said), params, {})
