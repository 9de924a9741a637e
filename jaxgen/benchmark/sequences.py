"""Families of sequences beside PyTorch: a recurrent network and a transformer, as a good user of PyTorch writes them by hand.

Both are the models of `jaxgen.tasks.names.models` to the last parameter: the same numbers give the same loss. PyTorch's rows
begin at the left, as makemore's do, where nothing needs to be masked but by causality.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxgen.benchmark.peers import RATE, Subject, fastest, tensor
from jaxgen.fields import override
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import BOUNDARY, Windows
from jaxgen.tasks.names.loss import next_character
from jaxgen.train.trial import Stream, stream

SIZES = {  # makemore's
    "model.context": 16,
    "model.embedding": 64,
    "model.hidden": 64,
    "model.depth": 4,
    "model.heads": 4,
    "model.activation": "gelu",
}


def config_of(family: str) -> Config:
    """A family at makemore's sizes, with Adam."""
    return override(Config(), {**SIZES, "model.family": family, "optimizer.name": "adam", "optimizer.learning_rate": RATE})


def left(rows: Windows) -> Windows:
    """Rows of `tasks.names.data.sequences` with the boundaries that fill them up behind the name instead of before it."""
    first = np.where((rows.targets >= 0).any(1), (rows.targets >= 0).argmax(1), 0)
    filled = (rows.ids[np.arange(len(first)), 0] == BOUNDARY) & (first > 0)
    order = (np.arange(rows.ids.shape[1]) + np.where(filled, first, 0)[:, None]) % rows.ids.shape[1]
    return Windows(*(np.take_along_axis(x, order, axis=1) for x in rows))


def start(config: Config, vocabulary: int) -> Any:
    """The parameters of jaxgen's own trial of the config's seed."""
    params, _ = next_character(vocabulary).init(config, stream(config.seed, Stream.START))
    return jax.device_get(params)


def tensors(params: Any) -> Any:
    """flax's parameters as tensors to train; kernels stay (in, out)."""
    return jax.tree.map(lambda p: tensor(p).requires_grad_(), params)


def linear(p: Mapping[str, Any], x: Any) -> Any:
    """x W + b, as `torch.nn.functional.linear` does it."""
    return importlib.import_module("torch").nn.functional.linear(x, p["kernel"].T, p.get("bias"))


def gru(params: Any, ids: Any) -> Any:
    """Logits (B, T, V) from ids (B, T): what the inputs bring to the gates is computed for all places at once."""
    torch = importlib.import_module("torch")
    cell, x = params["hidden_0"], params["embedding"]["embedding"][ids]
    width, size = x.shape[-1], cell["start"].shape[-1]
    gates, new = cell["gates"], cell["linear"]
    gate_in = x @ gates["kernel"][:width] + gates["bias"]
    new_in = x @ new["kernel"][:width] + new["bias"]
    gate_back, new_back = gates["kernel"][width:], new["kernel"][width:]
    # A window that goes on with a longer name begins with nothing.
    h, found = torch.where(ids[:, :1] == BOUNDARY, cell["start"][0], torch.zeros(size, device=ids.device)), []
    for place in range(ids.shape[1]):
        z, r = torch.sigmoid(gate_in[:, place] + h @ gate_back).chunk(2, -1)
        h = h + z * (torch.tanh(new_in[:, place] + (r * h) @ new_back) - h)
        found.append(h)
    return linear(params["output"]["linear"], torch.stack(found, 1))


def transformer(params: Any, ids: Any, heads: int = int(SIZES["model.heads"])) -> Any:
    """Logits (B, T, V) from ids (B, T), by PyTorch's own attention."""
    functional = importlib.import_module("torch").nn.functional
    x = params["embedding"]["embedding"][ids] + params["places"]["embedding"][: ids.shape[1]]

    def normalized(p: Any, x: Any) -> Any:
        return functional.layer_norm(x, x.shape[-1:], p["scale"], p["bias"], 1e-5)

    for block in (params[name] for name in sorted(params) if name.startswith("hidden_")):
        parts = linear(block["attention"], normalized(block["before_attention"], x)).chunk(3, -1)
        query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).flatten(2)
        x = x + linear(block["attended"], mixed)
        wide = functional.gelu(linear(block["wide"], normalized(block["before_hidden"], x)), approximate="tanh")
        x = x + linear(block["narrow"], wide)
    return linear(params["output"]["linear"], normalized(params["normalized"], x))


FORWARD: Mapping[str, Callable[[Any, Any], Any]] = {"gru": gru, "transformer": transformer}


def loss(family: str, params: Any, ids: Any, targets: Any) -> Any:
    """Mean cross-entropy over the places that have a target."""
    functional = importlib.import_module("torch").nn.functional
    return functional.cross_entropy(FORWARD[family](params, ids).flatten(0, 1), targets.flatten(), ignore_index=-1)


def torch_eager(family: str, vocabulary: int, rows: Windows, steps: int) -> Subject:
    """One trial: loss.backward(), torch.optim.Adam."""
    torch = importlib.import_module("torch")
    config = config_of(family)
    params = tensors(start(config, vocabulary))
    optimizer = torch.optim.Adam(jax.tree.leaves(params), lr=RATE)
    ids, targets = (tensor(x.astype(np.int64)) for x in left(rows))

    def burst() -> None:
        for _ in range(steps):
            drawn = torch.randint(len(targets), (config.train.batch_size,), device=targets.device)
            value = loss(family, params, ids[drawn], targets[drawn])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()

    chosen, note = fastest(burst)
    return Subject(f"PyTorch eager, one {family}", 1, steps, chosen, note)
