"""One trial is three pure functions: init, update, evaluate. They know nothing of lanes, devices, files or other trials.

Examples:
  >>> config = task.config()
  >>> numbers, functions = jaxgen.lower(config, windows=160), task.opened(config.data).functions()
  >>> state = jaxgen.trial.init(functions, numbers, jax.random.key(0))
  >>> state, metrics = jaxgen.trial.update(functions, numbers, state, (x[:32], y[:32]))
  >>> float(jaxgen.trial.evaluate(functions, numbers, state, (x, y))["loss"]) > 0
  True
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Int32, Num, PRNGKeyArray

from jaxgen.config import Config
from jaxgen.train.functions import Functions, mean, sums, weighed
from jaxgen.train.lookup import few
from jaxgen.train.objective import constrain, hold, penalty
from jaxgen.train.optimizers import transformation
from jaxgen.train.order import in_epochs

CHUNK = 1024  # rows that are evaluated at once


class Status(enum.IntEnum):
    """How a trial stands; an array of these travels with the state."""

    RUNNING = 0
    COMPLETED = 1
    STOPPED = 2
    DIVERGED = 3


class Best(NamedTuple):
    """The best evaluation so far. Before the first one: the start, at an infinite cost."""

    step: jax.Array
    loss: jax.Array  # its cost: the selecting metric on validation, or minus it where more is better
    params: Any
    stats: Any
    waited: jax.Array  # evaluations since


class TrialState(NamedTuple):
    step: jax.Array  # updates done
    status: jax.Array
    params: Any
    stats: Any  # every collection that is not trained, such as BatchNorm's running statistics
    optimizer: Any  # optax's state
    best: Best
    flaw: jax.Array  # where a diverged trial's numbers first were not finite: a place in `flaws`


class Stream(enum.IntEnum):
    """The independent random streams of a seed."""

    START = 0
    BATCHES = 1
    NOISE = 2
    EVALUATION = 3
    EPOCHS = 4
    SEEN = 5


def stream(seed: jax.typing.ArrayLike, which: Stream, step: jax.typing.ArrayLike = 0) -> PRNGKeyArray:
    """The key of one step of one random stream: a function of the seed and the step, so that resuming needs no saved key."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), which), step)


def init(task: Functions, config: Config, key: PRNGKeyArray) -> TrialState:
    """The state before the first step; `config` is lowered (`optimizers.lower`)."""
    params, stats = task.init(config, key)
    zero = jnp.zeros((), jnp.int32)
    chain = transformation(config.optimizer, zero)  # pyright: ignore[reportArgumentType]  (lowered)
    opened = chain.init(params) if task.pace is None else [chain.init(part) for part in parts_of(task, config, zero, params)[1]]
    best = Best(zero, jnp.asarray(jnp.inf, jnp.float32), params, stats, zero)
    return TrialState(zero, jnp.asarray(Status.RUNNING, jnp.int32), params, stats, opened, best, zero)


class Span(NamedTuple):
    """Rows of a pool that batches are drawn from: the first of them, and how many; numbers or traced."""

    first: Any
    count: Any


def rows(config: Config, own: Span, step: Int[Array, ""], other: Span | None = None) -> Int32[Array, " batch"]:
    """Which rows make the batch of a step: (B,), by `train.draw`. Trials of one seed get the same ones.

    Args:
      own: the rows of the training part.
      other: those of the source, of which the batches of the first train.pretrain steps are.
    """
    size = config.train.batch_size
    early = None if config.train.pretrain is None or other is None else step < config.train.pretrain
    if config.train.draw == "epochs":
        key = stream(config.seed, Stream.EPOCHS)
        if early is None or other is None:
            return own.first + in_epochs(key, step, size, own.count)
        later = jnp.maximum(step - jnp.asarray(config.train.pretrain), 0)
        then = own.first + in_epochs(key, later, size, own.count)
        return jnp.where(early, other.first + in_epochs(key, step, size, other.count), then)
    key = stream(config.seed, Stream.BATCHES, step)
    if early is None or other is None:
        return jax.random.randint(key, (size,), own.first, own.first + own.count)
    low = jnp.where(early, other.first, own.first)
    return jax.random.randint(key, (size,), low, low + jnp.where(early, other.count, own.count))


