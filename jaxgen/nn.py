"""Pieces of networks whose numbers may be leaves: elsewhere, such code asks a float for its value.

Examples:
  >>> class Net(nn.Module):
  ...     dropout: float = 0.1
  ...     @nn.compact
  ...     def __call__(self, x, train):
  ...         return nn.Dense(1)(jaxgen.nn.Dropout(self.dropout)(x, train))[:, 0]
  >>> rates = jaxgen.grid(jaxgen.supervised(Net, (x, y), loss="squared_error").config(), {"model.dropout": [0.0, 0.1, 0.5]})
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

ALONE = (
    "BatchNorm sees one row at a time: what it takes the mean of is that row itself, so that nothing is left of it; "
    "give a larger train.batch_size, or another normalization"
)


def drop(x: Float[Array, "*shape"], rate: ArrayLike, key: PRNGKeyArray) -> Float[Array, "*shape"]:
    """Inverted dropout (Srivastava et al. 2014): each entry is zero with probability `rate`, the others grow by 1 / (1 - rate).

    The rate may be traced, which neither `flax.linen.Dropout` nor `flax.nnx.Dropout` nor `equinox.nn.Dropout` allows.
    """
    keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
    return jnp.where(keep, x / (1.0 - rate), 0.0)


class Dropout(linen.Module):
    """`flax.linen.Dropout` at a rate that may be a leaf; None: none, and no part of the program.

    Called with (x, train); it draws from the random stream "dropout".
    """

    rate: Any = None

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return x if self.rate is None or not train else drop(x, self.rate, self.make_rng("dropout"))
