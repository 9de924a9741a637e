"""Counts as a family: what `jaxgen.ngram` counted, looked up on a device beside the networks. It has nothing to train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxgen.tasks.names import ngram


def parameters(model: ngram.NGram) -> dict[str, dict[str, NDArray[Any]]]:
    """The parameters of a family `NGram`, of what was counted; its shares in float32."""
    exact = {np.dtype(np.float64): np.float32}
    return {
        f"order_{length}": {name: x.astype(exact.get(x.dtype, x.dtype)) for name, x in order._asdict().items()}
        for length, order in enumerate(model.orders)
    }


def fits(params: Any, order: int, vocabulary: int) -> bool:
    """Whether these are parameters of contexts of 0 to `order` characters: every number is where `apply` may look it up."""
    if not isinstance(params, dict) or set(params) != {f"order_{length}" for length in range(order + 1)}:
        return False
    shorter = 1
    for length in range(order + 1):
        part = params[f"order_{length}"]
        if not isinstance(part, dict) or set(part) != set(ngram.Order._fields):
            return False
        kinds = {name: np.float32 if name in ("share", "left") else np.int32 for name in part}
        if any(getattr(x, "ndim", 0) != 1 or not x.size or x.dtype != kinds[name] for name, x in part.items()):
            return False
        at = ngram.Order(**jax.device_get(part))
        lengths = (len(at.begins), len(at.follows), len(at.left), len(at.share))
        if lengths != (shorter + 1, len(at.first) + 1, len(at.first), len(at.after)):
            return False
        for starts, whole in ((at.begins, at.first), (at.follows, at.after)):
            if starts[0] != 0 or starts[-1] != len(whole) or (np.diff(starts) < 0).any():
                return False
        if any(((ids < 0) | (ids >= vocabulary)).any() for ids in (at.first, at.after)):
            return False
        if not all(((x >= 0) & (x <= 1 + 1e-6)).all() for x in (at.share, at.left)):  # rounded to float32
            return False
        shorter = len(at.first)
    return True


class NGram:
    """ids (B, T) -> log-probabilities (B, V), T as many as the highest order or more; `ngram.probabilities` in float32."""

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def apply(self, variables: Mapping[str, Any], ids: jax.Array) -> jax.Array:
        """The log-probabilities of what comes after each row."""
        return self.each(variables, ids)[-1]

    def each(self, variables: Mapping[str, Any], ids: jax.Array) -> list[jax.Array]:
        """The log-probabilities by the last 0, 1, ... ids of each row."""
        orders = jax.tree.map(jnp.asarray, variables["params"])
        found = jnp.full((len(ids), self.vocabulary), 1 / self.vocabulary)
        place, known = jnp.zeros(len(ids), jnp.int32), jnp.ones(len(ids), bool)
        each, rows, seats = [], jnp.arange(len(ids))[:, None], jnp.arange(self.vocabulary)[None]
        for length in range(len(orders)):
            order = ngram.Order(**orders[f"order_{length}"])
            if length:
                place, here = self._find(order.first, order.begins[place], order.begins[place + 1], ids[:, -length])
                known &= here
            sightings = order.follows[place][:, None] + seats  # (B, V): those of a context, and others behind them
            own = known[:, None] & (sightings < order.follows[place + 1][:, None])
            sightings = jnp.minimum(sightings, len(order.after) - 1)
            found = jnp.where(known, order.left[place], 1.0)[:, None] * found
            found = found.at[rows, order.after[sightings]].add(jnp.where(own, order.share[sightings], 0.0))
            each.append(jnp.log(found))
        return each

    def _find(self, values: jax.Array, low: jax.Array, high: jax.Array, wanted: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Where each wanted character stands among the sorted ones from low to high, and whether it does."""

        def halved(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = ends
            middle = (low + high) // 2
            right = (low < high) & (values[jnp.minimum(middle, len(values) - 1)] < wanted)
            return jnp.where(right, middle + 1, low), jnp.where(right, high, middle)

        end = high
        # A loop, for the compiler would write out each half of a half again.
        low, _ = jax.lax.fori_loop(0, self.vocabulary.bit_length(), halved, (low, high))
        place = jnp.minimum(low, len(values) - 1)
        return place, (low < end) & (values[place] == wanted)
