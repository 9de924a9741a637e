"""A run: a sweep trained to its end, in memory or in a folder from which it goes on after an interruption."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgen.config import Config, by_budget
from jaxgen.engine import lanes as engine
from jaxgen.engine import plan, probe, timing
from jaxgen.engine.lanes import Ended, Evaluated, Event, Looked, Position, SegmentDone
from jaxgen.engine.plan import Lanes, Plan, Planned
from jaxgen.engine.programs import Data, lane_shape, state_shape
from jaxgen.fields import UserError, override
from jaxgen.job import Job, prepared, results_of, sweep_of, trained_of, unfinished
from jaxgen.judge.results import Curve, Diagnostic, Results
from jaxgen.search.sweep import Group, Question, Sweep
from jaxgen.storage.cache import known, learn
from jaxgen.storage.facts import describe
from jaxgen.storage.files import CannotWrite
from jaxgen.storage.folder import Folder
from jaxgen.storage.grown import grown
from jaxgen.storage.lasts import MOST
from jaxgen.storage.memory import Memory
from jaxgen.tasks import task_of
from jaxgen.tasks.base import Task
from jaxgen.train.functions import Functions


@dataclass(frozen=True)
class Notice:
    """What a user should know of a run that goes on."""

    text: str

    def __str__(self) -> str:
        return self.text


class Interrupted(Exception):
    """The run was asked to stop; all that it had done is saved."""


def run(
    sweep: Sweep | Config | Iterable[Config],
    task: Any,
    out: str | Path | None = None,
    *,
    source: Any = None,
    resume: bool = False,
    overwrite: bool = False,
    width: int | None = None,
    chunk: int | None = None,
    devices: int | None = None,
    cache: Path | None = None,
    question: Question | None = None,
    flags: Sequence[str] = (),
    listener: Callable[[Event | Planned | Notice, Results], None] = lambda event, results: None,
    stop: Callable[[], bool] = lambda: False,
    agree: Callable[[int | None], int | None] | None = None,
) -> Results:
    """Trains every trial of a sweep.

    Args:
      sweep: from `grid`, `random`, `zipped`, `seeds`, or any configs; one config alone is a sweep of one trial.
      task: a `Task`, from `supervised` or a class of one's own; or a corpus, from `load_corpus`, for the names task on it: the
        configs' data.path and data.column play no part then.
      source: of names, a corpus that the first train.pretrain steps train on: those of its names that the corpus's vocabulary
        can write.
      out: the run's folder; None keeps everything in memory.
      resume: go on with the run that `out` holds (and start it if it holds none). A sweep of all that the run has and more
        makes it longer: what is new comes behind. One of more steps trains its trials on from where they are.
      overwrite: remove the run that `out` holds.
      width: lanes in all, rounded up to fill every device. None: measured, as are the next two, or as the run in `out` has it.
      chunk: lanes that a device computes at once.
      devices: how many of the local devices.
      cache: a folder that remembers what was measured (`storage.cache`).
      question: what the sweep is to answer. None: which of all its settings is best.
      flags: the command line, for `config.json`.
      listener: is told each group's plan, each of the engine's events, after the results have taken it in, and what a user
        should know of a run that goes on.
      stop: asked after each segment; true saves and raises.
      agree: of one of several processes that are to come to the same bits: says the chunk to take where none is given, before
        any is measured (of None; None: measure), and then of the one that was the fastest. No chunk is less than said.

    Raises:
      UserError: for a sweep without trials, a value that is not allowed, rows too few to split, a task whose functions do not
        fit together, or a folder that holds a run or is written by another process: nothing has been written then. And for a
        disk that is full or fails: what was saved before is whole then.
      Interrupted: after `stop` said so.
    """
    sweep, question = sweep_of(sweep), question or Question()
    if not len(sweep):
        raise UserError("the sweep has 0 trials; give at least one value for each key, and --trials and --seeds of 1 or more")
    job = prepared(sweep, task_of(task), source, lambda asked: grown(Path(out), asked) if resume and out is not None else asked)
    lanes = Lanes(width, chunk, devices, exact=agree is not None)
    found = looked_at(job, lanes)
    where = None if out is None else str(out)
    results = results_of(job.task, job.sweep, programs=job.programs, out=where, question=question)
    keeper = Memory() if out is None else Folder(Path(out), resume=resume, overwrite=overwrite)
    results.trained = lambda trial: results.known(trained_of(job.task, job.sweep, keeper.trial, trial))
    facts = describe(job.sweep, job.task, job.programs, question, flags, found.program)
    results.data = facts["task"]["rows"]
    notices = dict.fromkeys([*found.cautions, *(line for group in job.trained for line in job.task.notices(group.configs[0]))])
    notices |= dict.fromkeys(line for group in job.trained for line in timing.said_of_long_segments(job.functions, group))
    try:
        keeper.open(facts, results)
        at = keeper.position(
            [group.trials for group in job.groups],
            lambda group, width: state_shape(job.functions, job.groups[group].traced(), width),
        )
        for line in (*keeper.notices, *notices):
            listener(Notice(line), results)
        ended: dict[int, Any] = {}
        lasts: dict[int, Any] = {}
        fresh: list[int] = []  # trials that ended in this segment
        kept = _kept(job) if out is not None else frozenset()
        how = How(lanes, cache, found.program, kept, agree or (lambda measured: measured))
        for event in itertools.chain(_again(job, keeper, at, how, results), _events(job, keeper, at, how, results)):
            _take(event, results)
            if isinstance(event, Ended):
                ended[event.trial] = (event.params, event.stats)
                if event.last is not None:
                    lasts[event.trial] = event.last
                fresh.append(event.trial)
            if isinstance(event, SegmentDone):
                if fresh:
                    _measure(results, job.task, {trial: ended[trial] for trial in fresh})
                    fresh.clear()
                results.unfinished = functools.partial(unfinished, job, event.position)
            listener(event, results)
            if isinstance(event, SegmentDone):
                asked, still = stop(), event.position is at
                if keeper.save(event.position, results, ended, lasts, now=asked or still or event.position.state is None):
                    ended, lasts = {}, {}
                if asked:
                    keeper.arrange(results)
                    raise Interrupted
        keeper.arrange(results)
    except CannotWrite:
        raise  # the folder stays as it is, to go on with: a library's threads may be writing to it still
    except UserError:
        keeper.forget()
        raise
    finally:
        results.unfinished = None  # it holds the lanes
        keeper.close()  # nothing is written behind the back of who called
    return results


def looked_at(job: Job, lanes: Lanes | None = None) -> probe.Found:
    """Refuses what cannot be, before anything is written; and says what was found of the task's functions.

    Raises:
      UserError: then.
    """
    found = probe.Found()
    for group in job.trained:
        if job.task.probed:
            found = found.and_of(probe.look(job.functions, group, job.data(group)))
            if job.sweep.longer and probe.reads_steps(job.functions, group, job.data(group)):
                raise UserError(
                    f"the task {job.task.name!r} computes something from train.steps, so that with more steps its trials would "
                    "have been others from their first step on; give another --out, or --overwrite"
                )
        plan.candidates(len(group.trials), _lane_bytes(job.functions, group), lanes)
    return found


class How(NamedTuple):
    """What every group is trained by."""

    lanes: Lanes
    cache: Path | None
    program: str  # tells what the task computes
    kept: frozenset[int]  # trials whose last state is kept
    agree: Callable[[int | None], int | None]


def _kept(job: Job) -> frozenset[int]:
    """The trials whose last states are kept: those that can go on with more steps, where all take no more than is allowed."""
    found = [[t for t, c in zip(g.trials, g.configs, strict=True) if not by_budget(c)] for g in job.trained]
    size = sum(len(trials) * _lane_bytes(job.functions, group) for trials, group in zip(found, job.trained, strict=True))
    return frozenset(itertools.chain(*found)) if size <= MOST else frozenset()


def _events(job: Job, keeper: Folder | Memory, at: Position | None, how: How, results: Results) -> Iterator[Event | Planned]:
    """What happens in all groups. After each, one more `SegmentDone`: at the beginning of the next."""
    for number in range(0 if at is None else at.group, len(job.groups)):
        start = at if at is not None and at.group == number and at.taken else None
        if start is None and number in job.longer:
            start = _going_on(job, keeper, number, results)
        if start is None and number in job.longer:
            keeper.keep(number, Planned(Plan(1, 1, 1), {}))  # nothing goes on: each plan has its group's place
        else:
            yield from _of_group(job, job.groups[number], number, start, keeper, how)
        yield SegmentDone(Position(number + 1, 0, (), None))


def _going_on(job: Job, keeper: Folder | Memory, number: int, results: Results) -> Position | None:
    """Where a group begins whose trials had ended and were given more steps: all of them that go on wait for a lane."""
    group, ended = job.groups[number], {row.trial for row in results.rows}
    trials = tuple(trial for trial in group.trials if trial not in ended)
    if not trials:
        return None
    return Position(number, len(group.trials), trials, keeper.going_on(trials, lane_shape(job.functions, group.traced())))


def _again(job: Job, keeper: Folder | Memory, at: Position | None, how: How, results: Results) -> Iterator[Event | Planned]:
    """What happens as trials that a folder has lost are trained once more, and end as they did: the run itself stands still.

    Of their evaluations the folder still knows, but for those of steps that they have been given since.
    """
    if at is None:
        return
    known = {(one.trial, one.step) for one in (*results.curves, *results.diagnostics)}
    for number, group in enumerate(job.groups):
        if number in job.longer or {*group.trials}.isdisjoint(keeper.lost):
            continue
        for event in _of_group(job, group, number, None, keeper, how, keeper.lost):
            if not isinstance(event, Evaluated | Looked) or (event.trial, event.step) not in known:
                yield SegmentDone(at) if isinstance(event, SegmentDone) else event
        yield SegmentDone(at)


def _of_group(
    job: Job,
    group: Group,
    number: int,
    start: Position | None,
    keeper: Folder | Memory,
    how: How,
    only: Collection[int] | None = None,
) -> Iterator[Event | Planned]:
    """What happens in a group, or in those of its trials that are asked for."""
    reads, data = job.reads(group)
    if job.task.trains(group.static):
        for event in _train(job, data, group, number, start, keeper, how, only):
            yield reads.take(event) if isinstance(event, Ended) else event
    else:
        keeper.keep(number, Planned(Plan(1, 1, 1), {}))
        yield from job.task.solve(data, group.part(only))


def _train(
    job: Job,
    data: Data,
    group: Group,
    number: int,
    start: Position | None,
    keeper: Folder | Memory,
    how: How,
    only: Collection[int] | None,
) -> Iterator[Event | Planned]:
    """A group's plan, and what happens under it. Where the plan turns out not to fit the memory, one of half the width."""
    plans = [keeper.plans[n] for n in (number, job.longer.get(number, number)) if n < len(keeper.plans)]
    stored = next((planned for planned in plans if planned.known), None)
    found = plan.candidates(len(group.trials), _lane_bytes(job.functions, group), how.lanes)
    if stored is not None and (how.lanes == Lanes(exact=how.lanes.exact) or stored.plan in found):
        planned = dataclasses.replace(stored, plan=plan.fit(stored.plan))
    else:
        planned = _planned(job, data, group, how)
    if stored is not None and planned.plan != stored.plan:
        planned = dataclasses.replace(planned, instead=stored.plan)
    each = "program" if job.programs == len(job.trained) else "group"  # groups may share a program
    place = [one.trials[0] for one in job.trained].index(group.trials[0]) + 1
    where = f"{each} {place} of {len(job.trained)}" if len(job.trained) > 1 else ""
    while True:
        keeper.keep(number, planned)
        yield dataclasses.replace(planned, where=where)
        begun = False
        try:
            for event in engine.train(job.functions, data, group.part(only), planned.plan, number, start, how.kept):
                begun = True
                yield event
            return
        except jax.errors.JaxRuntimeError as error:
            if not timing.out_of_memory(error):
                raise
            if begun or (start is not None and start.state is not None):
                raise UserError(
                    f"a device is out of memory at {planned.plan}; "
                    f"start again with --overwrite --width {planned.plan.width // 2}"
                ) from None
        planned = Planned(plan.halved(planned.plan), {})


