"""What a trial minimises: the names task (cross-entropy of the next character) and the penalties on top of any task."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgen import models
from jaxgen.config import Config
from jaxgen.optimizers import matrices


class Task(NamedTuple):
    """All that the trial functions know of a task. A split is any pytree of arrays that share their first axis, the rows.

    init: (config, key) -> (params, stats)
    loss: (config, params, stats, batch, key) -> (mean loss in training mode, new stats)
    losses: (config, params, stats, rows) -> loss of each row in evaluation mode, (N,)
    """

    init: Callable[[Config, jax.Array], tuple[Any, Any]]
    loss: Callable[[Config, Any, Any, Any, jax.Array], tuple[jax.Array, Any]]
    losses: Callable[[Config, Any, Any, Any], jax.Array]


@functools.cache
def next_character(vocabulary: int) -> Task:
    """Learn the next id from the T before it: cross-entropy in nats a character, over a vocabulary of `vocabulary` ids."""

    def init(config: Config, key: jax.Array) -> tuple[Any, Any]:
        ids = jnp.zeros((1, config.model.context), jnp.int32)
        variables = models.build(config.model, vocabulary).init(key, ids)
        return variables["params"], variables.get("batch_stats", {})

    def loss(config: Config, params: Any, stats: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        logits, changed = models.build(config.model, vocabulary).apply(
            {"params": params, "batch_stats": stats},
            batch.ids,
            train=True,
            dropout=config.regularizer.dropout,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
        return cross_entropy.mean(), changed.get("batch_stats", {})

    def losses(config: Config, params: Any, stats: Any, rows: Any) -> jax.Array:
        logits = models.build(config.model, vocabulary).apply({"params": params, "batch_stats": stats}, rows.ids)
        return optax.softmax_cross_entropy_with_integer_labels(logits, rows.targets)  # pyright: ignore[reportArgumentType]

    return Task(init, loss, losses)


def penalty(config: Config, params: Any) -> jax.Array | float:
    """l2 / 2 * the sum of the squared weights, so that its gradient is l2 * w, as decoupled decay's is."""
    if config.regularizer.l2 is None:
        return 0.0
    weights = jax.tree.map(lambda p, used: jnp.sum(p * p) if used else 0.0, params, matrices(params))
    return config.regularizer.l2 / 2 * sum(jax.tree.leaves(weights))
