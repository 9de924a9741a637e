"""A run: a sweep trained to its end, in memory or in a folder from which it goes on after an interruption."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.config import CHAIN, Config, UserError, flatten, override, validate
from jaxgen.engine import lanes as engine
from jaxgen.engine import plan, probe, timing
from jaxgen.engine.lanes import Ended, Evaluated, Event, Looked, Position, SegmentDone
from jaxgen.engine.plan import Lanes, Plan, Planned
from jaxgen.engine.programs import Data, lengths, padded, prepare, state_shape
from jaxgen.judge.answers import answer
from jaxgen.judge.results import DIVERGED, Curve, Diagnostic, Results, Trained, by_score
from jaxgen.search.sweep import Group, Question, Sweep, groups
from jaxgen.storage.cache import known, learn
from jaxgen.storage.checkpoint import Store
from jaxgen.storage.facts import describe, measured, read_config, task_facts
from jaxgen.storage.files import CannotWrite
from jaxgen.storage.folder import CHECKPOINTS, Folder, Memory, check_trials
from jaxgen.storage.logs import all_counting, take_up
from jaxgen.storage.portable import is_exported, load_exported
from jaxgen.storage.rows import row_of
from jaxgen.tasks import matching, stored, task_of
from jaxgen.tasks.base import Reads, Task, parts_of
from jaxgen.train import optimizers, order
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
    sweep: Sweep | Iterable[Config],
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
) -> Results:
    """Trains every trial of a sweep.

    Args:
      sweep: from `grid`, `random`, `zipped`, `seeds`, or any configs.
      task: a `Task`, from `supervised` or a class of one's own; or a corpus, from `load_corpus`, for the names task on it: the
        configs' data.path and data.column play no part then.
      source: of names, a corpus that the first train.pretrain steps train on: those of its names that the corpus's vocabulary
        can write.
      out: the run's folder; None keeps everything in memory.
      resume: go on with the run that `out` holds (and start it if it holds none).
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

    Raises:
      UserError: for a sweep without trials, a value that is not allowed, rows too few to split, a task whose functions do not
        fit together, or a folder that holds a run or is written by another process: nothing has been written then. And for a
        disk that is full or fails: what was saved before is whole then.
      Interrupted: after `stop` said so.
    """
    sweep, question = _of(sweep), question or Question()
    if not len(sweep):
        raise UserError("the sweep has 0 trials; give at least one value for each key, and --trials and --seeds of 1 or more")
    job = prepared(sweep, task_of(task), source)
    lanes = Lanes(width, chunk, devices)
    trained = [group for group in job.groups if job.task.trains(group.static)]
    found = probe.Found()
    for group in trained:
        # refuses what cannot be, before anything is written
        if job.task.probed:
            found = found.and_of(probe.look(job.functions, group, job.data(group)))
        plan.candidates(len(group.trials), _lane_bytes(job.functions, group), lanes)
    programs = len({jax.tree.structure(group.traced()) for group in trained})
    results = _results(job.task, job.sweep, programs=programs, out=None if out is None else str(out), question=question)
    keeper = Memory() if out is None else Folder(Path(out), resume=resume, overwrite=overwrite)
    results.trained = functools.partial(_trained, job.task, job.sweep, keeper.trial)
    facts = describe(job.sweep, job.task, programs, question, flags, found.program)
    notices = dict.fromkeys([*found.cautions, *(line for group in trained for line in job.task.notices(group.configs[0]))])
    try:
        keeper.open(facts, results)
        for line in (*keeper.notices, *notices):
            listener(Notice(line), results)
        at = keeper.position(
            [group.trials for group in job.groups],
            lambda group, width: state_shape(job.functions, job.groups[group].traced(), width),
        )
        ended: dict[int, Any] = {}
        fresh: list[int] = []  # trials that ended in this segment
        for event in _events(job, keeper, at, lanes, cache):
            _take(event, results)
            if isinstance(event, Ended):
                ended[event.trial] = (event.params, event.stats)
                fresh.append(event.trial)
            if isinstance(event, SegmentDone) and fresh:
                _measure(results, job.task, {trial: ended[trial] for trial in fresh})
                fresh.clear()
            listener(event, results)
            if isinstance(event, SegmentDone):
                asked = stop()
                if keeper.save(event.position, results, ended, now=asked or event.position.state is None):
                    ended = {}
                if asked:
                    raise Interrupted
    except CannotWrite:
        raise  # the folder stays as it is, to go on with: a library's threads may be writing to it still
    except UserError:
        keeper.forget()
        raise
    finally:
        keeper.close()  # nothing is written behind the back of who called
    return results


@dataclass(frozen=True)
class Job:
    """A sweep of a task on its rows: what is to be trained, by what, on what."""

    task: Task  # opened
    sweep: Sweep
    groups: list[Group]
    functions: Functions
    reads: Callable[[Group], tuple[Reads, Data]]

    def data(self, group: Group) -> Data:
        """What a group's lanes read."""
        return self.reads(group)[1]


