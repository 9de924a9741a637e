"""What is added to any task's loss for its parameters, and what they are held to after a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen.config import Config
from jaxgen.fields import UserError
from jaxgen.train.optimizers import matrices


def penalty(config: Config, params: Any) -> jax.Array | float:
    """What is added to any task's loss for its weights, the parameters with two axes or more.

    l2 / 2 * the sum of their squares, so that its gradient is l2 * w, as decoupled decay's is; l1 * the sum of their sizes.
    """
    weights = [p for p, used in zip(jax.tree.leaves(params), jax.tree.leaves(matrices(params)), strict=True) if used]
    total: jax.Array | float = 0.0
    if config.regularizer.l2 is not None:
        total += charged(config.regularizer.l2, sum(jnp.sum(w * w) for w in weights) / 2)
    if config.regularizer.l1 is not None:
        total += charged(config.regularizer.l1, sum(jnp.sum(jnp.abs(w)) for w in weights))
    return total


def charged(strength: Any, amount: Any) -> jax.Array:
    """`strength * amount`, and 0 at a strength of 0 even where the amount is infinite."""
    return jnp.where(jnp.asarray(strength) > 0, strength * amount, 0.0)


def constrain(config: Config, params: Any) -> Any:
    """Parameters after a step: a unit's incoming weights (a kernel's column) no longer than max_norm, if that is above 0."""
    most = config.regularizer.max_norm
    if most is None:
        return params

    def shorten(path: Any, p: jax.Array) -> jax.Array:
        if getattr(path[-1], "key", None) != "kernel":
            return p
        # A choice between product and sum keeps the compiler from rounding them together, here and not there.
        squares = jnp.where(jnp.asarray(most) > 0, p * p, 0.0)
        length = jnp.sqrt(jnp.sum(squares, axis=0, keepdims=True))
        return jnp.where((most > 0) & (length > most), p * (most / jnp.where(length > 0, length, 1.0)), p)

    return jax.tree_util.tree_map_with_path(shorten, params)


def hold(config: Config, step: jax.Array, old: Any, new: Any, layers: Callable[[Any], list[str]]) -> Any:
    """Parameters after a step, the first train.freeze layers as they were before it, once pretraining is over.

    They are chosen after the sum, not their updates before it, which would round otherwise than in a program without this.
    """
    if config.train.freeze is None:
        return new
    if not isinstance(new, Mapping):
        raise UserError("train.freeze wants parameters by layer, in a dictionary, and this task's are none; leave it out")
    begun = 0 if config.train.pretrain is None else config.train.pretrain
    frozen = {name: (step >= begun) & (place < config.train.freeze) for place, name in enumerate(layers(new))}
    return {name: jax.tree.map(lambda a, b, off=frozen[name]: jnp.where(off, a, b), old[name], new[name]) for name in new}
