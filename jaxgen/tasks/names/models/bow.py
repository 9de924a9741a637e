"""A bag of words: the mean of what has been seen so far, and one hidden layer (makemore's)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.nn import Embed
from jaxgen.tasks.names.config import RegularizerConfig
from jaxgen.tasks.names.data import BOUNDARY
from jaxgen.tasks.names.models.layers import ACTIVATIONS, BEFORE, Head, dense, dropped, embedded
from jaxgen.tasks.names.models.sequence import begins


class Bow(nn.Module):
    """Embeddings of characters and places; their mean so far and a hidden layer, each added to them. A family of sequences."""

    vocabulary: int
    context: int
    embedding: int
    hidden: int
    activation: str
    initialization: str
    init_scale: float

    @nn.compact
    def __call__(
        self, ids: jax.Array, training: RegularizerConfig | None = None, every: bool = False, cache: Any = None
    ) -> Any:
        key: Any = None if training is None else self.make_rng("noise")
        x = embedded(ids, self.vocabulary, self.embedding, training, key)  # (B, T, E)
        places = Embed(self.context, self.embedding, embedding_init=nn.initializers.normal(1.0), name="places")
        if cache is None:
            place = jnp.arange(ids.shape[1])[None] - begins(ids)[:, None]  # below 0 before the name
            x = x + places(jnp.maximum(place, 0))
            mean = jnp.cumsum(jnp.where(place[..., None] >= 0, x, 0.0), axis=1) / jnp.maximum(place + 1, 1)[..., None]
        else:
            total, place = cache
            fresh = ids == BOUNDARY
            place = jnp.where(fresh, 0, place)
            x = x + places(place)
            total = jnp.where(fresh[..., None], 0.0, total) + x
            mean, cache = total / (place + 1)[..., None], (total, place + 1)
        x = x + mean
        before = dense(self.hidden, self.initialization, self.init_scale, "hidden_0")(x)
        self.sow("intermediates", f"{BEFORE}hidden_0", before)
        x = x + dense(self.embedding, self.initialization, self.init_scale, "hidden_1")(ACTIVATIONS[self.activation](before))
        x = dropped(x if every else x[:, -1], training, 0, 1, key)
        logits = Head(self.vocabulary, self.initialization, name="output")(x)
        return logits if cache is None else (logits, cache)

    def empty(self, batch: int) -> Any:
        """The sum of what has been seen, and how much that is."""
        return jnp.zeros((batch, 1, self.embedding)), jnp.zeros((batch, 1), jnp.int32)
