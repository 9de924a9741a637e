"""How likely trained trials find names."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from jaxgen.engine.precision import precisely
from jaxgen.fields import UserError
from jaxgen.judge.results import Trained, together
from jaxgen.tasks.names import models
from jaxgen.tasks.names.config import Config, ModelConfig
from jaxgen.tasks.names.data import Windows, windows
from jaxgen.tasks.names.loss import next_character

PLACES = 1 << 16  # of windows that are computed at once
NAMES = 10_000  # whose windows are made at once


def surprise(trained: Sequence[Trained], part: Windows) -> NDArray[np.float64]:
    """Minus the log-probability of each window's target by each trial, (K, N), in nats."""
    count = len(part.targets)
    rows = min(max(1, PLACES // max(part.ids.shape[1], 1)), count)
    found = np.empty((len(trained), count))
    for first in range(0, count, rows):
        at = np.minimum(np.arange(first, first + rows), count - 1)  # as many each time: one program
        piece = Windows(part.ids[at], part.targets[at])
        for place, member in enumerate(trained):
            model, vocabulary = models.shape(member.config.model), len(member.task.vocabulary)
            found[place, first : first + rows] = _losses(model, vocabulary, member.params, member.stats, piece)[: count - first]
    return found


@functools.partial(jax.jit, static_argnums=(0, 1))
@precisely
def _losses(model: ModelConfig, vocabulary: int, params: Any, stats: Any, part: Windows) -> jax.Array:
    score = next_character(vocabulary).score
    assert score is not None
    return score(replace(Config(), model=model), params, stats, part, None)["loss"]


def mixed(surprises: NDArray[np.float64]) -> NDArray[np.float64]:
    """The surprise (N,) of the mixture of trials with surprises (K, N): its probabilities are the mean of theirs."""
    return -np.logaddexp.reduce(-surprises, axis=0) + np.log(len(surprises))


def by_name(values: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
    """The sum (N,) of what the windows of each name have, in the order of `corpus.windows`."""
    ends = np.cumsum([len(name) + 1 for name in names])
    return np.add.reduceat(values, np.concatenate([[0], ends[:-1]])) if len(names) else np.zeros(0)


def score(trained: Trained | Sequence[Trained], names: Sequence[str]) -> NDArray[np.float64]:
    """Minus the log-probability of each name with its end, (N,), in nats; infinite where a character is none of the corpus's.

    Args:
      trained: from `Results.best()` or `load`; several of one vocabulary are their mixture, as in `sample`.

    Raises:
      UserError: if trials are of different vocabularies.

    Examples:
      >>> nats = jaxgen.score(trained, ["smith", "smithsmith"])
      >>> bool(nats[0] < nats[1])  # smith is the likelier name
      True
    """
    members = together(trained)
    vocabulary = members[0].task.vocabulary
    if any(member.task.vocabulary != vocabulary for member in members):
        raise UserError("trials of different vocabularies cannot be mixed; give trials of one corpus")
    known = [set(name) <= set(vocabulary.characters) for name in names]
    written = tuple(name for name, is_known in zip(names, known, strict=True) if is_known)
    found = np.full(len(names), np.inf)
    nats = []
    for first in range(0, len(written), NAMES):
        some = written[first : first + NAMES]
        parts = [windows(some, vocabulary, member.config.model.context) for member in members]
        surprises = np.concatenate([surprise([member], part) for member, part in zip(members, parts, strict=True)])
        nats.append(by_name(mixed(surprises), some))
    found[known] = np.concatenate(nats) if nats else []
    return found
