"""A network of any family that stands on counts: it learns what they miss, and where they are worth little.

With log-probabilities log q (V,) of the counts and V + 1 outputs f of the network, the logits are

    f_1, ..., f_V  +  (1 + f_(V+1)) log q,

so that an untrained network says what the counts say. It learns from counts that have not seen the name at hand
(`jaxgen.material`): from others it would learn to trust them. A log-linear mixture, as in Li et al. 2022, "Residual learning of
neural text generation with n-gram language model", with a weight that depends on the place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen.corpus import BOUNDARY
from jaxgen.models.ngram import NGram

COUNTS = "counts"  # the place of their tables, among a trained network's statistics


def joined(outputs: jax.Array, prior: jax.typing.ArrayLike) -> jax.Array:
    """The logits (..., V) from a network's outputs (..., V + 1) and log-probabilities (..., V)."""
    return outputs[..., :-1] + (1 + outputs[..., -1:]) * prior


class OnCounts:
    """ids (B, T) -> logits (B, V) in evaluation mode; `models.Family` says what else, of a network that is one of sequences.

    The tables of its counts are parameters of an `NGram`, in `variables["batch_stats"]["counts"]`.
    """

    def __init__(self, network: Any, vocabulary: int, order: int) -> None:
        """Args:
        network: of V + 1 outputs.
        order: characters of context of its counts.
        """
        self._network, self._counts, self._order = network, NGram(vocabulary), order

    def apply(self, variables: Mapping[str, Any], ids: jax.Array, cache: Any = None) -> Any:
        """The logits of what comes after each row; with a cache, after one more id (B, 1), and the new cache."""
        stats = dict(variables["batch_stats"])
        tables = {"params": stats.pop(COUNTS)}
        variables = {**variables, "batch_stats": stats}
        if cache is None:
            return joined(self._network.apply(variables, ids), self._counts.apply(tables, ids))
        remembered, last = cache
        last = jnp.concatenate([last, ids], axis=1)[:, 1:]
        outputs, remembered = self._network.apply(variables, ids, cache=remembered)
        return joined(outputs, self._counts.apply(tables, last)), (remembered, last)

    def empty(self, batch: int) -> Any:
        """What the network remembers, and the last ids (B, order)."""
        return self._network.empty(batch), jnp.full((batch, self._order), BOUNDARY, jnp.int32)