def _planned(job: Job, data: Data, group: Group, how: How) -> Planned:
    """The fastest plan for a group, of the chunk that all who train it agree on."""

    def of(lanes: Lanes) -> Planned:
        found = plan.candidates(len(group.trials), _lane_bytes(job.functions, group), lanes)
        return fastest(job.task, data, group, found, how.cache, how.program)

    if how.lanes.chunk is not None:
        return of(how.lanes)
    agreed = how.agree(None)
    planned = of(dataclasses.replace(how.lanes, chunk=agreed))
    agreed = how.agree(planned.plan.chunk)
    return planned if agreed == planned.plan.chunk else of(dataclasses.replace(how.lanes, chunk=agreed))


def fastest(task: Task, data: Data, group: Group, found: Sequence[plan.Plan], cache: Path | None, program: str = "") -> Planned:
    """The fastest of the plans that are worth measuring for a group; a cache knows and keeps what was measured.

    Args:
      program: tells what a task of one's own computes from what it computed before.
    """
    functions = task.functions()
    rows = sum(x.nbytes for x in jax.tree.leaves(data))
    found = plan.fitting(
        found, _lane_bytes(functions, group), rows, lambda one: timing.lane_memory(functions, data, group, one)
    )
    if len(found) == 1:
        return Planned(found[0], {})
    key = timing.program_key(f"{task.place}:{task.name}:{program}", functions, data, group)
    work = sum(config.train.steps for config in group.configs)
    planned = plan.measure(found, lambda p: timing.seconds(functions, data, group, p), work, known(cache, key))
    learn(cache, key, planned.measured)
    return planned


