"""One trial is three pure functions: init, update, evaluate. They know nothing of lanes, devices, files or other trials."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgen import config as configs
from jaxgen.config import Config
from jaxgen.objective import Task, constrain, hold, penalty
from jaxgen.optimizers import transformation


def _register(kind: type) -> None:
    """A config's floats and its seed, step budget and patience are leaves; every other field is tree structure."""
    data = [
        part.name
        for part in dataclasses.fields(kind)
        if "Config" in str(part.type) or "float" in str(part.type) or part.name in configs.LEAF_INTEGERS
    ]
    meta = [part.name for part in dataclasses.fields(kind) if part.name not in data]
    jax.tree_util.register_dataclass(kind, data, meta)


for _kind in (
    configs.DataConfig,
    configs.ModelConfig,
    configs.OptimizerConfig,
    configs.RegularizerConfig,
    configs.TrainConfig,
    Config,
):
    _register(_kind)


class Status(enum.IntEnum):
    """How a trial stands; an array of these travels with the state."""

    RUNNING = 0
    COMPLETED = 1
    STOPPED = 2
    DIVERGED = 3


class Best(NamedTuple):
    """The evaluation with the lowest validation loss so far. Before the first one: the start, at an infinite loss."""

    step: jax.Array
    loss: jax.Array
    params: Any
    stats: Any
    waited: jax.Array  # evaluations since


class TrialState(NamedTuple):
    step: jax.Array  # updates done
    status: jax.Array
    params: Any
    stats: Any  # BatchNorm's running statistics
    optimizer: Any  # optax's state
    best: Best
    flaw: jax.Array  # where a diverged trial's numbers first were not finite: a place in `flaws`


class Stream(enum.IntEnum):
    """The independent random streams of a seed."""

    START = 0
    BATCHES = 1
    NOISE = 2


def stream(seed: jax.typing.ArrayLike, which: Stream, step: jax.typing.ArrayLike = 0) -> jax.Array:
    """The key of one step of one random stream: a function of the seed and the step, so that resuming needs no saved key."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), which), step)


def init(task: Task, config: Config, key: jax.Array) -> TrialState:
    """The state before the first step; `config` is lowered (`optimizers.lower`)."""
    params, stats = task.init(config, key)
    zero = jnp.zeros((), jnp.int32)
    opened = transformation(config.optimizer, zero).init(params)  # pyright: ignore[reportArgumentType]  (lowered)
    best = Best(zero, jnp.asarray(jnp.inf, jnp.float32), params, stats, zero)
    return TrialState(zero, jnp.asarray(Status.RUNNING, jnp.int32), params, stats, opened, best, zero)


def rows(config: Config, count: int, step: jax.Array, more: int = 0) -> jax.Array:
    """Which rows of `count` make the batch of a step: (B,), drawn with replacement. Trials of one seed get the same ones.

    In the first train.pretrain steps they are of the `more` rows behind these.
    """
    key, size = stream(config.seed, Stream.BATCHES, step), (config.train.batch_size,)
    if config.train.pretrain is None or not more:
        return jax.random.randint(key, size, 0, count)
    early = step < config.train.pretrain
    return jax.random.randint(key, size, jnp.where(early, count, 0), jnp.where(early, count + more, count))


def pool(config: Config, train: Any, source: Any) -> tuple[Any, int, int]:
    """What a config's batches are drawn from, and how many of its rows are of the training part and of the source."""
    own = jax.tree.leaves(train)[0].shape[0]
    if config.train.pretrain is None or source is None:
        return train, own, 0
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), train, source), own, jax.tree.leaves(source)[0].shape[0]


def draw(split: Any, config: Config, step: jax.Array, source: Any = None) -> Any:
    """The batch of a step: B rows of a split, or of the source in the first train.pretrain steps (`rows`)."""
    split, own, more = pool(config, split, source)
    index = rows(config, own, step, more)
    return jax.tree.map(lambda x: x[index], split)


def objective(
    task: Task, config: Config, state: TrialState, batch: Any, params: Any
) -> tuple[jax.Array, tuple[jax.Array, Any]]:
    """What a step minimises at `params` in place of the state's own: (with penalties, (the batch's mean loss, new stats))."""
    loss, stats = task.loss(config, params, state.stats, batch, stream(config.seed, Stream.NOISE, state.step))
    return loss + penalty(config, params), (loss, stats)