def pool(
    config: Config, train: Any, source: Any, counts: Mapping[str, jax.Array] | None = None
) -> tuple[Any, Span, Span | None]:
    """What a config's batches are drawn from, and which of its rows are of the training part and of the source.

    Args:
      counts: how many rows count, where the arrays are longer.
    """
    length = jax.tree.leaves(train)[0].shape[0]
    own = Span(0, length if counts is None else counts["train"])
    if config.train.pretrain is None or source is None:
        return train, own, None
    other = Span(length, jax.tree.leaves(source)[0].shape[0] if counts is None else counts["source"])
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), train, source), own, other


def draw(task: Functions, split: Any, config: Config, step: Int[Array, ""], source: Any = None) -> Any:
    """The batch of a step: B rows of a split, or of the source in the first train.pretrain steps (`rows`), as the task sees
    them."""
    split, own, other = pool(config, split, source)
    index = rows(config, own, step, other)
    return seen(task, config, jax.tree.map(lambda x: jnp.asarray(x)[index], split), step)


def seen(task: Functions, config: Config, drawn: Any, step: jax.Array) -> Any:
    """What a step sees of the rows that were drawn for it."""
    return drawn if task.batch is None else task.batch(config, drawn, stream(config.seed, Stream.SEEN, step), step)


def objective(
    task: Functions, config: Config, state: TrialState, batch: Any, params: Any
) -> tuple[jax.Array, tuple[jax.Array, Any]]:
    """What a step minimises at `params` in place of the state's own: (with penalties, (the batch's mean loss, new stats))."""
    assert task.loss is not None
    found, stats = task.loss(config, params, state.stats, batch, stream(config.seed, Stream.NOISE, state.step), state.step)
    loss = mean(weighed(found))
    return loss + penalty(config, params), (loss, stats)


def descent(task: Functions, config: Config, state: TrialState, batch: Any) -> tuple[jax.Array, jax.Array, Any, Any]:
    """A step's (objective, loss without penalties, gradients, new stats): the task's own gradients, or those of its loss."""
    key = stream(config.seed, Stream.NOISE, state.step)
    own = None if task.gradients is None else task.gradients(config, state.params, state.stats, batch, key, state.step)
    if own is None:
        gradient = jax.value_and_grad(lambda params: objective(task, config, state, batch, params), has_aux=True)
        (total, (loss, stats)), grads = gradient(state.params)
        return total, loss, grads, stats
    found, grads, stats = own
    loss = mean(weighed(found))
    if config.regularizer.l1 is not None or config.regularizer.l2 is not None:
        grads = jax.tree.map(jnp.add, grads, jax.grad(lambda params: penalty(config, params))(state.params))
    return loss + penalty(config, state.params), loss, grads, stats


def parts_of(task: Functions, config: Config, step: jax.Array, tree: Any) -> tuple[Any, list[Any]]:
    """The paces of a task's parts at a step, a tree, and the parts of a tree like the parameters that stand at its leaves."""
    assert task.pace is not None
    pace = task.pace(config, step)
    return pace, jax.tree.structure(pace).flatten_up_to(tree)


