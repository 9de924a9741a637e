"""Networks of other rooms beside PyTorch: MLP and CNN of images, and the product of embeddings of ratings, as a user of PyTorch
writes them.

The same numbers give the same loss: kernels are carried over, and, where PyTorch has channels before places, in that order.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgen.benchmark.peers import RATE, Subject, fastest, tensor, torch_device
from jaxgen.config import Config
from jaxgen.fields import override
from jaxgen.tasks.digits.task import DIGITS
from jaxgen.tasks.ratings.task import RATINGS
from jaxgen.train.trial import Stream, stream


class Family(NamedTuple):
    """A network of a task's, at the task's own sizes but for these values."""

    task: Any
    changes: Mapping[str, Any]


FAMILIES: Mapping[str, Family] = {
    "digits_mlp": Family(DIGITS, {"model.family": "mlp", "model.dropout": 0.0}),
    "digits_cnn": Family(DIGITS, {"model.family": "cnn", "model.dropout": 0.0}),
    "ratings_dot": Family(RATINGS, {"model.family": "dot"}),
}


def config_of(name: str) -> Config:
    """A family at its own sizes, without dropout, with Adam."""
    family = FAMILIES[name]
    return override(family.task.config(), {**family.changes, "optimizer.name": "adam", "optimizer.learning_rate": RATE})


def start(task: Any, config: Config) -> Any:
    """The parameters of jaxgen's own trial of the config's seed."""
    params, _ = task.opened(config.data).functions().init(config, stream(config.seed, Stream.START))
    return jax.device_get(params)


def torch_module(params: Any, config: Config) -> Any:
    """The same network in PyTorch: images (B, 1, 28, 28) to scores (B, 10), or pairs (B, 2) to ratings from 0 to 1, (B,)."""
    return (_products if "users" in params else _of_images)(params, config).to(torch_device())


def _products(params: Any, config: Config) -> Any:
    nn = importlib.import_module("torch").nn

    class Dot(nn.Module):  # pyright: ignore[reportUntypedBaseClass]
        def __init__(self) -> None:
            super().__init__()
            for name in ("users", "items"):
                for part, table in params[name].items():
                    layer = nn.Embedding.from_pretrained(tensor(table.reshape(len(table), -1)), freeze=False)
                    setattr(self, f"{name}_{part}", layer)
            self.middle = nn.Parameter(tensor(params["middle"]))

        def forward(self, pairs: Any) -> Any:
            user, item = pairs[:, 0], pairs[:, 1]
            score = (self.users_embedding(user) * self.items_embedding(item)).sum(1)
            return (score + self.users_bias(user)[:, 0] + self.items_bias(item)[:, 0] + self.middle).sigmoid()

    return Dot()


def _of_images(params: Any, config: Config) -> Any:
    nn = importlib.import_module("torch").nn

    def linear(weights: Mapping[str, np.ndarray]) -> Any:
        layer = nn.Linear(*weights["kernel"].shape)
        layer.weight.data.copy_(tensor(weights["kernel"].T))
        layer.bias.data.copy_(tensor(weights["bias"]))
        return layer

    if "block_0" not in params:
        return nn.Sequential(nn.Flatten(), linear(params["dense_0"]), nn.ReLU(), linear(params["dense_1"]))
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
    return nn.Sequential(*parts, nn.Flatten(), linear(first), nn.ReLU(), linear(params["dense_1"]))


def torch_eager(name: str, steps: int) -> Subject:
    """One trial: module, loss.backward(), torch.optim.Adam; images lie on the device as bytes, as jaxgen's do."""
    torch = importlib.import_module("torch")
    task, config = FAMILIES[name].task, config_of(name)
    module = torch_module(start(task, config), config)
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    inputs, targets = task.parts(config.data).train
    pictured = task is DIGITS
    inputs = tensor(inputs[:, None] if pictured else inputs)
    targets = tensor(targets.astype(np.int64) if pictured else targets)
    functional = torch.nn.functional

    def loss_of(inputs: Any, targets: Any) -> Any:
        if pictured:
            return functional.cross_entropy(module(inputs.float() / 255), targets)
        return functional.mse_loss(module(inputs), targets)

    def burst() -> None:
        for _ in range(steps):
            rows = torch.randint(len(targets), (config.train.batch_size,), device=targets.device)
            loss = loss_of(inputs[rows], targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    chosen, note = fastest(burst)
    return Subject(f"PyTorch eager, one {name}", 1, steps, chosen, note)
