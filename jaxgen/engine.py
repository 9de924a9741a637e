"""A pool of lanes and a queue of trials: lanes train side by side, and a lane whose trial ends takes the next one.

An iterator of events and no printing. It knows a task by its functions alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxgen import trial as trials
from jaxgen.config import Config
from jaxgen.objective import Task
from jaxgen.plan import Plan
from jaxgen.sweep import Group
from jaxgen.trial import Best, Status, TrialState

LANES = "lanes"


class Data(NamedTuple):
    """What the lanes of a group read: a task's splits, each a pytree of arrays that share their first axis."""

    train: Any
    validation: Any
    test: Any
    train_part: Any  # as large as the validation split, for the train loss of the results
    train_curve: Any  # small fixed parts, for the curves
    validation_curve: Any


def prepare(train: Any, validation: Any, test: Any, curve: int = 2048) -> Data:
    """The data of a group. `curve`: rows of the parts that curves come from (the first ones: splits come shuffled)."""

    def head(split: Any, rows: int) -> Any:
        return jax.tree.map(lambda x: x[:rows], split)

    size = len(jax.tree.leaves(validation)[0])
    data = Data(train, validation, test, head(train, size), head(train, min(curve, size)), head(validation, curve))
    return jax.tree.map(jnp.asarray, data)


class Pool(NamedTuple):
    """The lanes: every leaf has a first axis of the plan's width."""

    config: Config
    state: TrialState


@dataclass(frozen=True)
class Position:
    """Where a sweep stands between two segments: all that is needed to go on."""

    group: int
    taken: int  # trials of the group that left the queue
    lanes: tuple[int | None, ...]  # the trial in each lane
    pool: Pool | None  # valid until the next event; None: the group has not begun


@dataclass(frozen=True)
class Evaluated:
    """A trial was evaluated on the curve parts."""

    trial: int
    step: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Ended:
    """A trial ended; the losses are those of its best step, over whole splits (train: a part as large as validation)."""

    trial: int
    status: Status
    steps: int
    best_step: int
    losses: dict[str, float]
    params: Any
    stats: Any


@dataclass(frozen=True)
class SegmentDone:
    """All lanes went through a segment, and this is where the group stands."""

    position: Position


Event = Evaluated | Ended | SegmentDone


class Programs(NamedTuple):
    """The compiled functions of a group."""

    fill: Callable[[Pool, Config, jax.Array], Pool]
    segment: Callable[[Pool, Data], tuple[Pool, dict[str, jax.Array]]]
    finish: Callable[[Pool, Data, jax.Array], dict[str, jax.Array]]


def mesh_of(plan: Plan) -> jax.sharding.Mesh:
    """The plan's devices in a row; the trial axis lies along it."""
    return jax.make_mesh((plan.devices,), (LANES,), axis_types=(AxisType.Auto,), devices=jax.local_devices()[: plan.devices])


def over_lanes(lane: Callable[..., Any], idle: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    """`lane(config, state, data)` for every lane of a pool: sharded over devices, mapped over chunks, vmapped within one.

    There are no collectives between lanes. A chunk without an active lane costs nothing: `idle` makes its result.
    """

    def chunk(active: jax.Array, pool: Pool, data: Data) -> Any:
        def work() -> Any:
            return jax.vmap(lambda config, state: lane(config, state, data))(pool.config, pool.state)

        return jax.lax.cond(active.any(), work, lambda: jax.vmap(idle)(pool.config, pool.state))

    def shard(active: jax.Array, pool: Pool, data: Data) -> Any:
        chunks = jax.tree.map(lambda x: x.reshape(-1, plan.chunk, *x.shape[1:]), (active, pool))
        results = jax.lax.map(lambda part: chunk(part[0], part[1], data), chunks)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), results)

    lanes, whole = PartitionSpec(LANES), PartitionSpec()
    return jax.shard_map(shard, mesh=mesh_of(plan), in_specs=(lanes, lanes, whole), out_specs=lanes, check_vma=False)


def segment_of(task: Task, config: Config, state: TrialState, data: Data) -> tuple[TrialState, dict[str, jax.Array]]:
    """One lane's segment: `train.eval_every` updates, then an evaluation on the curve parts."""

    def step(state: TrialState, _: None) -> tuple[TrialState, None]:
        batch = trials.draw(data.train, config, state.step)
        return trials.update(task, config, state, batch)[0], None

    state, _ = jax.lax.scan(step, state, length=config.train.eval_every)
    train = trials.evaluate(task, config, state, data.train_curve)
    validation = trials.evaluate(task, config, state, data.validation_curve)
    state = trials.track(config, state, validation["loss"])
    return state, _segment_metrics(state, train["loss"], validation["loss"])


def _segment_metrics(state: TrialState, train: jax.Array, validation: jax.Array) -> dict[str, jax.Array]:
    return {
        "train_loss": train,
        "val_loss": validation,
        "step": state.step,
        "status": state.status,
        "best_step": state.best.step,
    }


def finish_of(task: Task, config: Config, best: Best, data: Data) -> dict[str, jax.Array]:
    """One lane's losses at its best step, over whole splits."""
    parts = {"train_loss": data.train_part, "val_loss": data.validation, "test_loss": data.test}
    return {name: trials.evaluate(task, config, best, part)["loss"] for name, part in parts.items()}


