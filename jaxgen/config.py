"""The sections of a config that every task has: how rows are cut, the optimizer, penalties, and what a trial does.

Nothing here imports JAX, so that every command's --help is quick.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro
from annotated_types import Interval

from jaxgen.fields import HIDDEN, Amount, Known, Leaf, Seed, Share, Strength, T, UserError, items, picked, quoted


@dataclass(frozen=True)
class Nothing:
    """A section without fields."""


@dataclass(frozen=True)
class Cut:
    """The data section of a task that says no more: how rows are cut into parts."""

    split_seed: Seed = 42
    """Shuffles the rows before they are cut; the same for every trial of a sweep unless varied."""


Schedule = Literal["constant", "steps", "exponential", "inverse_time", "cosine"]
SCHEDULES: tuple[str, ...] = typing.get_args(Schedule)

# The coefficients that each classic optimizer has, and the value that suits it where the config leaves it out.
# The defaults are optax's (adagrad and rmsprop keep their eps inside the root, as there), the learning rates those that
# won the bundled `optimizers` ablation, rounded.
OPTIMIZERS: Mapping[str, Mapping[str, float]] = {
    "sgd": {"learning_rate": 0.3},
    "momentum": {"learning_rate": 0.03, "momentum": 0.9},
    "nesterov": {"learning_rate": 0.03, "momentum": 0.9},
    "adagrad": {"learning_rate": 0.1, "eps": 1e-7, "accumulator": 0.1},
    "rmsprop": {"learning_rate": 3e-3, "b2": 0.9, "eps": 1e-8},
    "adam": {"learning_rate": 3e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "debias": 1.0},
    "adamw": {"learning_rate": 3e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "debias": 1.0, "weight_decay": 1e-2},
}
OPTAX = "optax."  # the prefix that names any other optimizer of optax's, such as optax.lion


@dataclass(frozen=True)
class OptimizerConfig:
    name: Annotated[str, Known(*OPTIMIZERS)] = "adam"
    """sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw; or optax.NAME for any other of optax's."""
    learning_rate: Amount | None = None
    """Peak learning rate. None: what suits the optimizer, as with those below."""
    momentum: Share | None = None
    """Decay of the trace (momentum, nesterov)."""
    b1: Share | None = None
    """Decay of the first moment (adam, adamw)."""
    b2: Share | None = None
    """Decay of the second moment (rmsprop, adam, adamw)."""
    eps: Amount | None = None
    """Added to the denominator (adagrad, rmsprop, adam, adamw)."""
    debias: Annotated[float, Interval(ge=0.0, le=1.0)] | None = None
    """1: the moments are divided by what their start at zero takes from them; 0: not (adam, adamw)."""
    accumulator: Amount | None = None
    """What the sum of squared gradients starts at (adagrad)."""
    weight_decay: Strength[Amount] | None = None
    """Decoupled weight decay of the weight matrices, with any classic optimizer. None: 0.01 for adamw, else 0."""
    clip_norm: Strength[Amount] = 0.0
    """Clips the gradient's global norm. 0: off."""
    schedule: Schedule = "constant"
    """How the rate goes over the steps."""
    warmup: Share = 0.0
    """Share of the steps over which the rate rises linearly from 0 (any schedule)."""
    decay: Annotated[float, Interval(gt=0.0, le=1.0)] = 0.1
    """steps: factor at each drop; exponential: the share of the peak that is left at the end."""
    drops: Annotated[int, Interval(ge=0, le=1000)] = 2
    """steps: number of drops, evenly spaced over the budget."""
    decay_rate: Amount = 1.0
    """inverse_time: the rate in lr0 / (1 + rate * epoch)."""
    chain: Annotated[Any, tyro.conf.Suppress, HIDDEN] = None
    """A Python object instead of a name: learning rate -> optax.GradientTransformation, such as optax.lion."""


@dataclass(frozen=True)
class Penalties:
    """Regularizers of any parameters; a task's own section adds to them by inheriting."""

    l2: Strength[Amount] = 0.0
    """Adds l2 / 2 * the sum of squared weights (matrices only) to the training objective."""
    l1: Strength[Amount] = 0.0
    """Adds l1 * the sum of absolute weights (matrices only)."""
    max_norm: Strength[Amount] = 0.0
    """After each step, a unit's incoming weights are no longer than this (Srivastava et al. 2014). 0: off."""


MAX_STEPS = 100_000_000
Steps = Annotated[int, Interval(ge=1, le=MAX_STEPS)]
FewSteps = Annotated[int, Interval(ge=0, le=MAX_STEPS)]


