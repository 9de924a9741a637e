"""A causal transformer with the normalization before each part (Vaswani et al. 2017, Radford et al. 2019; makemore's sizes)."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.nn import Embed
from jaxgen.tasks.names.config import RegularizerConfig
from jaxgen.tasks.names.data import BOUNDARY
from jaxgen.tasks.names.models.layers import ACTIVATIONS, BEFORE, Head, LayerNorm, dense, dropped, embedded
from jaxgen.tasks.names.models.sequence import begins

WIDER = 4  # the hidden layer of a block beside the block


class Transformer(nn.Module):
    """Embeddings of characters and places, `depth` blocks, a normalization, logits. A family of sequences, `models.Family`."""

    vocabulary: int
    context: int
    hidden: int
    depth: int
    heads: int
    activation: str
    initialization: str
    init_scale: float

    @nn.compact
    def __call__(
        self, ids: jax.Array, training: RegularizerConfig | None = None, every: bool = False, cache: Any = None
    ) -> Any:
        key: Any = None if training is None else self.make_rng("noise")
        x = embedded(ids, self.vocabulary, self.hidden, training, key)  # (B, T, H)
        places = Embed(self.context, self.hidden, embedding_init=nn.initializers.normal(1.0), name="places")
        slots = jnp.arange(self.context if cache is not None else ids.shape[1])[None]
        if cache is None:
            first = begins(ids)[:, None]
            place = slots - first  # below 0 before the name
            seen = (slots[:, None] <= slots[:, :, None]) & (slots >= first)[:, None]  # (B, T, T): which places each one sees
            seen |= jnp.eye(ids.shape[1], dtype=bool)[None]  # a place before the name sees itself, for it must see something
            memories, here = [None] * self.depth, None
        else:
            place, memories = jnp.where(ids == BOUNDARY, 0, cache[0]), cache[1]
            seen, here = (slots <= place)[:, None], slots == place  # (B, 1, T) and (B, T)
        x = x + places(jnp.maximum(place, 0))
        kept = []
        for block, memory in enumerate(memories):
            name = f"hidden_{block}"
            part = _Block(self.hidden, self.heads, self.activation, self.initialization, self.init_scale, name=name)
            attended, memory = part.attend(x, seen, memory, here)
            x = x + dropped(attended, training, block, self.depth, key, 2 * block)
            given, before = part.think(x)
            x = x + dropped(given, training, block, self.depth, key, 2 * block + 1)
            self.sow("intermediates", BEFORE + name, before)
            kept.append(memory)
        x = LayerNorm(name="normalized")(x if every else x[:, -1])
        logits = Head(self.vocabulary, self.initialization, use_bias=False, name="output")(x)
        return logits if cache is None else (logits, (place + 1, tuple(kept)))

    def empty(self, batch: int) -> Any:
        """The place that comes next, and each block's keys and values."""
        memory = jnp.zeros((batch, self.context, self.hidden))
        return jnp.zeros((batch, 1), jnp.int32), tuple((memory, memory) for _ in range(self.depth))


class _Block(nn.Module):
    """Attention over what has been seen, and a hidden layer."""

    hidden: int
    heads: int
    activation: str
    initialization: str
    init_scale: float

    def setup(self) -> None:
        make = (self.initialization, self.init_scale)
        self.before_attention = LayerNorm()
        self.attention = dense(3 * self.hidden, *make)
        self.attended = dense(self.hidden, *make)
        self.before_hidden = LayerNorm()
        self.wide = dense(WIDER * self.hidden, *make)
        self.narrow = dense(self.hidden, *make)

    def attend(self, x: jax.Array, seen: jax.Array, memory: Any, here: Any) -> tuple[jax.Array, Any]:
        """What attention gives at each place, (B, Q, H), and the keys and values.

        Args:
          x: (B, Q, H).
          seen: (B, Q, T), which places are attended to.
          memory: keys and values (B, T, H) of other places, into which those of x go where `here` (B, T) says. None: x has all.
        """
        query, key, value = jnp.split(self.attention(self.before_attention(x)), 3, axis=-1)
        if memory is not None:
            key, value = (jnp.where(here[..., None], new, old) for new, old in zip((key, value), memory, strict=True))
        apart = lambda z: z.reshape(*z.shape[:2], self.heads, -1)  # noqa: E731
        scores = jnp.einsum("bqnd,btnd->bnqt", apart(query), apart(key)) / math.sqrt(self.hidden // self.heads)
        shares = jax.nn.softmax(jnp.where(seen[:, None], scores, -jnp.inf), axis=-1)
        mixed = jnp.einsum("bnqt,btnd->bqnd", shares, apart(value)).reshape(x.shape)
        return self.attended(mixed), (key, value)

    def think(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What the hidden layer gives, (B, Q, H), and what goes into its activation function."""
        before = self.wide(self.before_hidden(x))
        return self.narrow(ACTIVATIONS[self.activation](before)), before
