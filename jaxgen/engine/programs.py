"""What a group's lanes compute: fill a lane, train a segment, evaluate trials that end; over chunks and devices.

They know a task by its functions alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxgen.config import Config
from jaxgen.engine import plan as plans
from jaxgen.engine.plan import Plan
from jaxgen.engine.precision import precisely
from jaxgen.tasks.rows import Splits, size
from jaxgen.train import trial as trials
from jaxgen.train.diagnostics import diagnose
from jaxgen.train.functions import Functions
from jaxgen.train.trial import Best, Status, TrialState

LANES = "lanes"
CURVE, LAYERS, BEGAN = "curve", "layers", "began"  # what a segment adds to its metrics where layers are looked at


class Data(NamedTuple):
    """What the lanes of a group read: a task's splits, each a pytree of arrays that share their first axis."""

    train: Any  # what batches are drawn from
    validation: Any
    test: Any  # None: there is none
    train_part: Any  # as large as the validation split, for the train loss of the results
    curves: Any  # small fixed parts of train and validation, for the curves: each array has a first axis of two
    dev: Any = None  # like train, and not trained on
    source: Any = None  # what the first steps train on
    counts: Any = None  # part -> how many of its rows count, where arrays are longer than they need to be


def prepare(splits: Splits, curve: int = 2048) -> Data:
    """The data of a group, on the host.

    Args:
      curve: rows of the parts that curves come from (the first ones: splits come shuffled).
    """

    def head(split: Any, rows: int) -> Any:
        return jax.tree.map(lambda x: x[:rows], split)

    validation, learnt = size(splits.validation), size(splits.train)
    rows = min(curve, validation)
    rows -= rows % learnt if learnt < rows else 0  # few training rows come again and again, each as often as the others
    curves = jax.tree.map(
        lambda a, b: np.stack([np.resize(a[:rows], b[:rows].shape), b[:rows]]), splits.train, splits.validation
    )
    drawn = splits.train if splits.batches is None else splits.batches
    part = head(splits.train, validation)
    return Data(drawn, splits.validation, splits.test, part, curves, splits.dev, splits.source)


def lengths(data: Data) -> dict[str, int]:
    """How many rows each part has: 0 where there is none."""
    parts = data._asdict() | {"curves": jax.tree.map(lambda x: x[0], data.curves)}
    return {name: 0 if part is None else size(part) for name, part in parts.items() if name != "counts"}


def padded(data: Data, longest: Mapping[str, int]) -> Data:
    """The data with as many rows in each part as `longest` says, of which those that were there count.

    So groups that read other splits of the same rows share a program.
    """
    counts = {name: np.int32(count) for name, count in lengths(data).items() if count}

    def fill(part: Any, rows: int, axis: int = 0) -> Any:
        def pad(x: np.ndarray) -> np.ndarray:
            return np.pad(x, [(0, rows - x.shape[axis]) if i == axis else (0, 0) for i in range(x.ndim)])

        return jax.tree.map(pad, part)

    parts = {name: fill(getattr(data, name), longest[name], axis=name == "curves") for name in counts}
    return data._replace(**parts, counts=counts)


class Programs(NamedTuple):
    """The compiled functions of a group. What they take and give has a first axis of the plan's width, but for the data.

    `finish` takes trials that end, which are few at a time: the places of as many lanes as it has seats (`finishing_plan`),
    each among the lanes of its own device, and which seats are used. It gives their metrics and their states.
    """

    fill: Callable[[Config, TrialState, jax.Array], TrialState]
    segment: Callable[[Config, TrialState, Data], tuple[TrialState, dict[str, Any]]]
    finish: Callable[[Config, TrialState, Data, jax.Array, jax.Array], tuple[dict[str, jax.Array], TrialState]]
    move: Callable[[Any, jax.Array], Any]
    """Anything of the lanes in another order; it gives up what it takes."""


def mesh_of(plan: Plan) -> Mesh:
    """The plan's devices in a row; the trial axis lies along it."""
    return jax.make_mesh((plan.devices,), (LANES,), axis_types=(AxisType.Auto,), devices=jax.local_devices()[: plan.devices])


def by_lane(plan: Plan) -> NamedSharding:
    """Where arrays lie whose first axis is the lanes."""
    return NamedSharding(mesh_of(plan), PartitionSpec(LANES))


