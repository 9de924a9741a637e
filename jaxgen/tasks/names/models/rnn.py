"""The simple recurrent network (Elman 1990; as a language model Mikolov et al. 2010)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.tasks.names.models.layers import ACTIVATIONS, dense
from jaxgen.tasks.names.models.recurrent import Cell


class RNN(Cell):
    """h' = f(W [x, h] + b)."""

    def step(self, x: jax.Array, state: tuple[jax.Array, ...]) -> tuple[tuple[jax.Array, ...], jax.Array | None]:
        before = dense(self.hidden, self.initialization, self.init_scale, "linear")(jnp.concatenate([x, *state], -1))
        return (ACTIVATIONS[self.activation](before),), before