def prepared(sweep: Sweep, task: Task, source: Any = None) -> Job:
    """A sweep of a task, read and dealt into groups. All that the user can have got wrong raises here.

    Raises:
      UserError: then.
    """
    if not isinstance(sweep.base, task.Config):
        what = f"{type(sweep.base).__module__}.{type(sweep.base).__name__}"
        raise UserError(f"the sweep is of configs of another task than {task.name!r} ({what}); make them by task.config()")
    task = task.opened(sweep.base.data)
    task = task if source is None else task.begun_on(source)
    sweep = task.checked(sweep)

    def lowered(config: Config) -> Config:
        rows = task.rows(config)
        order.check(config, rows)
        return optimizers.lower(config, rows)

    found, functions = groups(sweep, lowered), task.functions()
    longest = _longest(task, found) if functions.evaluate is None else {}
    held: dict[int, tuple[Reads, Data]] = {}

    def of_group(group: Group) -> tuple[Reads, Data]:
        if group.trials[0] not in held:
            held.clear()  # groups come one after the other, and their rows take memory
            reads = task.reads(group.static)
            plan.check_rows(sum(x.nbytes for x in jax.tree.leaves(reads.splits)))
            data = prepare(reads.splits)
            rows = longest.get(group.trials[0])
            data = data if rows is None else padded(data, rows)
            held[group.trials[0]] = (reads, jax.tree.map(jnp.asarray, data))
        return held[group.trials[0]]

    return Job(task, sweep, found, functions, of_group)


def _longest(task: Task, found: Sequence[Group]) -> dict[int, dict[str, int]]:
    """First trial of a group -> how many rows each part has at most, of groups that differ in what they read alone."""
    alike: dict[Any, list[Group]] = {}
    for group in found:
        if task.trains(group.static):
            alike.setdefault(jax.tree.structure(group.traced()), []).append(group)
    rows: dict[int, dict[str, int]] = {}
    for several in alike.values():
        if len(several) > 1:
            each = [lengths(prepare(task.reads(group.static).splits)) for group in several]
            most = {name: max(one[name] for one in each) for name in each[0]}
            rows |= {group.trials[0]: most for group in several}
    return rows


def _events(
    job: Job, keeper: Folder | Memory, at: Position | None, lanes: Lanes, cache: Path | None
) -> Iterator[Event | Planned]:
    """What happens in all groups. After each, one more `SegmentDone`: at the beginning of the next."""
    for number in range(0 if at is None else at.group, len(job.groups)):
        group = job.groups[number]
        reads, data = job.reads(group)
        if job.task.trains(group.static):
            start = at if at is not None and at.group == number else None
            for event in _train(job, data, group, number, start, keeper, lanes, cache):
                yield reads.take(event) if isinstance(event, Ended) else event
        else:
            keeper.keep(number, Planned(Plan(1, 1, 1), {}))
            yield from job.task.solve(data, group)
        yield SegmentDone(Position(number + 1, 0, (), None))


def _train(
    job: Job,
    data: Data,
    group: Group,
    number: int,
    start: Position | None,
    keeper: Folder | Memory,
    lanes: Lanes,
    cache: Path | None,
) -> Iterator[Event | Planned]:
    """A group's plan, and what happens under it. Where the plan turns out not to fit the memory, one of half the width."""
    stored = keeper.plans[number] if number < len(keeper.plans) else None
    found = plan.candidates(len(group.trials), _lane_bytes(job.functions, group), lanes)
    if stored is not None and (lanes == Lanes() or stored.plan in found):
        planned = dataclasses.replace(stored, plan=plan.fit(stored.plan))
    else:
        planned = fastest(job.task, data, group, found, cache)
    if stored is not None and planned.plan != stored.plan:
        planned = dataclasses.replace(planned, instead=stored.plan)
    while True:
        keeper.keep(number, planned)
        yield planned
        begun = False
        try:
            for event in engine.train(job.functions, data, group, planned.plan, number, start):
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


