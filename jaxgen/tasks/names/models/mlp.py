"""DL-101's network: the neural probabilistic language model of Bengio et al. 2003, deep and with BatchNorm."""

from __future__ import annotations

from typing import Any

import jax
from flax import linen as nn

from jaxgen.tasks.names.config import RegularizerConfig
from jaxgen.tasks.names.models.layers import ACTIVATIONS, BEFORE, LOGIT_SCALE, Linear, dropped, embedded


class MLP(nn.Module):
    """Embeddings of the context side by side, `depth` hidden layers, logits; a normalization after every linear layer."""

    vocabulary: int
    embedding: int
    hidden: int
    depth: int
    activation: str
    normalization: str
    initialization: str
    init_scale: float
    batch_momentum: float
    residual: bool

    @nn.compact
    def __call__(self, ids: jax.Array, training: RegularizerConfig | None = None) -> jax.Array:
        """Logits of the next id.

        What goes into each hidden layer's activation function is sown into "intermediates", as BEFORE and the layer's name.

        Args:
          ids: (B, T) integers.
          training: the strengths of what acts in training alone (None: it is not part of the program); needs the random
            stream "noise". BatchNorm then takes the batch's statistics and updates `batch_stats`. None: evaluation mode.

        Returns:
          (B, V) float32.
        """
        train = training is not None
        key: Any = self.make_rng("noise") if train else None
        x = embedded(ids, self.vocabulary, self.embedding, training, key).reshape(ids.shape[0], -1)  # (B, T E)
        shared = (self.normalization, self.initialization, self.batch_momentum)
        for layer in range(self.depth):
            name = f"hidden_{layer}"
            before = Linear(self.hidden, *shared, init_scale=self.init_scale, name=name)(x, train)
            self.sow("intermediates", BEFORE + name, before)
            y = ACTIVATIONS[self.activation](before)  # (B, H)
            x = x + y if self.residual and x.shape == y.shape else y
            x = dropped(x, training, layer, self.depth, key)
        return Linear(self.vocabulary, *shared, scale=LOGIT_SCALE, name="output")(x, train)
