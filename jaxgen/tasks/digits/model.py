"""Networks that tell digits apart: images (B, 8, 8), 0 to 1, to a score of each class (B, 10)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.nn import Dropout
from jaxgen.tasks.digits.data import CLASSES
from jaxgen.tasks.modules import choice, network_of

KERNEL = 3  # pixels along a side
HE = nn.initializers.he_normal()  # for layers that a rectifier follows


class Logistic(nn.Module):
    """Softmax regression."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return nn.Dense(CLASSES, name="dense_0")(x.reshape(len(x), -1))


class MLP(nn.Module):
    hidden: int = 128
    depth: int = 1
    dropout: float = 0.3

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = x.reshape(len(x), -1)
        for place in range(self.depth):
            x = Dropout(self.dropout)(nn.relu(nn.Dense(self.hidden, name=f"dense_{place}", kernel_init=HE)(x)), train)
        return nn.Dense(CLASSES, name=f"dense_{self.depth}")(x)


def patches(x: jax.Array) -> jax.Array:
    """What a kernel of 3 by 3 sees at each place: (B, H, W, C) -> (B, H - 2, W - 2, 9 C).

    A product of these with a matrix is a convolution. Lanes have kernels of their own, and `nn.Conv` over these is a grouped
    convolution: a step of this CNN takes 1,200 us of a CPU core so, and 15,000 (one lane) to 22,000 us (eight) with that.
    """
    height, width = x.shape[1] - KERNEL + 1, x.shape[2] - KERNEL + 1
    seen = [x[:, i : i + height, j : j + width] for i in range(KERNEL) for j in range(KERNEL)]
    return jnp.concatenate(seen, -1)


class CNN(nn.Module):
    channels: int = 16
    hidden: int = 128
    dropout: float = 0.3

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        framed = jnp.pad(x, ((0, 0), (1, 1), (1, 1)))[..., None]  # digits reach the edges: without this, 1 in 100 more is wrong
        x = nn.relu(nn.Dense(self.channels, name="conv_0", kernel_init=HE)(patches(framed)))  # (B, 8, 8, C)
        x = nn.relu(nn.Dense(2 * self.channels, name="conv_1", kernel_init=HE)(patches(x)))  # (B, 6, 6, 2 C)
        x = x.reshape(len(x), 3, 2, 3, 2, -1).max((2, 4)).reshape(len(x), -1)  # (B, 3 * 3 * 2 C)
        x = Dropout(self.dropout)(x, train)
        x = Dropout(self.dropout)(nn.relu(nn.Dense(self.hidden, name="dense_0", kernel_init=HE)(x)), train)
        return nn.Dense(CLASSES, name="dense_1")(x)


NETWORK = choice({name: network_of(module) for name, module in (("logistic", Logistic), ("mlp", MLP), ("cnn", CNN))})
