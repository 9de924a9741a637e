"""What every family is made of: activations, initializations, normalizations, dropout."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn import initializers

from jaxgen.nn import Embed
from jaxgen.nn import drop as drop
from jaxgen.tasks.names.config import RegularizerConfig

GELU = (math.sqrt(2 / math.pi), 0.044715 * math.sqrt(2 / math.pi))


@jax.custom_jvp
def gelu(x: jax.Array) -> jax.Array:
    """x / 2 (1 + tanh(a x + b x^3)), flax's (Hendrycks and Gimpel 2016); written such that each sum has a single product.

    Of two, the compiler rounds one together with the sum, and which one depends on all else in the program
    (`optimizers.RuleState`). So the slope is written out, too.
    """
    a, b = GELU
    return x * (0.5 + 0.5 * jnp.tanh(x * (a + b * (x * x))))


@gelu.defjvp
def _gelu_slope(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    (x,), (a, b) = primals, GELU
    t = jnp.tanh(x * (a + b * (x * x)))
    share = 0.5 + 0.5 * t
    slope = share + x * (0.5 * (1 - t * t) * (a + 3 * b * (x * x)))
    return x * share, slope * tangents[0]


ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "relu": nn.relu,
    "leaky_relu": nn.leaky_relu,
    "sigmoid": nn.sigmoid,
    "gelu": gelu,
}

# normal is DL-101's first try, N(0, 1) for every weight; xavier is Glorot and Bengio 2010, he is He et al. 2015.
INITIALIZATIONS: Mapping[str, initializers.Initializer] = {
    "zero": initializers.zeros,
    "normal": initializers.normal(1.0),
    "xavier": initializers.xavier_normal(),
    "he": initializers.he_normal(),
}

BEFORE = "before_"  # and a layer's name: what goes into its activation function, among the intermediates
LOGIT_SCALE = 0.1  # how confident the untrained network is: small enough for a loss near ln V


def scaled(initializer: initializers.Initializer, factor: float) -> Any:
    """`initializer` times `factor`."""
    return lambda key, shape, dtype=jnp.float32, **options: factor * initializer(key, shape, dtype, **options)


EPSILON = 1e-5  # what a normalization adds to the variance


@jax.custom_vjp
def normalize(x: jax.Array, scale: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A batch (B, F) with each feature's mean and variance taken out, times `scale` plus `bias`; and that mean and variance.

    No gradient flows through the mean and variance that are returned (they go into running statistics). The gradient is
    written out (Ioffe and Szegedy 2015, section 3), because it then needs two sums over the batch and not four: a
    normalization costs as much as its layer's products otherwise.
    """
    return _normalize(x, scale, bias)[0]


def _normalize(x: jax.Array, scale: jax.Array, bias: jax.Array) -> tuple[Any, Any]:
    mean = x.mean(0)
    centred = x - mean[None]
    # Not E[x^2] - E[x]^2, which loses every digit where the mean is large.
    variance = (centred * centred).mean(0)
    root = jax.lax.rsqrt(variance + EPSILON)
    unit = centred * root[None]
    return (unit * scale[None] + bias[None], mean, variance), (unit, root, scale)