@dataclass(frozen=True)
class Training:
    """What a trial does; a task's own section adds to it by inheriting."""

    steps: Leaf[Steps] = 4000
    """Steps that a network is trained for (S)."""
    batch_size: Annotated[int, Interval(ge=1, le=1_000_000)] = 32
    """Rows a step (B)."""
    eval_every: Steps = 400
    """Steps between two evaluations."""
    patience: Leaf[FewSteps] = 0
    """Evaluations without a better validation score after which a trial stops early. 0: never."""
    pretrain: Strength[Leaf[FewSteps]] = 0
    """Steps at the beginning that train on the source's rows."""
    freeze: Strength[Leaf[Annotated[int, Interval(ge=0, le=1000)]]] = 0
    """Layers, from the first on, that are not trained after these."""
    diagnostics: bool = False
    """Looks at each layer's activations, gradients and updates before the first step and after each evaluation."""
    draw: Literal["replacement", "epochs"] = "replacement"
    """replacement: each of a step's rows is any row; epochs: each row comes once an epoch, in an order of seed and epoch."""


@functools.cache
def config_of(data: type = Cut, model: type = Nothing, regularizer: type = Penalties, train: type = Training) -> type:
    """The type of a task's configs, from those of its sections."""
    sections = {"data": data, "model": model, "optimizer": OptimizerConfig, "regularizer": regularizer, "train": train}
    parts: list[Any] = [(name, kind, field(default_factory=kind)) for name, kind in sections.items()]
    seed = ("seed", Leaf[Seed], field(default=0))
    made = dataclasses.make_dataclass("Config", [*parts, seed], frozen=True, namespace={"__module__": __name__})
    made.__doc__ = "Everything that defines one trial."
    return made


Config = Any  # of any task: a dataclass with sections data, model, optimizer, regularizer and train, and a seed


BY_BUDGET = ("steps", "exponential", "cosine")  # schedules that spread over the budget


def by_budget(config: Any) -> str:
    """What of a config goes by train.steps, so that a longer trial is another one from its first steps on; "" where nothing
    does, and a trial that has done its steps can go on."""
    optimizer, train = config.optimizer, config.train
    if optimizer.schedule in BY_BUDGET:
        return f"optimizer.schedule {optimizer.schedule!r} spreads over the steps"
    if optimizer.warmup > 0:
        return "optimizer.warmup is a share of the steps"
    if train.steps % train.eval_every:
        return f"{train.steps} steps end between two evaluations (train.eval_every {train.eval_every})"
    return ""


def validate(config: T, changed: Collection[str] | None = None) -> T:
    """`config` itself, if every value is allowed: by its field, by its optimizer, and by the config as a whole (`check`).

    Args:
      changed: the only keys in which it differs from a config that was allowed. None: all are looked at.

    Raises:
      UserError: for the first value that is not, with the values that are.
    """
    for key, value, part in items(config) if changed is None else picked(config, changed):
        if (expected := part.wrong(value)) is not None:
            raise UserError(f"{key} is {quoted(value)}, expected {expected}")
    check = getattr(config, "check", None)
    if check is not None:
        check()
    resolve(config)
    return config


COEFFICIENTS = ("learning_rate", "momentum", "b1", "b2", "eps", "debias", "accumulator", "weight_decay")


def coefficients(optimizer: str) -> Mapping[str, float]:
    """The coefficients that an optimizer has, and the value that each has where a config leaves it out.

    Raises:
      UserError: for an unknown optimizer.
    """
    if optimizer.startswith(OPTAX):
        return {"learning_rate": 1e-3}
    if optimizer not in OPTIMIZERS:
        known = ", ".join(OPTIMIZERS)
        raise UserError(
            f"optimizer.name is {quoted(optimizer)}, expected one of {known}, or {OPTAX}NAME for another of optax's"
        )
    return {"weight_decay": 0.0, **OPTIMIZERS[optimizer]}


def resolve(config: Any) -> Any:
    """`config` with every coefficient that was left out at the value that suits its optimizer, and what it says itself follows
    from the rest (`resolved`).

    Raises:
      UserError: for an unknown optimizer, or a coefficient that the named one does not have.
    """
    optimizer, name = config.optimizer, config.optimizer.name
    known = coefficients("optax." if optimizer.chain is not None else name)
    values = {}
    for key in COEFFICIENTS:
        value = getattr(optimizer, key)
        if value is not None and key not in known:
            has = ", ".join(known)
            raise UserError(f"optimizer.{key} is {value!r}, but {name} has no such coefficient (it has {has}); leave it out")
        values[key] = known.get(key) if value is None else value
    config = dataclasses.replace(config, optimizer=dataclasses.replace(optimizer, **values))
    return config.resolved() if hasattr(config, "resolved") else config
