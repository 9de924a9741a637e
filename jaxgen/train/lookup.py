"""Steps that read few rows of large tables: they are taken on those rows alone, and the others are not touched.

A step on a table of embeddings would otherwise make a gradient of its size, most of it 0, and go over all of it to add nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgen.config import Config
from jaxgen.train.functions import Lookup
from jaxgen.train.optimizers import transformation

WORTH = 16  # rows of a table that cost as much to go over as one row to be sorted out, taken and put back, on a CPU


def few(lookup: Lookup, config: Config, state: Any, batch: Any) -> tuple[Any, Any, Callable[[Any], Any]]:
    """A state (`trial.TrialState`) with the rows of tables that a batch reads, the batch as it reads them there, and what puts
    such a state's rows back after a step. Tables that are small beside the batch stay as they are."""
    names = lookup.tables(state.params)
    rows = {name: len(x) for x, name in zip(jax.tree.leaves(state.params), jax.tree.leaves(names), strict=True) if name}
    read: dict[str, tuple[jax.Array, jax.Array]] = {}
    for name, at in lookup.places(batch).items():
        if WORTH * len(at) < rows.get(name, 0):
            read[name] = jnp.unique(at, size=len(at), fill_value=rows[name], return_inverse=True)

    def take(leaf: jax.Array, name: str) -> jax.Array:
        return leaf.at[read[name][0]].get(mode="fill", fill_value=0) if name in read else leaf

    def put(leaf: jax.Array, new: jax.Array, name: str) -> jax.Array:
        return leaf.at[read[name][0]].set(new, mode="drop") if name in read else new

    chain = transformation(config.optimizer, state.step)  # pyright: ignore[reportArgumentType]  (lowered)
    beside = optax.tree_utils.tree_map_params(
        chain, lambda _, name: name, state.optimizer, names, transform_non_params=lambda _: ""
    )
    of = {"params": names, "optimizer": beside}

    def back(new: Any) -> Any:
        return new._replace(**{part: jax.tree.map(put, getattr(state, part), getattr(new, part), of[part]) for part in of})

    moved = lookup.moved(batch, {name: inverse for name, (_, inverse) in read.items()})
    return state._replace(**{part: jax.tree.map(take, getattr(state, part), of[part]) for part in of}), moved, back
