"""The gated recurrent unit (Cho et al. 2014)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.tasks.names.models.layers import dense
from jaxgen.tasks.names.models.recurrent import Cell


class GRU(Cell):
    """z, r = sigmoid(W [x, h] + b); g = tanh(W [x, r h] + b); h' = h + z (g - h)."""

    def step(self, x: jax.Array, state: tuple[jax.Array, ...]) -> tuple[tuple[jax.Array, ...], jax.Array | None]:
        (h,) = state
        gates = dense(2 * self.hidden, self.initialization, self.init_scale, "gates")(jnp.concatenate([x, h], -1))
        z, r = jnp.split(jax.nn.sigmoid(gates), 2, axis=-1)
        g = jnp.tanh(dense(self.hidden, self.initialization, self.init_scale, "linear")(jnp.concatenate([x, r * h], -1)))
        return (h + z * (g - h),), None
