"""The families in NumPy float64, written from the formulas alone: the logits after the last of the ids of one name.

`ids` begin with the boundary, or in the middle of a name that is longer than the window, and go as far as the name is known;
nothing stands before them. Wavenet has a whole window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from reference import EPS, Array, activation
from scipy.special import expit, softmax

from jaxgen.tasks.names.config import FAMILIES, ModelConfig
from jaxgen.tasks.names.data import BOUNDARY

Ids = list[int]


def linear(p: Any, x: Array) -> Array:
    return x @ p["kernel"] + p.get("bias", 0.0)


def layernorm(p: Any, x: Array) -> Array:
    return (x - x.mean()) / np.sqrt(x.var() + EPS) * p["scale"] + p["bias"]


def head(params: Any, x: Array) -> Array:
    return linear(params["output"]["linear"], x)


def start(cell: Any, ids: Ids) -> Array:
    """The state where a name begins; nothing in its middle."""
    return cell["start"] if ids[0] == BOUNDARY else np.zeros_like(cell["start"])


def bigram(params: Any, stats: Any, config: ModelConfig, ids: Ids) -> Array:
    return params["output"]["embedding"][ids[-1]]


def bow(params: Any, stats: Any, config: ModelConfig, ids: Ids) -> Array:
    seen = [params["embedding"]["embedding"][i] + params["places"]["embedding"][t] for t, i in enumerate(ids)]
    x = seen[-1] + np.mean(seen, axis=0)
    x = x + linear(params["hidden_1"], activation(config.activation, linear(params["hidden_0"], x)))
    return head(params, x)


def rnn(params: Any, stats: Any, config: ModelConfig, ids: Ids) -> Array:
    cell = params["hidden_0"]
    h = start(cell, ids)[0]
    for i in ids:
        h = activation(config.activation, linear(cell["linear"], np.concatenate([params["embedding"]["embedding"][i], h])))
    return head(params, h)


def gru(params: Any, stats: Any, config: ModelConfig, ids: Ids) -> Array:
    cell, size = params["hidden_0"], config.hidden
    h = start(cell, ids)[0]
    for i in ids:
        x = params["embedding"]["embedding"][i]
        gates = expit(linear(cell["gates"], np.concatenate([x, h])))
        z, r = gates[:size], gates[size:]
        h = (1 - z) * h + z * np.tanh(linear(cell["linear"], np.concatenate([x, r * h])))
    return head(params, h)


def lstm(params: Any, stats: Any, config: ModelConfig, ids: Ids) -> Array:
    cell, size = params["hidden_0"], config.hidden
    h, c = start(cell, ids)
    for i in ids:
        into, forget, out, new = np.split(linear(cell["gates"], np.concatenate([params["embedding"]["embedding"][i], h])), 4)
        c = expit(forget) * c + expit(into) * np.tanh(new)
        h = expit(out) * np.tanh(c)
        assert h.shape == (size,)
    return head(params, h)


def wavenet(params: Any, stats: Any, config: ModelConfig, ids: Ids) -> Array:
    """In evaluation mode."""
    nodes, level = [params["embedding"]["embedding"][i] for i in ids], 0
    while len(nodes) > 1:
        p, joined = params[f"hidden_{level}"], []
        for left, right in zip(nodes[::2], nodes[1::2], strict=True):
            x = linear(p["linear"], np.concatenate([left, right]))
            if config.normalization == "batchnorm":
                seen = stats[f"hidden_{level}"]["norm"]
                x = (x - seen["mean"]) / np.sqrt(seen["var"] + EPS) * p["norm"]["scale"] + p["norm"]["bias"]
            elif config.normalization == "layernorm":
                x = layernorm(p["norm"], x)
            joined.append(activation(config.activation, x))
        nodes, level = joined, level + 1
    return head(params, nodes[0])


def dilated(params: Any, stats: Any, config: ModelConfig, ids: Ids) -> Array:
    rows = [linear(params["input"], params["embedding"]["embedding"][i]) for i in ids]
    total, reach = np.zeros(config.hidden), 1
    for block in range(config.depth):
        p, given = params[f"hidden_{block}"], []
        for t, x in enumerate(rows):
            earlier = rows[t - reach] if t >= reach else np.zeros(config.hidden)
            f, g = np.split(linear(p["gates"], np.concatenate([earlier, x])), 2)
            given.append(np.tanh(f) * expit(g))
        total = total + linear(p["skip"], given[-1])
        if block + 1 < config.depth:
            rows = [x + linear(p["residual"], y) for x, y in zip(rows, given, strict=True)]
        reach = 1 if 2 * reach >= config.context else 2 * reach
    return head(params, np.maximum(linear(params["joined_skips"], np.maximum(total, 0)), 0))


def transformer(params: Any, stats: Any, config: ModelConfig, ids: Ids) -> Array:
    width = config.hidden // config.heads
    rows = [params["embedding"]["embedding"][i] + params["places"]["embedding"][t] for t, i in enumerate(ids)]
    for block in range(config.depth):
        p, after = params[f"hidden_{block}"], []
        split = [np.split(linear(p["attention"], layernorm(p["before_attention"], x)), 3) for x in rows]
        for t, x in enumerate(rows):
            mixed = []
            for n in range(config.heads):
                part = slice(n * width, (n + 1) * width)
                scores = [split[t][0][part] @ split[u][1][part] / np.sqrt(width) for u in range(t + 1)]
                mixed.append(sum(share * split[u][2][part] for u, share in enumerate(softmax(scores))))
            x = x + linear(p["attended"], np.concatenate(mixed))
            wide = activation(config.activation, linear(p["wide"], layernorm(p["before_hidden"], x)))
            after.append(x + linear(p["narrow"], wide))
        rows = after
    return head(params, layernorm(params["normalized"], rows[-1]))


# Where each family takes seconds: one of each kind (counts, windows, a state, a memory of all), and by --long the others.
SOME = [f if f in ("ngram", "mlp", "gru", "transformer") else pytest.param(f, marks=pytest.mark.long) for f in FAMILIES]

REFERENCES: Mapping[str, Callable[[Any, Any, ModelConfig, Ids], Array]] = {
    "bigram": bigram,
    "bow": bow,
    "rnn": rnn,
    "gru": gru,
    "lstm": lstm,
    "wavenet": wavenet,
    "dilated": dilated,
    "transformer": transformer,
}