def everywhere(plan: Plan) -> NamedSharding:
    """Where arrays lie that every device reads whole."""
    return NamedSharding(mesh_of(plan), PartitionSpec())


def over_lanes(work: Callable[..., Any], keep: Callable[[Any, Any], Any], plan: Plan, mesh: Mesh) -> Callable[..., Any]:
    """`work(active, config, state, data)` on lanes: sharded over a mesh, and on each device, chunk after chunk of its lanes.

    What `work` is given has a first axis of the plan's chunk. There are no collectives between lanes. A chunk without an
    active lane costs nothing: `keep(state, zeros)` makes its result, from zeros like those of `work`.
    """

    def chunk(active: jax.Array, config: Config, state: Any, data: Data) -> Any:
        # Traced once, for what it computes and for the shapes of what it gives: tracing is much of a small run's time.
        given = (active, config, state, data)
        traced, shapes = jax.make_jaxpr(work, return_shape=True)(*given)

        def busy() -> Any:
            return jax.tree.unflatten(jax.tree.structure(shapes), jaxpr_as_fun(traced)(*jax.tree.leaves(given)))

        def idle() -> Any:
            return keep(state, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes))

        return jax.lax.cond(active.any(), busy, idle)

    def shard(active: jax.Array, config: Config, state: Any, data: Data) -> Any:
        chunks = jax.tree.map(lambda x: x.reshape(-1, plan.chunk, *x.shape[1:]), (active, config, state))
        results = jax.lax.map(lambda part: chunk(part[0], part[1], part[2], data), chunks)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), results)

    lanes, whole = PartitionSpec(LANES), PartitionSpec()
    return jax.shard_map(shard, mesh=mesh, in_specs=(lanes, lanes, lanes, whole), out_specs=lanes, check_vma=False)


LOOK = 64  # steps between two looks at whether all numbers are finite


def stride(longest: int) -> int:
    """Steps between two looks, such that a segment of `longest` steps is made of equal strides of at most LOOK."""
    return math.ceil(longest / math.ceil(longest / LOOK))


