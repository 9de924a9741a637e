"""DL-101's network: the neural probabilistic language model of Bengio et al. 2003, deep and with BatchNorm."""

from __future__ import annotations

import jax
from flax import linen as nn

from jaxgen.models.layers import ACTIVATIONS, LOGIT_SCALE, Linear, drop


class MLP(nn.Module):
    """Embeddings of the context side by side, `depth` hidden layers, logits; a normalization after every linear layer."""

    vocabulary: int
    embedding: int
    hidden: int
    depth: int
    activation: str
    normalization: str
    initialization: str

    @nn.compact
    def __call__(self, ids: jax.Array, train: bool = False, dropout: jax.Array | float | None = None) -> jax.Array:
        """Logits of the next id.

        Args:
          ids: (B, T) integers.
          train: whether BatchNorm takes the batch's statistics (and updates `batch_stats`) or the running ones.
          dropout: the rate for hidden units, in training; needs the "dropout" random stream. None: no dropout.

        Returns:
          (B, V) float32.
        """
        embed = nn.Embed(self.vocabulary, self.embedding, embedding_init=nn.initializers.normal(1.0), name="embedding")
        x = embed(ids).reshape(ids.shape[0], -1)  # (B, T E)
        for layer in range(self.depth):
            x = Linear(self.hidden, self.normalization, self.initialization, name=f"hidden_{layer}")(x, train)
            x = ACTIVATIONS[self.activation](x)  # (B, H)
            if train and dropout is not None:
                x = drop(x, dropout, self.make_rng("dropout"))
        return Linear(self.vocabulary, self.normalization, self.initialization, LOGIT_SCALE, name="output")(x, train)
