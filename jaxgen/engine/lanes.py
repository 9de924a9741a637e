"""A pool of lanes and a queue of trials: lanes train side by side, and a lane whose trial ends takes the next one.

An iterator of events and no printing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.config import Config
from jaxgen.engine.plan import Plan
from jaxgen.engine.programs import (
    BEGAN,
    CURVE,
    LAYERS,
    Data,
    Programs,
    by_lane,
    column,
    empty,
    everywhere,
    finishing_plan,
    kind,
    programs,
)
from jaxgen.search.sweep import Group
from jaxgen.train import trial as trials
from jaxgen.train.functions import Functions
from jaxgen.train.trial import Status, TrialState


@dataclass(frozen=True)
class Position:
    """Where a sweep stands between two segments: all that is needed to go on."""

    group: int
    taken: int  # trials of the group that left the queue
    lanes: tuple[int | None, ...]  # the trial in each lane; those beyond the plan's width wait for one
    state: TrialState | None  # of all of them, valid until the next event; None: the group has not begun


@dataclass(frozen=True)
class Evaluated:
    """A trial was evaluated on the curve parts."""

    trial: int
    step: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Looked:
    """A trial's layers at the beginning of a segment: layer -> measure -> value (`diagnostics.diagnose`)."""

    trial: int
    step: int
    layers: dict[str, dict[str, float]]


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
    flaw: str = ""  # of a trial that diverged: what first was not finite
    last: TrialState | None = None  # where it is asked for: from which the trial can go on, if it is given more steps


@dataclass(frozen=True)
class SegmentDone:
    """All lanes went through a segment, and this is where the group stands."""

    position: Position


Event = Looked | Evaluated | Ended | SegmentDone


def train(
    task: Functions,
    data: Data,
    group: Group,
    plan: Plan,
    number: int = 0,
    start: Position | None = None,
    kept: Collection[int] = (),
) -> Iterator[Event]:
    """Trains every trial of a group and yields what happens.

    Args:
      task: the functions of the task.
      data: what `prepare` returned.
      group: the trials, from `sweep.groups`.
      plan: the lanes.
      number: the group's place among the groups of its sweep.
      start: where to go on; the state's arrays may lie on the host. It may come from a plan of another width.
      kept: trials whose last state is wanted, where they end because their steps are up.
    """
    run = programs(task, plan, kind(group.traced(), data))
    sharding = by_lane(plan)
    data = jax.device_put(data, everywhere(plan))
    idle = empty(task, group.traced(), plan.width)
    flaws, names = trials.flaws(idle), task.layers(idle.params)
    start = start or Position(number, 0, (), None)
    lanes, state, waiting = seated(start, plan.width, idle)
    taken = start.taken
    state = jax.device_put(state, sharding)
    columns = jax.tree.map(lambda leaf: column(leaf, plan.width), group.traced())  # the lanes' configs
    configs = None

    while True:
        free = [lane for lane, trial in enumerate(lanes) if trial is None]
        back, waiting = waiting[: len(free)], waiting[len(free) :]
        if back:
            state = jax.device_put(written(jax.device_get(state), free[: len(back)], [rows for _, rows in back]), sharding)
            for trial, _ in back:
                lanes[free.pop(0)] = trial
            configs = None
        places = free[: len(group.trials) - taken]
        for lane in places:
            lanes[lane] = group.trials[taken]
            taken += 1
        for lane in range(plan.width) if configs is None else places:
            if (trial := lanes[lane]) is not None:
                _put(columns, lane, group.traced(trial))
        if places or configs is None:
            configs = jax.device_put(jax.tree.map(np.copy, columns), sharding)  # copied: a device may read NumPy's memory
        if places:
            taking = np.isin(np.arange(plan.width), places)
            state = run.fill(configs, state, jax.device_put(taking, sharding))
        if (order := packed(lanes, plan)) is not None:
            lanes = [lanes[lane] for lane in order]
            columns = jax.tree.map(lambda x, order=order: x[order], columns)
            configs, state = jax.device_put(jax.tree.map(np.copy, columns), sharding), moved(run, plan, state, order)
        occupied = [(lane, trial) for lane, trial in enumerate(lanes) if trial is not None]
        if not occupied:
            return
        if _renewed(columns, group, occupied, state):
            configs = jax.device_put(jax.tree.map(np.copy, columns), sharding)
        state, on_device = run.segment(configs, state, data)
        metrics = jax.device_get(on_device)  # the segment's one transfer
        for lane, trial in occupied:
            if LAYERS in metrics:
                found = {name: {measure: float(x[lane]) for measure, x in metrics[LAYERS][name].items()} for name in names}
                yield Looked(trial, int(metrics[BEGAN][lane]), found)
            values = {name: float(x[lane]) for name, x in metrics[CURVE].items()}
            yield Evaluated(trial, int(metrics["step"][lane]), values)
        ended = [lane for lane, _ in occupied if metrics["status"][lane] != Status.RUNNING]
        for lane, losses, last in _finals(run, plan, configs, state, data, ended):
            trial, lanes[lane] = lanes[lane], None
            assert trial is not None
            status, steps, best_step = (int(metrics[name][lane]) for name in ("status", "step", "best_step"))
            flaw = flaws[int(metrics["flaw"][lane])] if status == Status.DIVERGED else ""
            kept_on = last if status == Status.COMPLETED and trial in kept else None
            yield Ended(trial, Status(status), steps, best_step, losses, last.best.params, last.best.stats, flaw, kept_on)
        yield SegmentDone(replace(start, taken=taken, lanes=(*lanes, *(t for t, _ in waiting)), state=joined(state, waiting)))


