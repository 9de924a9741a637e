"""A network of any family that stands on counts: it learns what they miss, and where they are worth little.

A reader of one hidden layer sees the network's own outputs f (V,) and what the counts say after contexts of L lengths, q_1 to
q_L (V,), with the entropy of each and its highest probability. With its hidden units z, the logits are

    f + U z + log q_1 + sum over k of (W z)_k log q_k,

q_1 of the longest contexts. U and W start at 0 and f small, so that an untrained network says what the counts say. It learns
from counts that have not seen the name at hand (`jaxgen.material`): from others it would learn to trust them. A log-linear
mixture, as in Li et al. 2022, "Residual learning of neural text generation with n-gram language model", with weights that
depend on the place and on how sure the counts are of it, as in Neubig and Dyer 2016, "Generalizing and hybridizing count-based
and neural language models".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.tasks.names.config import RegularizerConfig
from jaxgen.tasks.names.data import BOUNDARY
from jaxgen.tasks.names.models.layers import READ, Dense, dense, drop, rate
from jaxgen.tasks.names.models.ngram import NGram
from jaxgen.tasks.names.ngram import read_lengths

COUNTS = "counts"  # the place of their tables, among a trained network's statistics
READER = "reader"  # the reader's place, among the network's layers


class Reader(nn.Module):
    """Logits (..., V) from a network's outputs (..., V) and the log-probabilities (..., L, V) of counts."""

    vocabulary: int
    hidden: int
    initialization: str

    @nn.compact
    def __call__(self, outputs: jax.Array, said: jax.Array, training: RegularizerConfig | None = None) -> jax.Array:
        probabilities = jnp.exp(said)
        entropy = -(probabilities * said).sum(-1)
        seen = probabilities.reshape(*outputs.shape[:-1], -1)
        x = jnp.concatenate([outputs, seen, entropy, probabilities.max(-1)], axis=-1)
        z = nn.relu(dense(self.hidden, self.initialization, 1.0, name="hidden")(x))
        dropout = rate(training, 1, 2)  # that of a network's last hidden layer
        if dropout is not None:
            z = drop(z, dropout, jax.random.fold_in(self.make_rng("noise"), READ))
        more = Dense(self.vocabulary, nn.initializers.zeros, name="output")(z)
        weights = Dense(said.shape[-2], nn.initializers.zeros, name="weights")(z)
        return outputs + more + said[..., 0, :] + (weights[..., None] * said).sum(-2)


class OnCounts:
    """ids (B, T) -> logits (B, V), as the network's own module gives them, `models.Family`.

    The reader's parameters are the network's layer READER. The tables of the counts are parameters of an `NGram`, in
    `variables["batch_stats"][COUNTS]`; where they are not there, as in training, `said` is what they say.
    """

    def __init__(self, network: Any, reader: Reader, order: int) -> None:
        """Args:
        order: characters of context of its counts.
        """
        self._network, self._reader, self._order = network, reader, order
        self._counts = NGram(reader.vocabulary)

    def init(self, key: jax.Array, ids: jax.Array) -> Mapping[str, Any]:
        """Parameters and statistics at the start."""
        variables = self._network.init(key, ids)
        nothing = jnp.zeros((1, self._reader.vocabulary))
        said = jnp.zeros((1, len(read_lengths(self._order)), self._reader.vocabulary))
        reader = self._reader.init(jax.random.fold_in(key, READ), nothing, said)["params"]
        return {**variables, "params": {**variables["params"], READER: reader}}

    def apply(
        self,
        variables: Mapping[str, Any],
        ids: jax.Array,
        training: RegularizerConfig | None = None,
        said: jax.Array | None = None,
        cache: Any = None,
        rngs: Any = None,
        **how: Any,
    ) -> Any:
        """What the network's module gives, the logits being the reader's.

        Args:
          said: (..., L, V), the log-probabilities of the counts at each place that has logits, the longest contexts' first.
          how: `every` and `mutable`, as of the network's module.
        """
        params, stats = dict(variables["params"]), dict(variables["batch_stats"])
        reader, tables = {"params": params.pop(READER)}, {"params": stats.pop(COUNTS, None)}
        variables = {"params": params, "batch_stats": stats}
        if cache is not None:
            remembered, last = cache
            last = jnp.concatenate([last, ids], axis=1)[:, 1:]
            outputs, remembered = self._network.apply(variables, ids, cache=remembered)
            return self._reader.apply(reader, outputs, self._said(tables, last)), (remembered, last)
        found = self._network.apply(variables, ids, training, rngs=rngs, **how)
        said = self._said(tables, ids) if said is None else said
        if "mutable" in how:
            return self._reader.apply(reader, found[0], said, training, rngs=rngs), found[1]
        return self._reader.apply(reader, found, said, training, rngs=rngs)

    def _said(self, tables: Mapping[str, Any], ids: jax.Array) -> jax.Array:
        each = self._counts.each(tables, ids)
        return jnp.stack([each[length] for length in read_lengths(self._order)], axis=-2)

    def empty(self, batch: int) -> Any:
        """What the network remembers, and the last ids (B, order)."""
        return self._network.empty(batch), jnp.full((batch, self._order), BOUNDARY, jnp.int32)
