"""What every family is made of: activations, initializations, normalizations, dropout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn import initializers

ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "relu": nn.relu,
    "leaky_relu": nn.leaky_relu,
    "sigmoid": nn.sigmoid,
    "gelu": nn.gelu,
}

# normal is DL-101's first try, N(0, 1) for every weight; xavier is Glorot and Bengio 2010, he is He et al. 2015.
INITIALIZATIONS: Mapping[str, initializers.Initializer] = {
    "zero": initializers.zeros,
    "normal": initializers.normal(1.0),
    "xavier": initializers.xavier_normal(),
    "he": initializers.he_normal(),
}

LOGIT_SCALE = 0.1  # how confident the untrained network is: small enough for a loss near ln V

# The share of the old running mean that one step keeps. PyTorch's default (there 0.1, the share of the new).
BATCH_MOMENTUM = 0.9


def scaled(initializer: initializers.Initializer, factor: float) -> Any:
    """`initializer` times `factor`."""
    return lambda key, shape, dtype=jnp.float32, **options: factor * initializer(key, shape, dtype, **options)


class Linear(nn.Module):
    """A linear layer and its normalization: (..., F) -> (..., features).

    Without normalization the layer has a bias; with it the bias would be subtracted again (BatchNorm) or double the
    normalization's own. `scale` multiplies what comes out at the start.
    """

    features: int
    normalization: str
    initialization: str
    scale: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        bare = self.normalization == "none"
        kernel = scaled(INITIALIZATIONS[self.initialization], self.scale if bare else 1.0)
        x = nn.Dense(self.features, use_bias=bare, kernel_init=kernel, name="linear")(x)
        scale = initializers.constant(self.scale)
        if self.normalization == "batchnorm":
            # Fast variance, E[x^2] - E[x]^2, loses every digit where the mean is large; no axis_name: it would mix trials.
            x = nn.BatchNorm(
                not train, momentum=BATCH_MOMENTUM, epsilon=1e-5, scale_init=scale, use_fast_variance=False, name="norm"
            )(x)
        elif self.normalization == "layernorm":
            x = nn.LayerNorm(epsilon=1e-5, scale_init=scale, use_fast_variance=False, name="norm")(x)
        return x


def drop(x: jax.Array, rate: jax.Array | float, key: jax.Array) -> jax.Array:
    """Inverted dropout (Srivastava et al. 2014): each entry is zero with probability `rate`, the others grow by 1 / (1 - rate).

    The rate may be traced, which `nn.Dropout` does not allow.
    """
    keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
    return jnp.where(keep, x / (1.0 - rate), 0.0)
