"""What families share that learn from every position of a name.

A row of ids (B, T) is a window: a name's last T ids so far, behind as many boundaries as it is short. These families see of
the boundaries only the last one, where the name begins; what comes before it is not there. So one window, wherever it is cut,
says the same at each of its positions as the shorter windows that end there.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.tasks.names.data import BOUNDARY


def begins(ids: jax.Array) -> jax.Array:
    """The place (B,) at which each row of ids (B, T) has its name begin: the last of the first boundaries; 0 if it has none."""
    leading = jnp.cumprod(ids == BOUNDARY, axis=1).sum(1)
    return jnp.maximum(leading - 1, 0)


def present(ids: jax.Array) -> jax.Array:
    """Which places (B, T) of rows of ids hold a name, its boundary included."""
    return jnp.arange(ids.shape[1])[None] >= begins(ids)[:, None]
