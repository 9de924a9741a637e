"""Long short-term memory (Hochreiter and Schmidhuber 1997; with the forget gate of Gers et al. 2000)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.tasks.names.models.layers import INITIALIZATIONS, scaled
from jaxgen.tasks.names.models.recurrent import Cell


class LSTM(Cell):
    """i, f, o = sigmoid(W [x, h] + b); g = tanh(W [x, h] + b); c' = f c + i g; h' = o tanh(c').

    The forget gate's bias begins at 1, so that what is in the memory stays there at first (Jozefowicz et al. 2015).
    """

    STATES = 2

    def step(self, x: jax.Array, state: tuple[jax.Array, ...]) -> tuple[tuple[jax.Array, ...], jax.Array | None]:
        h, c = state
        kernel = scaled(INITIALIZATIONS[self.initialization], self.init_scale)

        def forgetful(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
            return jnp.zeros(shape, dtype).at[self.hidden : 2 * self.hidden].set(1.0)

        gates = nn.Dense(4 * self.hidden, kernel_init=kernel, bias_init=forgetful, name="gates")(jnp.concatenate([x, h], -1))
        i, f, o, g = jnp.split(gates, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None