def fastest(task: Task, data: Data, group: Group, found: Sequence[plan.Plan], cache: Path | None) -> Planned:
    """The fastest of the plans that are worth measuring for a group; a cache knows and keeps what was measured."""
    if len(found) == 1:
        return Planned(found[0], {})
    functions = task.functions()
    key = timing.program_key(f"{task.place}:{task.name}", functions, data, group)
    work = sum(config.train.steps for config in group.configs)
    planned = plan.measure(found, lambda p: timing.seconds(functions, data, group, p), work, known(cache, key))
    learn(cache, key, planned.measured)
    return planned


def _lane_bytes(task: Functions, group: Group) -> int:
    lane = state_shape(task, group.traced(), 1)
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(lane))


def _of(sweep: Sweep | Iterable[Config]) -> Sweep:
    """Any configs as a sweep."""
    if isinstance(sweep, Sweep):
        return sweep
    configs = list(sweep)
    if not configs:
        return Sweep(None, ())
    base, flat = configs[0], [flatten(config) for config in configs]
    varied = [key for key in flatten(base) if any(values[key] != flat[0][key] for values in flat)]
    points = [{key: values[key] for key in varied} for values in flat]
    if any(config.optimizer.chain is not base.optimizer.chain for config in configs):
        points = [{**p, CHAIN: c.optimizer.chain} for p, c in zip(points, configs, strict=True)]
    return Sweep(base, tuple(points))


def _results(task: Task, sweep: Sweep, **more: Any) -> Results:
    results = Results(sweep, metrics=task.metrics, task=task, **more)
    results.verdict = functools.partial(answer, results)
    return results


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
    """Adds to the rows of trials of one group what the task measures of their best states."""
    config = override(results.sweep.base, results.sweep.points[next(iter(ended))])
    found = task.measured(config, ended)
    results.rows[:] = [
        dataclasses.replace(row, measured=found[row.trial]) if row.trial in found else row for row in results.rows
    ]


def _trained(task: Task, sweep: Sweep, state: Callable[[int, Any], Any], trial: int) -> Trained:
    config = override(sweep.base, sweep.points[trial])
    return Trained(trial, config, task, *task.restored(config, trial, functools.partial(state, trial)))


def load_results(path: str | Path, task: Any = None) -> Results:
    """What a run's folder holds, without its data.

    Args:
      task: the run's, where it is one of your own: what a folder names is never imported.

    Raises:
      UserError: if there is no run, or nothing has been saved yet.
    """
    path = Path(path)
    facts = read_config(path)
    store = Store(path / CHECKPOINTS)
    store.load()
    if not store.manifest["saves"]:
        raise UserError(f"{str(path)!r} holds a run that has saved nothing yet; go on with it by --resume")
    check_trials(path, facts, store.manifest)
    rows = [row_of(facts) for facts in store.manifest["rows"]]
    asked, said = facts["sweep"], facts["task"]
    task = stored(said) if task is None else matching(task_of(task), said)
    then, now = (measured(one)[0] for one in (said, task_facts(task)))
    if then != now:
        raise UserError(f"{str(path)!r} holds a run that selects by {then}, and its task selects by {now}; give it as it was")
    try:
        task = task.reopened(said["rows"])
    except UserError as error:
        raise UserError(f"{str(path)!r} is damaged: {error}; restore it, or give another folder") from None
    sweep = Sweep(override(task.Config(), facts["base"]), tuple(asked["points"]))
    question = Question(asked["name"], asked["text"], tuple(asked["arms"]), asked["verdict"])

    def trained(trial: int) -> Trained:
        if trial >= len(sweep) or trial < 0:
            raise UserError(f"trial {trial} is not of this run; it has trials 0 to {len(sweep) - 1}")
        config = validate(override(sweep.base, sweep.points[trial]))
        return Trained(trial, config, task, *task.restored(config, trial, lambda shape: store.trial(trial, shape)))

    results = _results(task, sweep, rows=rows, trained=trained, programs=facts["programs"], out=str(path), question=question)
    for name, content in all_counting(path, store.manifest["logs"]).items():
        take_up(results, name, content)
    return results