def steps_of(task: Functions, config: Config, state: TrialState, data: Data) -> TrialState:
    """A chunk's lanes after `train.eval_every` updates each, or fewer where the budget or the numbers end.

    The lanes go a stride and are looked at. One in which a number is not finite goes back and takes half the stride, down to
    a single step, which shows the last finite state: bit by bit what looking after each step shows, at a fraction of the cost.
    """
    longest = stride(config.train.eval_every)
    pool, own, other = trials.pool(config, data.train, data.source, data.counts)
    goal = jnp.minimum(state.step + config.train.eval_every, config.train.steps)

    def going(carry: tuple[TrialState, jax.Array]) -> jax.Array:
        state, _ = carry
        return ((state.status == Status.RUNNING) & (state.step < goal)).any()

    def go(carry: tuple[TrialState, jax.Array]) -> tuple[TrialState, jax.Array]:
        state, length = carry
        target = jnp.minimum(goal, state.step + length)
        # Drawn ahead: a stride's random numbers in one go cost a fraction of the same numbers step by step.
        ahead = state.step[:, None] + jnp.arange(longest)
        index = jax.vmap(lambda c, steps: jax.vmap(lambda step: trials.rows(c, own, step, other))(steps))(config, ahead)

        def step(i: jax.Array, state: TrialState) -> TrialState:
            drawn = jax.tree.map(lambda x: x[index[:, i]], pool)
            batch = jax.vmap(lambda c, d, s: trials.seen(task, c, d, s))(config, drawn, ahead[:, i])
            return jax.vmap(lambda *lane: trials.advance(task, *lane)[0])(config, state, batch, target)

        running = state.status == Status.RUNNING
        steps = jnp.where(running, target - state.step, 0)
        new = jax.lax.fori_loop(0, steps.max(), step, state)
        bad = jax.vmap(trials.flaw)(new)
        sound, last = bad < 0, running & (steps == 1)
        status = jnp.where(last, Status.DIVERGED, state.status)
        back = state._replace(status=status, flaw=jnp.where(last, bad, state.flaw))
        return trials.where(sound, new, back), jnp.where(sound, length, jnp.maximum(steps // 2, 1))

    return jax.lax.while_loop(going, go, (state, jnp.full_like(state.step, longest)))[0]


ABREAST = 128  # rows that all lanes of an accelerator evaluate at once: of 1,024, a program's memory would be all for these


def segment_of(
    task: Functions, config: Config, state: TrialState, data: Data, rows: int = trials.CHUNK
) -> tuple[TrialState, dict[str, Any]]:
    """A chunk's segment: `train.eval_every` updates, then an evaluation on the curve parts; a look at the layers before.

    Args:
      rows: that are evaluated at once.
    """
    layers = jax.vmap(lambda c, s: look(task, c, s, data))(config, state) if config.train.diagnostics else {}
    state = steps_of(task, config, state, data)

    def evaluated(config: Config, state: TrialState) -> tuple[TrialState, dict[str, jax.Array]]:
        count = _count(data, "curves")
        found = jax.lax.map(lambda part: trials.evaluate(task, config, state, part, rows, count), data.curves)
        train, validation = ({name: x[place] for name, x in found.items()} for place in (0, 1))
        state = trials.track(config, state, trials.cost(task, validation))
        return state, _segment_metrics(state, train, validation)

    state, metrics = jax.vmap(evaluated)(config, state)
    return state, metrics | layers


def look(task: Functions, config: Config, state: TrialState, data: Data) -> dict[str, Any]:
    """A lane's layers as its segment begins, on the first rows of the training part's curve."""
    rows = jax.tree.map(lambda x: x[0, : config.train.batch_size], data.curves)
    batch = trials.seen(task, config, rows, state.step)
    return {LAYERS: diagnose(task, config, state, batch), BEGAN: state.step}


def _segment_metrics(state: TrialState, train: dict[str, jax.Array], validation: dict[str, jax.Array]) -> dict[str, Any]:
    return {
        CURVE: named(train=train, val=validation),
        "step": state.step,
        "status": state.status,
        "best_step": state.best.step,
        "flaw": state.flaw,
    }


def named(**parts: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """A split's metrics by names such as val_loss."""
    return {f"{part}_{name}": value for part, found in parts.items() for name, value in found.items()}


def finish_of(task: Functions, config: Config, best: Best, data: Data) -> dict[str, jax.Array]:
    """One lane's metrics at its best step, over whole splits."""
    parts = {"train": "train_part", "val": "validation", "test": "test", "dev": "dev"}
    there = {name: part for name, part in parts.items() if getattr(data, part) is not None}
    return named(
        **{
            name: trials.evaluate(task, config, best, getattr(data, part), count=_count(data, part))
            for name, part in there.items()
        }
    )


def _count(data: Data, part: str) -> Any:
    """How many rows of a part count; None: all."""
    return None if data.counts is None else data.counts[part]


def begin(task: Functions, config: Config) -> TrialState:
    """A lane's state before its first step."""
    return trials.init(task, config, trials.stream(config.seed, trials.Stream.START))


FINISHED = 32  # lanes of an accelerator that are evaluated at once as their trials end


def finishing_plan(plan: Plan, platform: str) -> Plan:
    """The seats of trials that end: a chunk on each device, on a CPU lane by lane; on an accelerator no more than FINISHED.

    They are few at a time: a CPU's core is as fast with one lane's 1,024 rows as with several lanes', and an accelerator would
    take as long for one lane among a thousand as for all of them.
    """
    seats = plan.chunk if platform == "cpu" else min(plan.chunk, FINISHED)
    return Plan(plan.devices, plan.devices * seats, 1 if platform == "cpu" else seats)


KEPT = 8  # groups whose executables are kept: 20 to 40 MB each


def kind(config: Config, data: Data) -> Hashable:
    """What a group's programs are compiled for: the structure and the shapes of a config that is traced, and of the data."""
    leaves, structure = jax.tree.flatten((config, data))
    return structure, tuple((np.shape(x), str(getattr(x, "dtype", type(x)))) for x in leaves)


@functools.lru_cache(maxsize=KEPT)  # so that a second sweep of the same structure in one process does not compile again
def programs(task: Functions, plan: Plan, kind: Hashable = None, mesh: Mesh | None = None) -> Programs:
    """The functions of a group, not yet compiled; jit compiles each once for a structure of configs, at its first call.

    Args:
      kind: of what they are given (`kind`): executables go with the group that they were compiled for, when KEPT others have
        begun since. None: they stay with the task and the plan.
      mesh: devices in a row that need not be here, for which the programs can be compiled. None: those of the plan.
    """
    mesh = mesh or mesh_of(plan)
    device = mesh.devices.flat[0]
    rows = trials.CHUNK if device.platform == "cpu" else ABREAST

    def work(_: jax.Array, config: Config, state: TrialState, data: Data) -> tuple[TrialState, dict[str, Any]]:
        return segment_of(task, config, state, data, rows)

    def losses(_: jax.Array, config: Config, best: Best, data: Data) -> dict[str, jax.Array]:
        return jax.vmap(lambda c, b: finish_of(task, c, b, data))(config, best)

    lanes = PartitionSpec(LANES)
    working = over_lanes(work, lambda state, zeros: (state, zeros[1]), plan, mesh)
    finishing = over_lanes(losses, lambda best, zeros: zeros, finishing_plan(plan, device.platform), mesh)

    # All lanes at once, which compiles in half the time of chunk after chunk, and to begin a trial costs a few of its steps.
    # Without optimization no loop is unrolled by its length, so that last bits do not depend on how many lanes there are.
    def fill(config: Config, state: TrialState, places: jax.Array) -> TrialState:
        def start(config: Config, state: TrialState, places: jax.Array) -> TrialState:
            return trials.where(places, jax.vmap(functools.partial(begin, task))(config), state)

        return jax.shard_map(start, mesh=mesh, in_specs=lanes, out_specs=lanes, check_vma=False)(config, state, places)

    def segment(config: Config, state: TrialState, data: Data) -> tuple[TrialState, dict[str, Any]]:
        return working(state.status == Status.RUNNING, config, state, data)

    def taken(tree: Any, places: jax.Array) -> Any:
        return jax.tree.map(lambda x: x[places], tree)

    def finish(
        config: Config, state: TrialState, data: Data, places: jax.Array, used: jax.Array
    ) -> tuple[dict[str, jax.Array], TrialState]:
        here = jax.shard_map(taken, mesh=mesh, in_specs=lanes, out_specs=lanes, check_vma=False)
        config, state = here((config, state), places)
        return finishing(used, config, state.best, data), state

    exact = functools.partial(precisely, platform=device.platform)
    return Programs(
        jax.jit(exact(fill), donate_argnames="state", compiler_options=plans.compiler_options(rare=True, device=device)),
        jax.jit(exact(segment), donate_argnames="state", compiler_options=plans.compiler_options(device=device)),
        jax.jit(exact(finish), compiler_options=plans.compiler_options(device=device)),
        jax.jit(taken, donate_argnames="tree", out_shardings=NamedSharding(mesh, lanes)),
    )


def column(leaf: Any, width: int) -> np.ndarray:
    """A leaf of a config `width` times over, in the type that programs know."""
    array = np.asarray(leaf)
    array = array.astype(np.int32 if np.issubdtype(array.dtype, np.integer) else np.float32)
    return np.broadcast_to(array, (width, *array.shape)).copy()


def lane_shape(task: Functions, config: Config) -> TrialState:
    """The shapes and types of a lane's state."""
    leaves, structure = jax.tree.flatten(jax.tree.map(lambda leaf: column(leaf, 1)[0], config))
    return _lane(task, structure, tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves))


def state_shape(task: Functions, config: Config, width: int) -> TrialState:
    """The same of `width` lanes."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((width, *x.shape), x.dtype), lane_shape(task, config))


@functools.lru_cache(maxsize=16)  # asked several times of a group; to trace a network's start takes a while
def _lane(task: Functions, structure: Any, leaves: tuple[jax.ShapeDtypeStruct, ...]) -> TrialState:
    return jax.eval_shape(functools.partial(begin, task), jax.tree.unflatten(structure, leaves))


def empty(task: Functions, config: Config, width: int) -> TrialState:
    """The state of lanes of which none is running."""
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), state_shape(task, config, width))
    state.status[:] = Status.COMPLETED
    return state
