"""Networks that tell images apart: (B, H, W) or (B, H, W, C), 0 to 1, to a score of each class (B, classes)."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.fields import UserError
from jaxgen.nn import Dropout
from jaxgen.tasks.modules import Network, choice, network_of

HE = nn.initializers.he_normal()  # for layers that a rectifier follows
POOL = 2  # places along a side that a pooling takes together
SEEN = "seen"  # what a block gives, by this name among the intermediates


def normed(x: jax.Array, batchnorm: bool, train: bool, name: str) -> jax.Array:
    """x after BatchNorm (Ioffe and Szegedy 2015) over all but the last axis, if there is to be any."""
    if not batchnorm:
        return x
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, use_fast_variance=False, name=name)(x)


class Logistic(nn.Module):
    """Softmax regression."""

    classes: int = 10

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return nn.Dense(self.classes, name="dense_0")(x.reshape(len(x), -1))


class MLP(nn.Module):
    hidden: int = 128
    depth: int = 1
    batchnorm: bool = False
    dropout: float = 0.3
    classes: int = 10

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = x.reshape(len(x), -1)
        for place in range(self.depth):
            x = nn.Dense(self.hidden, name=f"dense_{place}", kernel_init=HE)(x)
            x = nn.relu(normed(x, self.batchnorm, train, f"dense_{place}_norm"))
            x = Dropout(self.dropout)(x, train)
        return nn.Dense(self.classes, name=f"dense_{self.depth}")(x)


def patches(x: jax.Array, kernel: int = 3, stride: int = 1, dilation: int = 1, same: bool = False) -> jax.Array:
    """What a kernel sees at each place: (B, H, W, C) -> (B, places down, places across, kernel * kernel * C).

    A product of these with a matrix is a convolution. Lanes have kernels of their own, and `nn.Conv` over these is a grouped
    convolution: on images of 8 by 8 a step of a CNN took 1,200 us of a CPU core so, and 15,000 (one lane) to 22,000 us (eight)
    with that.

    Raises:
      UserError: where the kernel is larger than the image.
    """
    span = dilation * (kernel - 1) + 1
    counts = [-(-n // stride) if same else (n - span) // stride + 1 for n in x.shape[1:3]]
    if min(counts) < 1:
        raise UserError(
            f"a convolution that sees {span} pixels along a side is given {x.shape[1]} by {x.shape[2]}; give fewer "
            "model.blocks, a smaller model.kernel or model.dilation, or model.padding same"
        )
    if same:  # as much on either side, the odd one behind
        missing = [max((count - 1) * stride + span - n, 0) for count, n in zip(counts, x.shape[1:3], strict=True)]
        x = jnp.pad(x, ((0, 0), *((more // 2, more - more // 2) for more in missing), (0, 0)))
    down, across = ((count - 1) * stride + 1 for count in counts)
    starts = [dilation * k for k in range(kernel)]
    return jnp.concatenate([x[:, i : i + down : stride, j : j + across : stride] for i in starts for j in starts], -1)


def pooled(x: jax.Array, how: str) -> jax.Array:
    """Of each 2 by 2 places the largest or the mean: (B, H, W, C) -> (B, H // 2, W // 2, C).

    Raises:
      UserError: where there are no two places along a side.
    """
    if how == "none":
        return x
    down, across = (n // POOL for n in x.shape[1:3])
    if min(down, across) < 1:
        raise UserError(
            f"a pooling is given {x.shape[1]} by {x.shape[2]} places, expected 2 by 2 at least; give fewer model.blocks"
        )
    parts = x[:, : POOL * down, : POOL * across].reshape(len(x), down, POOL, across, POOL, -1)
    return parts.max((2, 4)) if how == "max" else parts.mean((2, 4))


class Block(nn.Module):
    """A convolution and a pooling; if residual, between them a second one, beside which its input goes on (He et al. 2016)."""

    channels: int
    kernel: int
    stride: int
    dilation: int
    same: bool
    pooling: str
    residual: bool
    batchnorm: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        seen = patches(x, self.kernel, self.stride, self.dilation, self.same)
        x = normed(nn.Dense(self.channels, name="conv", kernel_init=HE)(seen), self.batchnorm, train, "norm")
        x = nn.relu(x)
        if self.residual:
            more = nn.Dense(self.channels, name="further", kernel_init=HE)(patches(x, self.kernel, 1, self.dilation, same=True))
            x = nn.relu(x + normed(more, self.batchnorm, train, "further_norm"))
        self.sow("intermediates", SEEN, x)
        return pooled(x, self.pooling)


class CNN(nn.Module):
    channels: int = 16
    blocks: int = 2
    kernel: int = 3
    padding: Literal["same", "valid"] = "same"
    stride: int = 1
    dilation: int = 1
    pooling: Literal["max", "average", "none"] = "max"
    residual: bool = False
    batchnorm: bool = False
    hidden: int = 128
    dropout: float = 0.3
    classes: int = 10

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = x[..., None] if x.ndim == 3 else x
        sees = (self.kernel, self.stride, self.dilation, self.padding == "same", self.pooling, self.residual, self.batchnorm)
        for place in range(self.blocks):
            x = Block(self.channels * 2**place, *sees, name=f"block_{place}")(x, train)
        x = Dropout(self.dropout)(x.reshape(len(x), -1), train)
        x = normed(nn.Dense(self.hidden, name="dense_0", kernel_init=HE)(x), self.batchnorm, train, "dense_0_norm")
        x = Dropout(self.dropout)(nn.relu(x), train)
        return nn.Dense(self.classes, name="dense_1")(x)


FAMILIES: dict[str, Any] = {"logistic": Logistic, "mlp": MLP, "cnn": CNN}


def made(model: Any, classes: int) -> nn.Module:
    """The network of a model section itself."""
    kind = FAMILIES[model.family]
    own = {part.name: getattr(model, part.name) for part in dataclasses.fields(kind) if hasattr(model, part.name)}
    return kind(**own, classes=classes)


@functools.cache
def network(classes: int) -> Network:
    """One of the families, for so many classes."""
    return choice({name: network_of(module, classes=classes) for name, module in FAMILIES.items()})
