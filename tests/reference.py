"""DL-101's network in NumPy float64, written from the formulas alone: forward, BatchNorm's running statistics,
activation functions and their slopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]
EPS = 1e-5


def activation(name: str, x: Array) -> Array:
    match name:
        case "tanh":
            return np.tanh(x)
        case "relu":
            return np.maximum(x, 0)
        case "leaky_relu":
            return np.where(x > 0, x, 0.01 * x)
        case "sigmoid":
            return expit(x)
        case "gelu":  # flax's is the tanh form of Hendrycks and Gimpel 2016
            return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    raise AssertionError(name)


def slope(name: str, x: Array) -> Array:
    """The derivative of `activation`."""
    match name:
        case "tanh":
            return 1 / np.cosh(np.clip(x, -300, 300)) ** 2
        case "relu":
            return np.where(x > 0, 1.0, 0.0)
        case "leaky_relu":
            return np.where(x > 0, 1.0, 0.01)
        case "sigmoid":
            return expit(x) * expit(-x)
        case "gelu":
            inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
            slope_of_inner = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
            return 0.5 * (1 + np.tanh(inner)) + 0.5 * x * (1 - np.tanh(inner) ** 2) * slope_of_inner
    raise AssertionError(name)


class Network(NamedTuple):
    logits: Array  # (B, V)
    seen: dict[str, Any]  # the batch's mean and variance of each layer (training)
    before: dict[str, Array]  # what goes into each hidden layer's activation function


def order(params: Any) -> list[str]:
    """The layers with weights behind the embedding, as data goes through them."""
    hidden = sorted((name for name in params if name.startswith("hidden_")), key=lambda name: int(name.split("_")[1]))
    return [*hidden, "output"]


def forward(
    params: Any, stats: Any, ids: NDArray[np.int32], name: str, kind: str, train: bool, residual: bool = False
) -> Network:
    x = params["embedding"]["embedding"][ids].reshape(len(ids), -1)
    seen, before = {}, {}
    for layer in order(params):
        p, into = params[layer], x
        x = x @ p["linear"]["kernel"]
        if kind == "none":
            x = x + p["linear"]["bias"]
        elif kind == "layernorm":
            mean, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)
            x = (x - mean) / np.sqrt(var + EPS) * p["norm"]["scale"] + p["norm"]["bias"]
        else:
            mean, var = (x.mean(0), x.var(0)) if train else (stats[layer]["norm"]["mean"], stats[layer]["norm"]["var"])
            seen[layer] = {"mean": mean, "var": var}
            x = (x - mean) / np.sqrt(var + EPS) * p["norm"]["scale"] + p["norm"]["bias"]
        if layer != "output":
            before[layer] = x
            x = activation(name, x)
            if residual and x.shape == into.shape:
                x = into + x
    return Network(x, seen, before)


def cross_entropy(logits: Array, targets: NDArray[np.int32]) -> Array:
    top = logits.max(1, keepdims=True)
    return np.log(np.exp(logits - top).sum(1)) + top[:, 0] - logits[np.arange(len(targets)), targets]


def assert_gradient(loss: Callable[[Any], float], at: Any, found: Any, rtol: float, atol: float) -> None:
    """Whether a gradient agrees with central differences along a random direction in each array of a tree."""
    source, step = np.random.default_rng(1), 1e-6  # a corner such as relu's is as wide and is not met here
    leaves, tree = jax.tree.flatten(at)
    for i, (leaf, gradient) in enumerate(zip(leaves, jax.tree.leaves(found), strict=True)):
        direction = source.normal(size=leaf.shape)
        ends = [loss(jax.tree.unflatten(tree, [*leaves[:i], leaf + s * step * direction, *leaves[i + 1 :]])) for s in (1, -1)]
        wanted = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose((np.asarray(gradient, np.float64) * direction).sum(), wanted, rtol=rtol, atol=atol)