def _lane_bytes(task: Functions, group: Group) -> int:
    lane = lane_shape(task, group.traced())
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(lane))


def _take(event: Event | Planned | Notice, results: Results) -> None:
    if isinstance(event, Evaluated):
        results.curves.append(Curve(event.trial, event.step, event.metrics))
    elif isinstance(event, Looked):
        found = (Diagnostic(event.trial, event.step, layer, **values) for layer, values in event.layers.items())
        results.diagnostics.extend(found)
    elif isinstance(event, Ended):
        floats = [x for x in jax.tree.leaves(event.params) if np.issubdtype(x.dtype, np.floating)]  # an ngram has places, too
        size = sum(math.prod(x.shape) for x in floats)
        status = event.status.name.lower()
        results.rows.append(results.row(event.trial, status, size, event.steps, event.best_step, event.losses, event.flaw))


def _measure(results: Results, task: Task, ended: Mapping[int, Any]) -> None:
    """Adds to the last rows, of trials of one group, what the task measures of their best states."""
    config = override(results.sweep.base, results.sweep.points[next(iter(ended))])
    found = task.measured(config, ended)
    for place in range(len(results.rows) - len(ended), len(results.rows)):
        row = results.rows[place]
        results.rows[place] = dataclasses.replace(row, measured=found.get(row.trial, row.measured))
