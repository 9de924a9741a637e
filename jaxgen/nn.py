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

SMALL = 4096  # rows of a table that a one-hot matrix may stand for


def drop(x: Float[Array, "*shape"], rate: ArrayLike, key: PRNGKeyArray) -> Float[Array, "*shape"]:
    """Inverted dropout (Srivastava et al. 2014): each entry is zero with probability `rate`, the others grow by 1 / (1 - rate).

    The rate may be traced, which neither `flax.linen.Dropout` nor `flax.nnx.Dropout` nor `equinox.nn.Dropout` allows.
    """
    keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
    return jnp.where(keep, x / (1.0 - rate), 0.0)


@jax.custom_vjp
def looked_up(table: jax.Array, ids: jax.Array) -> jax.Array:
    """Rows (..., E) of a table (V, E), whose gradient is the same bits each time on every device.

    On a GPU, slopes of a row that is asked for more than once would be added up in whichever order they come. There and on a
    TPU the gradient is a product with a one-hot matrix instead, for a table of up to SMALL rows.
    """
    return jnp.take(table, ids, axis=0)


def scattered(table: jax.Array, ids: jax.Array, slope: jax.Array) -> jax.Array:
    """The gradient of `looked_up`, as JAX itself has it."""
    (found,) = jax.linear_transpose(lambda rows: jnp.take(rows, ids, axis=0), table)(slope)
    return found


def multiplied(table: jax.Array, ids: jax.Array, slope: jax.Array) -> jax.Array:
    """The same as a product."""
    which = jax.nn.one_hot(ids.reshape(-1), len(table), dtype=slope.dtype)
    # In full precision: else a GPU and a TPU would round the slopes before they are summed.
    return jnp.matmul(which.T, slope.reshape(-1, slope.shape[-1]), precision=jax.lax.Precision.HIGHEST)


def _forth(table: jax.Array, ids: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return looked_up(table, ids), (table, ids)


def _back(kept: tuple[jax.Array, jax.Array], slope: jax.Array) -> tuple[jax.Array, None]:
    table, ids = kept
    if len(table) > SMALL:
        return scattered(table, ids, slope), None
    return jax.lax.platform_dependent(table, ids, slope, cpu=scattered, default=multiplied), None


looked_up.defvjp(_forth, _back)


class Embed(linen.Module):
    """`flax.linen.Embed` whose gradient is the same bits each time on every device (`looked_up`)."""

    num_embeddings: int
    features: int
    embedding_init: Any = linen.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)

    @linen.compact
    def __call__(self, inputs: ArrayLike) -> jax.Array:
        table = self.param("embedding", self.embedding_init, (self.num_embeddings, self.features))
        return looked_up(jnp.asarray(table), jnp.asarray(inputs))  # of a checkpoint they are NumPy's


class Dropout(linen.Module):
    """`flax.linen.Dropout` at a rate that may be a leaf; None: none, and no part of the program.

    Called with (x, train); it draws from the random stream "dropout".
    """

    rate: Any = None

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return x if self.rate is None or not train else drop(x, self.rate, self.make_rng("dropout"))
