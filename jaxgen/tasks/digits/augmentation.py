"""Training images moved, turned and made larger or smaller at random, so that a network sees no image twice."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates


def augmented(regularizer: Any, images: jax.Array, key: jax.Array) -> jax.Array:
    """Images (B, H, W) or (B, H, W, C) as the regularizer's shift, rotation and zoom say, each drawn evenly between both ends.

    What comes from beyond an image's edges is 0, and values between pixels are interpolated linearly. Images are returned as
    they are where all three are None.
    """
    strengths = (regularizer.shift, regularizer.shift, regularizer.rotation, regularizer.zoom)
    if all(strength is None for strength in strengths):
        return images
    drawn = jax.random.uniform(key, (4, len(images)), minval=-1.0, maxval=1.0)
    down, across, turn, zoom = (0.0 if by is None else by * x for by, x in zip(strengths, drawn, strict=True))
    angle, scale = jnp.deg2rad(jnp.broadcast_to(turn, len(images))), 1.0 / (1.0 + jnp.broadcast_to(zoom, len(images)))
    middle = [(n - 1) / 2 for n in images.shape[1:3]]
    rows, columns = jnp.meshgrid(
        *(jnp.arange(n) - half for n, half in zip(images.shape[1:3], middle, strict=True)), indexing="ij"
    )

    def moved(image: jax.Array, down: Any, across: Any, angle: jax.Array, scale: jax.Array) -> jax.Array:
        """An image whose pixels come from where the inverse of the movement leads."""
        y, x, sine, cosine = rows - down, columns - across, jnp.sin(angle), jnp.cos(angle)
        places = [scale * (cosine * y + sine * x) + middle[0], scale * (cosine * x - sine * y) + middle[1]]
        return map_coordinates(image, places, order=1, mode="constant")

    over_colours = moved if images.ndim == 3 else jax.vmap(moved, (-1, None, None, None, None), -1)
    down, across = (jnp.broadcast_to(x, len(images)) for x in (down, across))
    return jax.vmap(over_colours)(images.astype(jnp.float32), down, across, angle, scale)