def advance(task: Task, config: Config, state: TrialState, batch: Any) -> tuple[TrialState, dict[str, jax.Array]]:
    """One step on one batch, in which only the loss is looked at: where it is not finite the trial is marked diverged.

    A state that is not running, or past its budget, is returned as it is. To look at every number of a state costs as much
    as the optimizer itself, so who takes many steps looks now and then (`sound`) and goes back where needed; `update` looks
    at each.

    Returns:
      the new state, and the step's metrics: "loss", the batch's mean without penalties.
    """

    gradient = jax.value_and_grad(lambda params: objective(task, config, state, batch, params), has_aux=True)
    (total, (loss, stats)), grads = gradient(state.params)
    chain = transformation(config.optimizer, state.step)  # pyright: ignore[reportArgumentType]  (lowered)
    updates, opened = chain.update(grads, state.optimizer, state.params)
    params = constrain(config, optax.apply_updates(state.params, updates))
    params = hold(config, state.step, state.params, params)

    going = (state.status == Status.RUNNING) & (state.step < config.train.steps)
    old = (state.params, state.stats, state.optimizer)
    params, stats, opened = where(going, (params, stats, opened), old)
    status = jnp.where(going & ~jnp.isfinite(total), Status.DIVERGED, state.status)
    return TrialState(state.step + going, status, params, stats, opened, state.best, state.flaw), {"loss": loss}


def flaws(state: TrialState) -> list[str]:
    """What can go bad in a trial, in the order in which a step computes it; the validation loss comes after all steps."""

    def names(part: str) -> list[str]:
        leaves = jax.tree_util.tree_leaves_with_path(getattr(state, part))
        return [
            f"{part}.{jax.tree_util.keystr(path, simple=True, separator='.')}"
            for path, leaf in leaves
            if jnp.issubdtype(leaf.dtype, jnp.floating)
        ]

    return [*names("stats"), "loss", *names("optimizer"), *names("params"), "validation loss"]


def flaw(state: TrialState) -> jax.Array:
    """The first of `flaws` that is not finite, -1 if all are. What is not stays so: infinities and NaN spread."""

    def finite(tree: Any) -> list[jax.Array]:
        return [jnp.isfinite(x).all() for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]

    found = [*finite(state.stats), state.status != Status.DIVERGED, *finite(state.optimizer), *finite(state.params)]
    sound = jnp.stack(found)
    return jnp.where(sound.all(), -1, jnp.argmin(sound)).astype(jnp.int32)


def update(task: Task, config: Config, state: TrialState, batch: Any) -> tuple[TrialState, dict[str, jax.Array]]:
    """One step on one batch (`advance`). Where the loss, or anything that the step computed, is not finite, the state before
    it is kept whole (BatchNorm's statistics too) and marked diverged."""
    new, metrics = advance(task, config, state, batch)
    bad = flaw(new)
    before = state.status == Status.DIVERGED
    return where(bad < 0, new, diverged(state, jnp.where(before, state.flaw, bad))), metrics


def diverged(state: TrialState, bad: jax.Array) -> TrialState:
    """The state, as that of a trial that diverged in its next step, in `bad`."""
    return state._replace(status=jnp.full_like(state.status, Status.DIVERGED), flaw=bad)


def evaluate(task: Task, config: Config, state: TrialState | Best, split: Any, chunk: int = 1024) -> dict[str, jax.Array]:
    """Mean loss over a whole split, in evaluation mode, `chunk` rows at a time."""
    rows = jax.tree.leaves(split)[0].shape[0]
    chunk = min(chunk, rows)
    padding = -rows % chunk  # rows that count nothing, so that one chunk's program does for all

    def total(part: tuple[Any, jax.Array]) -> jax.Array:
        return jnp.where(part[1], task.losses(config, state.params, state.stats, part[0]), 0.0).sum()

    padded = jax.tree.map(lambda x: jnp.pad(x, ((0, padding), *((0, 0),) * (x.ndim - 1))), split)
    parts = jax.tree.map(lambda x: x.reshape(-1, chunk, *x.shape[1:]), (padded, jnp.arange(rows + padding) < rows))
    return {"loss": jax.lax.map(total, parts).sum() / rows}


def track(config: Config, state: TrialState, loss: jax.Array) -> TrialState:
    """The state after an evaluation: the best so far is kept, patience and the step budget end the trial."""
    running = state.status == Status.RUNNING
    better = running & (loss < state.best.loss)
    waited = jnp.where(better, 0, state.best.waited + running)
    here = Best(state.step, loss, state.params, state.stats, waited)
    best = where(better, here, state.best._replace(waited=waited))
    out_of_patience = (jnp.asarray(config.train.patience) > 0) & (waited >= config.train.patience)
    ended = jnp.where(out_of_patience, Status.STOPPED, Status.RUNNING)
    ended = jnp.where(state.step >= config.train.steps, Status.COMPLETED, ended)
    ended = jnp.where(jnp.isfinite(loss), ended, Status.DIVERGED)
    bad = jnp.where(running & ~jnp.isfinite(loss), len(flaws(state)) - 1, state.flaw)
    return state._replace(best=best, status=jnp.where(running, ended, state.status), flaw=bad)


def where(condition: jax.Array, yes: Any, no: Any) -> Any:
    """One tree or the other, as a whole; where the condition has axes they are the trees' first ones."""

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(condition.reshape(*condition.shape, *(1,) * (a.ndim - condition.ndim)), a, b)

    return jax.tree.map(choose, yes, no)
