"""DL-101's and makemore's WaveNet: neighbours are joined two by two, level by level, until one vector is left."""

from __future__ import annotations

from typing import Any

import jax
from flax import linen as nn

from jaxgen.tasks.names.config import RegularizerConfig
from jaxgen.tasks.names.models.layers import ACTIVATIONS, BEFORE, Head, Linear, dropped, embedded


class WaveNet(nn.Module):
    """Embeddings; as many levels as the context, a power of two, can be halved; logits.

    A normalization takes its statistics over the batch and all places of a level, all axes but the channels'.
    """

    vocabulary: int
    embedding: int
    hidden: int
    activation: str
    normalization: str
    initialization: str
    init_scale: float
    batch_momentum: float

    @nn.compact
    def __call__(self, ids: jax.Array, training: RegularizerConfig | None = None) -> jax.Array:
        """Logits of the next id, (B, V), from ids (B, T); see `MLP`."""
        train = training is not None
        key: Any = self.make_rng("noise") if train else None
        x = embedded(ids, self.vocabulary, self.embedding, training, key)  # (B, T, E)
        levels = ids.shape[1].bit_length() - 1
        for level in range(levels):
            name = f"hidden_{level}"
            x = x.reshape(len(ids), x.shape[1] // 2, -1)  # two neighbours, side by side
            layer = Linear(
                self.hidden, self.normalization, self.initialization, self.batch_momentum, init_scale=self.init_scale, name=name
            )
            before = layer(x, train)
            self.sow("intermediates", BEFORE + name, before)
            x = ACTIVATIONS[self.activation](before)
            x = dropped(x, training, level, levels, key)
        return Head(self.vocabulary, self.initialization, name="output")(x.reshape(len(ids), -1))
