"""DL-101's network in NumPy float64, written from the formulas alone: forward, backward, BatchNorm's running statistics."""

from __future__ import annotations

from typing import Any

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


def forward(params: Any, stats: Any, ids: NDArray[np.int32], name: str, kind: str, train: bool) -> tuple[Array, dict[str, Any]]:
    """Logits (B, V), and the batch's mean and variance of each layer (training)."""
    x = params["embedding"]["embedding"][ids].reshape(len(ids), -1)
    layers = [key for key in sorted(params, key=lambda k: int(k.split("_")[-1]) if "_" in k else 999) if key != "embedding"]
    seen = {}
    for layer in layers:
        p = params[layer]
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
            x = activation(name, x)
    return x, seen


def cross_entropy(logits: Array, targets: NDArray[np.int32]) -> Array:
    top = logits.max(1, keepdims=True)
    return np.log(np.exp(logits - top).sum(1)) + top[:, 0] - logits[np.arange(len(targets)), targets]
