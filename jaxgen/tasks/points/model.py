"""Networks that tell two kinds of points apart: (B, columns) to a score (B,), whose sign says the kind."""

from __future__ import annotations

from typing import Literal

import jax
from flax import linen as nn

from jaxgen.tasks.modules import choice, network_of

ACTIVATIONS = {"tanh": nn.tanh, "relu": nn.relu, "sigmoid": nn.sigmoid}


class Linear(nn.Module):
    """A weight a column and a bias, all 0 at first: what a perceptron and logistic regression are."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return nn.Dense(1, name="dense_0", kernel_init=nn.initializers.zeros)(x)[..., 0]


class MLP(nn.Module):
    hidden: int = 16
    depth: int = 1
    activation: Literal["tanh", "relu", "sigmoid"] = "tanh"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for place in range(self.depth):
            x = ACTIVATIONS[self.activation](nn.Dense(self.hidden, name=f"dense_{place}")(x))
        return nn.Dense(1, name=f"dense_{self.depth}")(x)[..., 0]


NETWORK = choice({"perceptron": network_of(Linear), "logistic": network_of(Linear), "mlp": network_of(MLP)})