def load(path: str | Path, trial: int | str = "best", task: Any = None) -> Trained:
    """A trained trial of a run's folder, or of one that `export` wrote, ready for `sample` or `predict`.

    Args:
      path: the folder.
      trial: its number, or "best" for the best validation score.
      task: of a run of a task of your own: that.

    Raises:
      UserError: if there is no such run or trial.
    """
    if is_exported(Path(path)):
        exported = load_exported(Path(path), None if task is None else task_of(task))
        if str(trial) not in ("best", str(exported.trial)):
            raise UserError(f"{str(path)!r} holds trial {exported.trial} alone, and not {trial}")
        return exported
    results = load_results(path, task)
    if trial == "best":
        return results.best()
    try:
        return results.trained(int(trial))
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"trial is {trial!r}, expected a number or best") from None


def load_all(path: str | Path, trials: str = "best", task: Any = None) -> list[Trained]:
    """Several trained trials of a run's folder, for their mixture.

    Args:
      trials: a number, "best", several numbers as in 3,5,8, or as many of the best as best-5 says.
      task: of a run of a task of your own: that.

    Raises:
      UserError: if there is no such run or trial.
    """
    how_many = trials.removeprefix("best-")
    if how_many == trials:
        return [load(path, trial, task) for trial in trials.split(",")]
    if not how_many.isdecimal() or int(how_many) < 1:
        raise UserError(f"trial is {trials!r}, expected a number, best, several numbers as in 3,5,8, or best-5")
    results = load_results(path, task)
    sound = sorted((r for r in results.rows if r.status != DIVERGED and math.isfinite(r.score)), key=by_score)
    if len(sound) < int(how_many):
        what = f"a finite validation {results.measure.name}"
        raise UserError(f"trial is {trials!r}, but the run has {len(sound)} trials with {what}; give fewer")
    return [results.trained(row.trial) for row in sound[: int(how_many)]]


def run_task(path: str | Path, task: Any = None) -> Task:
    """The task of a run on its rows, read again.

    Args:
      task: of a run of a task of your own: that.

    Raises:
      UserError: if the rows have moved or changed.
    """
    facts = read_config(Path(path))
    said = facts["task"]
    found = stored(said) if task is None else matching(task_of(task), said)
    data = override(found.Config(), facts["base"]).data
    found = found.opened(data)
    if found.facts(data)["sha256"] != said["rows"]["sha256"]:
        raise UserError(f"{said['rows'].get('path', said['name'])!r} has changed since the run; restore it")
    return found


def run_corpus(path: str | Path) -> Any:
    """The corpus that a run of names was trained on, read again.

    Raises:
      UserError: if the file has moved or changed, or the run is of another task.
    """
    found = getattr(run_task(path), "corpus", None)
    if found is None:
        raise UserError(f"{str(path)!r} holds a run of another task than names, which has no corpus")
    return found


def inputs_of_test(path: str | Path, task: Any = None) -> Any:
    """The inputs of a run's test part, read again, or of its validation part where there is no test part.

    Raises:
      UserError: if the rows have moved or changed.
    """
    found = run_task(path, task)
    data = override(found.Config(), read_config(Path(path))["base"]).data
    parts = parts_of(found, data)
    return found.inputs_of(parts.validation if parts.test is None else parts.test)


def sample(trained: Trained | Sequence[Trained], count: int = 20, seed: int = 0, **how: Any) -> Any:
    """What a generative task makes; of names, a list of them (`tasks.names.generate.sample` says how they are drawn).

    Args:
      trained: from `Results.best()` or `load`; several are their mixture, where the task has one.
      count: how many.
      seed: of the draw: the same one gives the same.
      how: the task's own, such as temperature, prefix and unique of names.

    Raises:
      UserError: for a value that is not allowed, or a task that makes nothing.
    """
    members = [trained] if isinstance(trained, Trained) else list(trained)
    return members[0].task.sample(members, count, seed, **how)


def predict(trained: Trained, inputs: Any) -> Any:
    """What a predicting task's trial says of inputs (N, ...), in evaluation mode: a network's outputs, (N, ...).

    Raises:
      UserError: for inputs of another kind than those that it was trained on, or a task that predicts nothing.
    """
    return trained.task.predict(trained, inputs)