def updates(task: Functions, config: Config, state: TrialState, grads: Any) -> tuple[Any, Any]:
    """What a step adds to the parameters, and the optimizer's new state; where a task has parts, each has its own optimizer."""
    chain = transformation(config.optimizer, state.step)  # pyright: ignore[reportArgumentType]  (lowered)
    if task.pace is None:
        return chain.update(grads, state.optimizer, state.params)
    (pace, params), (_, parts) = (parts_of(task, config, state.step, tree) for tree in (state.params, grads))
    found = [chain.update(slope, kept, mine) for slope, kept, mine in zip(parts, state.optimizer, params, strict=True)]
    paced = [jax.tree.map(lambda u, p=p: p * u, added) for p, (added, _) in zip(jax.tree.leaves(pace), found, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(pace), paced), [kept for _, kept in found]


def moved(task: Functions, config: Config, state: TrialState, grads: Any) -> tuple[Any, Any]:
    """The parameters and the optimizer's state after a step. A part whose pace is 0 rests, and its optimizer with it."""
    added, opened = updates(task, config, state, grads)
    params = constrain(config, optax.apply_updates(state.params, added))
    if task.pace is None:
        return params, opened
    (pace, new), (_, old) = (parts_of(task, config, state.step, tree) for tree in (params, state.params))
    both = [
        where(jnp.asarray(speed) != 0, after, before)
        for speed, after, before in zip(
            jax.tree.leaves(pace), zip(new, opened, strict=True), zip(old, state.optimizer, strict=True), strict=True
        )
    ]
    return jax.tree.unflatten(jax.tree.structure(pace), [part for part, _ in both]), [kept for _, kept in both]


def advance(
    task: Functions, config: Config, state: TrialState, batch: Any, limit: jax.Array | None = None
) -> tuple[TrialState, dict[str, jax.Array]]:
    """One step on one batch, in which only the loss is looked at: where it is not finite the trial is marked diverged.

    A state that is not running, or past its budget, is returned as it is. To look at every number of a state costs as much
    as the optimizer itself, so who takes many steps looks now and then (`sound`) and goes back where needed; `update` looks
    at each.

    Args:
      limit: a step from which on a state is returned as it is, below the budget.

    Returns:
      the new state, and the step's metrics: "loss", the batch's mean without penalties.
    """
    if task.lookup is None or not config.optimizer.local:
        return _advance(task, config, state, batch, limit)
    read, batch, back = few(task.lookup, config, state, batch)
    new, metrics = _advance(task, config, read, batch, limit)
    return back(new), metrics


def _advance(
    task: Functions, config: Config, state: TrialState, batch: Any, limit: jax.Array | None
) -> tuple[TrialState, dict[str, jax.Array]]:
    total, loss, grads, stats = descent(task, config, state, batch)
    params, opened = moved(task, config, state, grads)
    params = hold(config, state.step, state.params, params, task.layers)

    going = (state.status == Status.RUNNING) & (state.step < (config.train.steps if limit is None else limit))
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


def flaw(state: TrialState) -> Int32[Array, ""]:
    """The first of `flaws` that is not finite, -1 if all are. What is not stays so: infinities and NaN spread."""

    def finite(tree: Any) -> list[jax.Array]:
        return [jnp.isfinite(x).all() for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]

    found = [*finite(state.stats), state.status != Status.DIVERGED, *finite(state.optimizer), *finite(state.params)]
    sound = jnp.stack(found)
    return jnp.where(sound.all(), -1, jnp.argmin(sound)).astype(jnp.int32)


def update(task: Functions, config: Config, state: TrialState, batch: Any) -> tuple[TrialState, dict[str, jax.Array]]:
    """One step on one batch (`advance`). Where the loss, or anything that the step computed, is not finite, the state before
    it is kept whole (BatchNorm's statistics too) and marked diverged."""
    new, metrics = advance(task, config, state, batch)
    bad = flaw(new)
    before = state.status == Status.DIVERGED
    return where(bad < 0, new, diverged(state, jnp.where(before, state.flaw, bad))), metrics


def diverged(state: TrialState, bad: jax.Array) -> TrialState:
    """The state, as that of a trial that diverged in its next step, in `bad`."""
    return state._replace(status=jnp.full_like(state.status, Status.DIVERGED), flaw=bad)


def evaluate(
    task: Functions, config: Config, state: TrialState | Best, split: Any, chunk: int = CHUNK, count: Any = None
) -> dict[str, jax.Array]:
    """The task's metrics over a whole split, in evaluation mode: means over its rows, `chunk` of them at a time, and others.

    Args:
      count: how many of the rows count, where the arrays are longer; None: all.

    What is drawn at random comes from a row's place in the split, the same for all trials and steps: it is no noise between
    them.
    """
    key = stream(0, Stream.EVALUATION)
    found: dict[str, jax.Array] = {}
    if task.score is not None:
        found |= means(task, config, state, split, chunk, key, count)
    if task.evaluate is not None:
        found |= task.evaluate(config, state.params, state.stats, split, key)
    return found


def means(
    task: Functions, config: Config, state: TrialState | Best, split: Any, chunk: int, key: jax.Array, count: Any = None
) -> dict[str, jax.Array]:
    """The weighted means over a split's rows, or their roots; nan where nothing has a weight."""
    assert task.score is not None
    score = task.score
    length = jax.tree.leaves(split)[0].shape[0]
    rows = length if count is None else count
    chunk = min(chunk, length)
    padding = -length % chunk  # rows that count nothing, so that one chunk's program does for all
    whole: set[str] = set()  # the metrics in which each row counts 1
    roots: set[str] = set()  # those that are the root of their mean

    def total(part: tuple[Any, jax.Array]) -> dict[str, tuple[jax.Array, jax.Array | int]]:
        given, places = part
        keys = jax.vmap(lambda place: jax.random.fold_in(key, place))(places)
        each = {name: weighed(one) for name, one in score(config, state.params, state.stats, given, keys).items()}
        whole.update(name for name, one in each.items() if one.weights is None and one.values.ndim == 1)
        roots.update(name for name, one in each.items() if one.root)
        return {name: sums(one, places < rows) for name, one in each.items()}

    padded = jax.tree.map(lambda x: jnp.pad(x, ((0, padding), *((0, 0),) * (x.ndim - 1))), split)
    parts = jax.tree.map(lambda x: x.reshape(-1, chunk, *x.shape[1:]), (padded, jnp.arange(length + padding)))
    found = jax.lax.map(total, parts)
    # By a product with a number that is known as a program is compiled, and by the same one where that is not known.
    share = 1 / rows if count is None else jnp.reciprocal(count.astype(jnp.float32))
    averages = {name: x.sum() * share if name in whole else x.sum() / weight.sum() for name, (x, weight) in found.items()}
    return {name: jnp.sqrt(x) if name in roots else x for name, x in averages.items()}


def cost(task: Functions, metrics: dict[str, jax.Array]) -> jax.Array:
    """What the best step has the least of."""
    return -metrics[task.metric] if task.higher_is_better else metrics[task.metric]


def track(config: Config, state: TrialState, loss: Num[Array, ""]) -> TrialState:
    """The state after an evaluation: the best so far is kept, patience and the step budget end the trial."""
    running = state.status == Status.RUNNING
    better = running & (loss < state.best.loss)
    waited = jnp.where(better, 0, state.best.waited + running)
    here = Best(state.step, loss, state.params, state.stats, waited)
    best = where(better, here, state.best._replace(waited=waited))
    out_of_patience = (jnp.asarray(config.train.patience) > 0) & (waited >= config.train.patience)
    ended = jnp.where(state.step >= config.train.steps, Status.COMPLETED, Status.RUNNING)
    ended = jnp.where(out_of_patience, Status.STOPPED, ended)  # whatever the budget: with a larger one it ends here, too
    ended = jnp.where(jnp.isfinite(loss), ended, Status.DIVERGED)
    bad = jnp.where(running & ~jnp.isfinite(loss), len(flaws(state)) - 1, state.flaw)
    return state._replace(best=best, status=jnp.where(running, ended, state.status), flaw=bad)


def where(condition: jax.Array, yes: Any, no: Any) -> Any:
    """One tree or the other, as a whole; where the condition has axes they are the trees' first ones."""

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(condition.reshape(*condition.shape, *(1,) * (a.ndim - condition.ndim)), a, b)

    return jax.tree.map(choose, yes, no)
