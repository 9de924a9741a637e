"""Networks of images beside PyTorch: the digits task's MLP and CNN, as a user of PyTorch writes them.

The same numbers give the same loss: kernels are carried over, and, where PyTorch has channels before places, in that order.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxgen.benchmark.peers import RATE, Subject, fastest, tensor, torch_device
from jaxgen.config import Config
from jaxgen.fields import override
from jaxgen.tasks.digits.task import DIGITS
from jaxgen.train.trial import Stream, stream

FAMILIES: Mapping[str, str] = {"digits_mlp": "mlp", "digits_cnn": "cnn"}


def config_of(name: str) -> Config:
    """A family of the digits task at its own sizes on MNIST, without dropout, with Adam."""
    changes = {"model.family": FAMILIES[name], "model.dropout": 0.0, "optimizer.name": "adam", "optimizer.learning_rate": RATE}
    return override(DIGITS.config(), changes)


def start(config: Config) -> Any:
    """The parameters of jaxgen's own trial of the config's seed."""
    task = DIGITS.opened(config.data)
    params, _ = task.functions().init(config, stream(config.seed, Stream.START))
    return jax.device_get(params)


def torch_module(params: Any, config: Config) -> Any:
    """The same network in PyTorch: (B, 1, 28, 28) to scores (B, 10)."""
    nn = importlib.import_module("torch").nn

    def linear(weights: Mapping[str, np.ndarray]) -> Any:
        layer = nn.Linear(*weights["kernel"].shape)
        layer.weight.data.copy_(tensor(weights["kernel"].T))
        layer.bias.data.copy_(tensor(weights["bias"]))
        return layer

    if "block_0" not in params:
        return nn.Sequential(nn.Flatten(), linear(params["dense_0"]), nn.ReLU(), linear(params["dense_1"])).to(torch_device())
    parts, channels, side = [], 1, 28
    for place in range(config.model.blocks):
        weights, size = params[f"block_{place}"]["conv"], config.model.kernel
        conv = nn.Conv2d(channels, len(weights["bias"]), size, padding="same")
        kernel = weights["kernel"].reshape(size, size, channels, -1)  # (down, across, in, out)
        conv.weight.data.copy_(tensor(kernel.transpose(3, 2, 0, 1)))
        conv.bias.data.copy_(tensor(weights["bias"]))
        parts += [conv, nn.ReLU(), nn.MaxPool2d(2)]
        channels, side = len(weights["bias"]), side // 2
    kernel = params["dense_0"]["kernel"].reshape(side, side, channels, -1).transpose(2, 0, 1, 3)
    first = {"kernel": kernel.reshape(channels * side * side, -1), "bias": params["dense_0"]["bias"]}
    return nn.Sequential(*parts, nn.Flatten(), linear(first), nn.ReLU(), linear(params["dense_1"])).to(torch_device())


def torch_eager(name: str, steps: int) -> Subject:
    """One trial: module, loss.backward(), torch.optim.Adam; images lie on the device as bytes, as jaxgen's do."""
    torch = importlib.import_module("torch")
    config = config_of(name)
    module = torch_module(start(config), config)
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    images, labels = DIGITS.parts(config.data).train
    images, labels = tensor(images[:, None]), tensor(labels.astype(np.int64))

    def burst() -> None:
        for _ in range(steps):
            rows = torch.randint(len(labels), (config.train.batch_size,), device=labels.device)
            loss = torch.nn.functional.cross_entropy(module(images[rows].float() / 255), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    chosen, note = fastest(burst)
    return Subject(f"PyTorch eager, one {name}", 1, steps, chosen, note)