@functools.lru_cache(maxsize=16)  # so that a second sweep of the same structure in one process does not compile again
def programs(task: Task, plan: Plan) -> Programs:
    """The functions of a group, not yet compiled; jit compiles each once for a structure of configs, at its first call."""
    sharding = NamedSharding(mesh_of(plan), PartitionSpec(LANES))
    zero = jnp.zeros((), jnp.float32)

    def fill(pool: Pool, incoming: Config, places: jax.Array) -> Pool:
        state = jax.vmap(lambda c: trials.init(task, c, trials.stream(c.seed, trials.Stream.START)))(incoming)

        def put(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(places.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

        return jax.tree.map(put, Pool(incoming, state), pool)

    segment_lanes = over_lanes(
        functools.partial(segment_of, task), lambda config, state: (state, _segment_metrics(state, zero, zero)), plan
    )
    finish_lanes = over_lanes(
        lambda config, state, data: finish_of(task, config, state.best, data),
        lambda config, state: dict.fromkeys(("train_loss", "val_loss", "test_loss"), zero),
        plan,
    )

    def segment(pool: Pool, data: Data) -> tuple[Pool, dict[str, jax.Array]]:
        state, metrics = segment_lanes(pool.state.status == Status.RUNNING, pool, data)
        return Pool(pool.config, state), metrics

    def finish(pool: Pool, data: Data, ended: jax.Array) -> dict[str, jax.Array]:
        return finish_lanes(ended, pool, data)

    return Programs(
        jax.jit(fill, donate_argnums=0, out_shardings=sharding),
        jax.jit(segment, donate_argnums=0),
        jax.jit(finish),
    )


def stack(configs: list[Config]) -> Config:
    """Configs of one structure as one, each leaf with a first axis of trials."""

    def column(*leaves: Any) -> np.ndarray:
        array = np.stack([np.asarray(leaf) for leaf in leaves])
        return array.astype(np.int32 if np.issubdtype(array.dtype, np.integer) else np.float32)

    return jax.tree.map(column, *configs)


def pool_shape(task: Task, config: Config, width: int) -> Pool:
    """The shapes and types of a pool of `width` lanes."""
    state = jax.eval_shape(
        lambda c: trials.init(task, c, trials.stream(c.seed, trials.Stream.START)),
        jax.tree.map(lambda x: x[0], stack([config])),
    )
    pool = Pool(jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), stack([config])), state)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((width, *x.shape), x.dtype), pool)


def empty(task: Task, config: Config, plan: Plan) -> Pool:
    """A pool in which no lane is running."""
    pool = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), pool_shape(task, config, plan.width))
    pool.state.status[:] = Status.COMPLETED
    return jax.device_put(pool, NamedSharding(mesh_of(plan), PartitionSpec(LANES)))


def train(task: Task, data: Data, group: Group, plan: Plan, number: int = 0, start: Position | None = None) -> Iterator[Event]:
    """Trains every trial of a group and yields what happens.

    Args:
      task: the functions of the task.
      data: what `prepare` returned.
      group: the trials, from `sweep.groups`.
      plan: the lanes.
      number: the group's place among the groups of its sweep.
      start: where to go on; the pool's arrays may lie on the host.
    """
    run = programs(task, plan)
    sharding = NamedSharding(mesh_of(plan), PartitionSpec(LANES))
    data = jax.device_put(data, NamedSharding(mesh_of(plan), PartitionSpec()))
    if start is None or start.pool is None:
        start = Position(number, 0, (None,) * plan.width, empty(task, group.static, plan))
    lanes, taken = list(start.lanes), start.taken
    pool = jax.device_put(start.pool, sharding)
    while True:
        free = [lane for lane, trial in enumerate(lanes) if trial is None]
        places = free[: len(group.trials) - taken]
        if places:
            incoming = [group.static] * plan.width
            for lane in places:
                incoming[lane], lanes[lane] = group.configs[taken], group.trials[taken]
                taken += 1
            mask = np.isin(np.arange(plan.width), places)
            pool = run.fill(pool, *jax.device_put((stack(incoming), mask), sharding))
        occupied = [(lane, trial) for lane, trial in enumerate(lanes) if trial is not None]
        if not occupied:
            return
        pool, on_device = run.segment(pool, data)
        metrics = jax.device_get(on_device)  # the segment's one transfer
        for lane, trial in occupied:
            values = {name: float(metrics[name][lane]) for name in ("train_loss", "val_loss")}
            yield Evaluated(trial, int(metrics["step"][lane]), values)
        ended = [lane for lane, _ in occupied if metrics["status"][lane] != Status.RUNNING]
        if ended:
            mask = np.isin(np.arange(plan.width), ended)
            losses = jax.device_get(run.finish(pool, data, jax.device_put(mask, sharding)))
            best = jax.device_get((pool.state.best.params, pool.state.best.stats))
            for lane in ended:
                trial, lanes[lane] = lanes[lane], None
                assert trial is not None
                params, stats = jax.tree.map(lambda x, lane=lane: x[lane], best)
                values = {name: float(column[lane]) for name, column in losses.items()}
                status, steps, best_step = (int(metrics[name][lane]) for name in ("status", "step", "best_step"))
                yield Ended(trial, Status(status), steps, best_step, values, params, stats)
        yield SegmentDone(replace(start, taken=taken, lanes=tuple(lanes), pool=pool))