def _normalize_gradient(kept: Any, upstream: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    unit, root, scale = kept
    slope = upstream[0]
    count = slope.shape[0]
    to_bias, to_scale = slope.sum(0), (slope * unit).sum(0)
    to_x = (scale * root)[None] * (slope - (to_bias / count)[None] - unit * (to_scale / count)[None])
    return to_x, to_scale, to_bias


normalize.defvjp(_normalize, _normalize_gradient)


@jax.custom_vjp
def standardize(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """Rows (..., F), each with its mean and variance taken out, times `scale` plus `bias` (Ba et al. 2016).

    The gradient is written out, and each row's sums are computed once: the compiler would compute them again for every number
    that needs them, which takes a third of a small transformer's time on a CPU.
    """
    return _standardize(x, scale, bias)[0]


def _standardize(x: jax.Array, scale: jax.Array, bias: jax.Array) -> tuple[jax.Array, Any]:
    centred = x - x.mean(-1, keepdims=True)
    root = jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + EPSILON)
    centred, root = jax.lax.optimization_barrier((centred, root))
    unit = centred * root
    return unit * over(scale, x) + over(bias, x), (unit, root, scale)


def _standardize_gradient(kept: Any, slope: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    unit, root, scale = kept
    scaled = slope * over(scale, slope)
    means = scaled.mean(-1, keepdims=True), (scaled * unit).mean(-1, keepdims=True)
    scaled, (mean, along) = jax.lax.optimization_barrier((scaled, means))
    rows = tuple(range(slope.ndim - 1))
    return root * (scaled - mean - unit * along), (slope * unit).sum(rows), slope.sum(rows)


standardize.defvjp(_standardize, _standardize_gradient)


class LayerNorm(nn.Module):
    """flax's LayerNorm over the last axis of (..., F), with its names, and `standardize` for its arithmetic."""

    scale_init: initializers.Initializer = initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = x.shape[-1:]
        return standardize(x, self.param("scale", self.scale_init, shape), self.param("bias", initializers.zeros, shape))


class BatchNorm(nn.Module):
    """flax's BatchNorm for a batch (..., F), over all axes but the last, with its names, and `normalize` for its arithmetic.

    It never mixes trials.
    """

    scale_init: initializers.Initializer
    momentum: float  # the share of the old running mean that a step keeps (PyTorch's is the share of the new)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        shape = x.shape[-1:]
        scale, bias = self.param("scale", self.scale_init, shape), self.param("bias", initializers.zeros, shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        variance = self.variable("batch_stats", "var", jnp.ones, shape)
        if not train:
            return (x - over(mean.value, x)) * over(jax.lax.rsqrt(variance.value + EPSILON) * scale, x) + over(bias, x)
        rows, batch_mean, batch_variance = normalize(x.reshape(-1, x.shape[-1]), scale, bias)
        if not self.is_initializing():
            # In one product each, for the compiler rounds one of two as it pleases (`optimizers.RuleState`).
            mean.value = batch_mean + self.momentum * (mean.value - batch_mean)
            variance.value = batch_variance + self.momentum * (variance.value - batch_variance)
        return rows.reshape(x.shape)


def over(features: jax.Array, x: jax.Array) -> jax.Array:
    """A value for each feature (F,), with the axes of `x` (..., F)."""
    return features.reshape((1,) * (x.ndim - 1) + features.shape)


class Linear(nn.Module):
    """A linear layer and its normalization: (..., F) -> (..., features).

    Without normalization the layer has a bias; with it the bias would be subtracted again (BatchNorm) or double the
    normalization's own. `scale` multiplies what comes out at the start, `init_scale` the weights.
    """

    features: int
    normalization: str
    initialization: str
    batch_momentum: float
    scale: float = 1.0
    init_scale: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        bare = self.normalization == "none"
        factor = self.init_scale * self.scale if bare else self.init_scale
        kernel = scaled(INITIALIZATIONS[self.initialization], factor)
        x = nn.Dense(self.features, use_bias=bare, kernel_init=kernel, name="linear")(x)
        scale = initializers.constant(self.scale)
        if self.normalization == "batchnorm":
            x = BatchNorm(scale, self.batch_momentum, name="norm")(x, train)
        elif self.normalization == "layernorm":
            x = LayerNorm(scale, name="norm")(x)
        return x


class Dense(nn.Module):
    """flax's Dense with a bias, of (..., F) as one product of all rows: on a CPU, that of several axes is slower."""

    features: int
    kernel_init: initializers.Initializer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        bias = self.param("bias", initializers.zeros, (self.features,))
        return (x.reshape(-1, x.shape[-1]) @ kernel + bias[None]).reshape(*x.shape[:-1], self.features)


def dense(features: int, initialization: str, init_scale: float, name: str | None = None) -> Dense:
    """A linear layer with a bias and no normalization."""
    return Dense(features, scaled(INITIALIZATIONS[initialization], init_scale), name=name)


class Head(nn.Module):
    """The layer of the logits, of a network without normalization there."""

    vocabulary: int
    initialization: str
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = scaled(INITIALIZATIONS[self.initialization], LOGIT_SCALE)
        return nn.Dense(self.vocabulary, use_bias=self.use_bias, kernel_init=kernel, name="linear")(x)


# Where chance comes in. Each place draws on its own, so that no draw depends on what else is part of the program.
NOISE, INPUT, HIDDEN = 0, 1, 2  # HIDDEN: the first hidden layer
READ = 1 << 30  # in what reads counts: behind those of all hidden layers


def embedded(ids: jax.Array, vocabulary: int, width: int, training: RegularizerConfig | None, key: Any) -> jax.Array:
    """Embeddings (B, T, width) of ids (B, T), in a module of the caller's, with what noise and dropout do to them."""
    x = Embed(vocabulary, width, embedding_init=nn.initializers.normal(1.0), name="embedding")(ids)
    if training is not None and training.noise is not None:
        x = jitter(x, training.noise, jax.random.fold_in(key, NOISE))
    if training is not None and training.dropout_input is not None:
        x = drop(x, training.dropout_input, jax.random.fold_in(key, INPUT))
    return x


def rate(training: RegularizerConfig | None, layer: int, depth: int) -> Any:
    """The dropout rate of one of `depth` hidden layers: evenly between that of the first and that of the last; None: none."""
    if training is None or (training.dropout is None and training.dropout_last is None):
        return None
    first, last = (0.0 if end is None else end for end in (training.dropout, training.dropout_last))
    return first + (last - first) * (layer / max(depth - 1, 1))


def dropped(
    x: jax.Array, training: RegularizerConfig | None, layer: int, depth: int, key: Any, place: int | None = None
) -> jax.Array:
    """What one of `depth` hidden layers gives, with its dropout in training; `place`: where it draws. None: the layer."""
    dropout = rate(training, layer, depth)
    return x if dropout is None else drop(x, dropout, jax.random.fold_in(key, HIDDEN + (layer if place is None else place)))


def jitter(x: jax.Array, deviation: jax.Array | float, key: jax.Array) -> jax.Array:
    """`x` plus normal noise of a standard deviation."""
    return x + deviation * jax.random.normal(key, x.shape)
