"""Curves through points: places (B, columns), from -1 to 1 or standardized, to heights (B,)."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.tasks.curve.data import basis
from jaxgen.tasks.modules import choice, network_of

ACTIVATIONS = {"tanh": nn.tanh, "relu": nn.relu}


class Polynomial(nn.Module):
    degree: int = 3

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return nn.Dense(1, name="dense_0")(jnp.concatenate(basis((x + 1) / 2, self.degree), -1))[..., 0]


class MLP(nn.Module):
    hidden: int = 16
    depth: int = 1
    activation: Literal["tanh", "relu"] = "tanh"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for place in range(self.depth):
            x = ACTIVATIONS[self.activation](nn.Dense(self.hidden, name=f"dense_{place}")(x))
        return nn.Dense(1, name=f"dense_{self.depth}")(x)[..., 0]


NETWORK = choice(
    {
        "polynomial": network_of(Polynomial),
        "least_squares": network_of(Polynomial),
        "mlp": network_of(MLP),
    }
)
