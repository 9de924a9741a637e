"""Dilated causal convolutions with gated residual blocks (van den Oord et al. 2016, WaveNet)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.tasks.names.config import RegularizerConfig
from jaxgen.tasks.names.data import BOUNDARY
from jaxgen.tasks.names.models.layers import Head, dense, dropped, embedded
from jaxgen.tasks.names.models.sequence import present


class Dilated(nn.Module):
    """Embeddings; `depth` blocks, each of which joins a place with the one 1, 2, 4, ... before it; logits.

    A block gives tanh(W_f [x_(t-d), x_t] + b) sigmoid(W_g [x_(t-d), x_t] + b), which goes through one linear layer into the
    next block's input, a sum, and through another into the sum of all blocks, which the logits come from; the last block has
    the second alone. When a dilation
    would reach beyond the context, they begin again at 1. A family of sequences, `models.Family`.
    """

    vocabulary: int
    context: int
    embedding: int
    hidden: int
    depth: int
    initialization: str
    init_scale: float

    @nn.compact
    def __call__(
        self, ids: jax.Array, training: RegularizerConfig | None = None, every: bool = False, cache: Any = None
    ) -> Any:
        key: Any = None if training is None else self.make_rng("noise")
        make = (self.initialization, self.init_scale)
        x = embedded(ids, self.vocabulary, self.embedding, training, key)  # (B, T, E)
        x = dense(self.hidden, *make, "input")(x)
        total, kept = jnp.zeros_like(x), []
        for block, reach in enumerate(self.dilations()):
            if cache is None:
                here = jnp.where(present(ids)[..., None], x, 0.0)
                earlier = jnp.pad(here, ((0, 0), (reach, 0), (0, 0)))[:, : x.shape[1]]
            else:
                before = jnp.where((ids == BOUNDARY)[..., None], 0.0, cache[block])  # (B, reach, H)
                earlier = before[:, :1]
                kept.append(jnp.concatenate([before[:, 1:], x], axis=1))
            part = _Block(self.hidden, *make, name=f"hidden_{block}")
            given = dropped(part.gated(earlier, x), training, block, self.depth, key)
            total = total + part.skip(given)
            if block + 1 < self.depth:
                x = x + part.residual(given)
        total = nn.relu(dense(self.hidden, *make, "joined_skips")(nn.relu(total)))  # a name that comes after the blocks'
        logits = Head(self.vocabulary, self.initialization, name="output")(total if every else total[:, -1])
        return logits if cache is None else (logits, tuple(kept))

    def dilations(self) -> list[int]:
        """How far back each block reaches."""
        reaches = max((self.context - 1).bit_length(), 1)
        return [2 ** (block % reaches) for block in range(self.depth)]

    def empty(self, batch: int) -> Any:
        """What each block was given in the last steps that it reaches back to."""
        return tuple(jnp.zeros((batch, reach, self.hidden)) for reach in self.dilations())


class _Block(nn.Module):
    hidden: int
    initialization: str
    init_scale: float

    def setup(self) -> None:
        make = (self.initialization, self.init_scale)
        self.gates = dense(2 * self.hidden, *make)
        self.residual = dense(self.hidden, *make)
        self.skip = dense(self.hidden, *make)

    def gated(self, earlier: jax.Array, x: jax.Array) -> jax.Array:
        """tanh(W_f [earlier, x] + b) sigmoid(W_g [earlier, x] + b)."""
        f, g = jnp.split(self.gates(jnp.concatenate([earlier, x], -1)), 2, axis=-1)
        return jnp.tanh(f) * jax.nn.sigmoid(g)
