"""Curves through points: places (B, 1) to heights (B,)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.tasks.curve.data import basis
from jaxgen.tasks.modules import choice, network_of


class Polynomial(nn.Module):
    degree: int = 3

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return nn.Dense(1, name="dense_0")(jnp.concatenate(basis(x, self.degree), -1))[..., 0]


class MLP(nn.Module):
    hidden: int = 16
    depth: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = 2 * x - 1
        for place in range(self.depth):
            x = nn.tanh(nn.Dense(self.hidden, name=f"dense_{place}")(x))
        return nn.Dense(1, name=f"dense_{self.depth}")(x)[..., 0]


NETWORK = choice(
    {
        "polynomial": network_of(Polynomial),
        "least_squares": network_of(Polynomial),
        "mlp": network_of(MLP),
    }
)