def _finals(
    run: Programs, plan: Plan, configs: Config, state: TrialState, data: Data, ended: list[int]
) -> Iterator[tuple[int, dict[str, float], TrialState]]:
    """Each lane that ended with its losses over whole splits at its best step, and its state, on the host."""
    found: dict[int, tuple[dict[str, float], TrialState]] = {}
    for seats, places, used in dealt(ended, plan):
        sharding = by_lane(plan)
        places, used = jax.device_put((places, used), sharding)
        losses, states = jax.device_get(run.finish(configs, state, data, places, used))
        for lane, seat in seats.items():
            mine = {name: float(column[seat]) for name, column in losses.items()}
            found[lane] = mine, jax.tree.map(lambda x, seat=seat: x[seat], states)
    for lane in ended:
        yield lane, *found[lane]


Waiting = list[tuple[int, TrialState]]  # trials that have begun and have no lane, and each one's state


def seated(start: Position, width: int, idle: TrialState) -> tuple[list[int | None], TrialState, Waiting]:
    """A position on `width` lanes: as it is where it fits, else all of its running trials wait for a lane."""
    if start.state is None:
        return [None] * width, idle, []
    if len(start.lanes) == width:
        return list(start.lanes), start.state, []
    state = jax.device_get(start.state)
    rows = [(trial, jax.tree.map(lambda x, row=row: x[row], state)) for row, trial in enumerate(start.lanes)]
    return [None] * width, idle, [(trial, row) for trial, row in rows if trial is not None]


def written(state: TrialState, lanes: list[int], rows: list[TrialState]) -> TrialState:
    """A state on the host with other rows in some lanes."""

    def put(x: np.ndarray, *new: np.ndarray) -> np.ndarray:
        x = np.array(x)
        x[lanes] = np.stack(new)
        return x

    return jax.tree.map(put, state, *rows)


def joined(state: TrialState, waiting: Waiting) -> TrialState:
    """The state of the lanes with those that wait behind them."""
    if not waiting:
        return state
    rows = [row for _, row in waiting]
    return jax.tree.map(lambda x, *new: np.concatenate([x, np.stack(new)]), jax.device_get(state), *rows)


def packed(lanes: Sequence[int | None], plan: Plan) -> list[int] | None:
    """An order of the lanes in which the busiest device has fewer chunks to compute; None where no order is better.

    As trials end and none waits for their lanes, chunks become sparse, and each costs what a full one does.
    """
    running = [lane for lane, trial in enumerate(lanes) if trial is not None]
    seats = np.arange(plan.width).reshape(plan.devices, -1, plan.chunk)  # (devices, chunks, chunk)
    busiest = np.isin(seats, running).any(2).sum(1).max()
    if math.ceil(len(running) / plan.chunk / plan.devices) >= busiest:
        return None
    order = np.empty(plan.width, int)
    order[seats.swapaxes(0, 1).ravel()] = running + [lane for lane, trial in enumerate(lanes) if trial is None]
    return order.tolist()


def moved(run: Programs, plan: Plan, state: TrialState, order: list[int]) -> TrialState:
    """The lanes in another order. On a CPU by way of the host, whose memory it is; elsewhere on the devices."""
    if jax.default_backend() == "cpu":
        return jax.device_put(jax.tree.map(lambda x: x[order], jax.device_get(state)), by_lane(plan))
    return run.move(state, jnp.asarray(order))


def dealt(ended: Sequence[int], plan: Plan) -> Iterator[tuple[dict[int, int], np.ndarray, np.ndarray]]:
    """The lanes that ended, as many at a time as `finish` has seats, each on the device where it lies.

    Returns:
      each time: lane -> seat of some of the lanes; for every seat a lane's place on its device, (N,); whether it is used, (N,).
    """
    finishing = finishing_plan(plan, jax.default_backend())
    share, seats = plan.width // plan.devices, finishing.width // plan.devices
    waiting = [[lane for lane in ended if lane // share == device] for device in range(plan.devices)]
    for first in range(0, max(map(len, waiting)), seats):
        part = {
            lane: device * seats + place
            for device, lanes in enumerate(waiting)
            for place, lane in enumerate(lanes[first : first + seats])
        }
        places, used = np.zeros(finishing.width, np.int32), np.zeros(finishing.width, bool)
        places[[*part.values()]], used[[*part.values()]] = [lane % share for lane in part], True
        yield part, places, used


def _renewed(columns: Config, group: Group, occupied: Sequence[tuple[int, int]], state: TrialState) -> bool:
    """Gives the lanes whose next segment goes beyond their learning rates those from their step on; says whether any does."""
    rates, since = (np.asarray(x) for x in (columns.optimizer.learning_rate, columns.optimizer.since))  # pyright: ignore[reportAttributeAccessIssue]  (lowered)
    length = rates.shape[1]
    if group.longest <= length:
        return False
    steps = np.asarray(jax.device_get(state.step), np.int64)
    short = (steps + group.static.train.eval_every > since + length) & (since + length < columns.train.steps)
    found = [(lane, trial) for lane, trial in occupied if short[lane]]
    for lane, trial in found:
        _put(columns, lane, group.traced(trial, int(steps[lane])))
    return bool(found)


def _put(columns: Config, lane: int, config: Config) -> None:
    def put(column: np.ndarray, leaf: Any) -> None:
        column[lane] = leaf

    jax.tree.map(put, columns, config)
