"""How likely trained trials find names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np
from numpy.typing import NDArray

from jaxgen.config import Config, UserError
from jaxgen.corpus import Windows, windows
from jaxgen.objective import next_character
from jaxgen.results import Trained

CHUNK = 1024  # windows that are computed at once


def surprise(trained: Sequence[Trained], part: Windows) -> NDArray[np.float64]:
    """Minus the log-probability of each window's target by each trial, (K, N), in nats."""
    task = next_character(len(trained[0].vocabulary))

    def losses(config: Config, params: object, stats: object) -> jax.Array:
        def one(row: Windows) -> jax.Array:
            return task.losses(config, params, stats, jax.tree.map(lambda x: x[None], row))[0]

        return jax.lax.map(one, part, batch_size=CHUNK)

    compiled = jax.jit(losses, static_argnums=0)
    models = (replace(Config(), model=t.config.model) for t in trained)  # what is one model compiles once
    return np.array([compiled(m, t.params, t.stats) for m, t in zip(models, trained, strict=True)], np.float64)


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
    """
    members = [trained] if isinstance(trained, Trained) else list(trained)
    vocabulary = members[0].vocabulary
    if any(member.vocabulary != vocabulary for member in members):
        raise UserError("trials of different vocabularies cannot be mixed; give trials of one corpus")
    known = [set(name) <= set(vocabulary.characters) for name in names]
    written = tuple(name for name, is_known in zip(names, known, strict=True) if is_known)
    found = np.full(len(names), np.inf)
    if written:
        parts = [windows(written, vocabulary, member.config.model.context) for member in members]
        surprises = np.concatenate([surprise([member], part) for member, part in zip(members, parts, strict=True)])
        found[known] = by_name(mixed(surprises), written)
    return found
