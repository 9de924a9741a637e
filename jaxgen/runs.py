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
import numpy as np

from jaxgen import engine, plan, timing
from jaxgen.cache import known, learn
from jaxgen.checkpoint import Store
from jaxgen.config import Config, UserError, flatten, override, validate
from jaxgen.corpus import Corpus, Vocabulary, load_corpus
from jaxgen.counts import count
from jaxgen.engine import Ended, Evaluated, Event, Looked, Position, SegmentDone
from jaxgen.facts import describe, read_config
from jaxgen.files import CannotWrite
from jaxgen.folder import CHECKPOINTS, Folder, Memory, check_trials
from jaxgen.generate import draw
from jaxgen.logs import all_counting, take_up
from jaxgen.material import Material, material
from jaxgen.models import FAMILIES
from jaxgen.models.on_counts import COUNTS
from jaxgen.objective import Task, next_character
from jaxgen.plan import Lanes, Plan, Planned
from jaxgen.portable import is_exported, load_exported, trained_of
from jaxgen.programs import Data, state_shape
from jaxgen.quality import LONGEST, Reference
from jaxgen.results import DIVERGED, Curve, Diagnostic, Results, Row, Trained, by_loss, row_of
from jaxgen.sweep import Group, Question, Sweep


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
    corpus: Corpus,
    out: str | Path | None = None,
    *,
    source: Corpus | None = None,
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
    """Trains every trial of a sweep on a corpus.

    Args:
      sweep: from `grid`, `random`, `zipped`, `seeds`, or any configs.
      corpus: from `load_corpus`; the configs' data.path and data.column play no part.
      source: what the first train.pretrain steps train on: those of its names that the corpus's vocabulary can write.
      out: the run's folder; None keeps everything in memory.
      resume: go on with the run that `out` holds (and start it if it holds none).
      overwrite: remove the run that `out` holds.
      width: lanes in all, rounded up to fill every device. None: measured, as are the next two, or as the run in `out` has it.
      chunk: lanes that a device computes at once.
      devices: how many of the local devices.
      cache: a folder that remembers what was measured (`jaxgen.cache`).
      question: what the sweep is to answer. None: which of all its settings is best.
      flags: the command line, for `config.json`.
      listener: is told each group's plan, each of the engine's events, after the results have taken it in, and what a user
        should know of a run that goes on.
      stop: asked after each segment; true saves and raises.

    Raises:
      UserError: for a sweep without trials, a value that is not allowed, a corpus too small to split, or a folder that
        holds a run or is written by another process: nothing has been written then. And for a disk that is full or fails:
        what was saved before is whole then.
      Interrupted: after `stop` said so.
    """
    sweep, question = _of(sweep, corpus), question or Question()
    if not len(sweep):
        raise UserError("the sweep has 0 trials; give at least one value for each key, and --trials and --seeds of 1 or more")
    lanes = Lanes(width, chunk, devices)
    group_list, made = material(sweep, corpus, source)
    task = next_character(len(corpus.vocabulary))
    trained = [group for group in group_list if _is_trained(group)]
    for group in trained:
        # refuses what cannot be, before anything is written
        plan.candidates(len(group.trials), _lane_bytes(task, group), lanes)
    results = Results(sweep, programs=len(trained), out=None if out is None else str(out), question=question)
    keeper = Memory() if out is None else Folder(Path(out), resume=resume, overwrite=overwrite)
    results.trained = functools.partial(_trained, sweep, corpus, keeper.trial)
    try:
        keeper.open(describe(sweep, corpus, len(trained), question, flags, source), results)
        for line in keeper.notices:
            listener(Notice(line), results)
        order = [group.trials for group in group_list]
        start = keeper.position(order, lambda group, width: state_shape(task, group_list[group].static, width))
        ended: dict[int, Any] = {}
        fresh: list[int] = []  # trials that ended in this segment
        reference = Reference(corpus.names)
        for event in _events(task, len(corpus.vocabulary), group_list, made, keeper, start, lanes, cache):
            _take(event, results)
            if isinstance(event, Ended):
                ended[event.trial] = (event.params, event.stats)
                fresh.append(event.trial)
            if isinstance(event, SegmentDone) and fresh:
                _judge(results, corpus.vocabulary, reference, {trial: ended[trial] for trial in fresh})
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


def _events(
    task: Task,
    vocabulary: int,
    group_list: Sequence[Group],
    made: Callable[[Config], Material],
    keeper: Folder | Memory,
    start: Position | None,
    lanes: Lanes,
    cache: Path | None,
) -> Iterator[Event | Planned]:
    """What happens in all groups. After each, one more `SegmentDone`: at the beginning of the next."""
    for number in range(0 if start is None else start.group, len(group_list)):
        group = group_list[number]
        data, counts = made(group.static)
        if _is_trained(group):
            resumed = start if start is not None and start.group == number else None
            for event in _train(task, data, group, number, resumed, keeper, lanes, cache):
                if isinstance(event, Ended) and counts is not None:  # from here on it is looked up as it is asked
                    event = dataclasses.replace(event, stats={**event.stats, COUNTS: counts})
                yield event
        else:
            keeper.keep(number, Planned(Plan(1, 1, 1), {}))
            yield from count(data, vocabulary, group)
        yield SegmentDone(Position(number + 1, 0, (), None))


def _train(
    task: Task,
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
    found = plan.candidates(len(group.trials), _lane_bytes(task, group), lanes)
    if stored is not None and (lanes == Lanes() or stored.plan in found):
        planned = dataclasses.replace(stored, plan=plan.fit(stored.plan))
    else:
        planned = fastest(task, data, group, found, cache)
    if stored is not None and planned.plan != stored.plan:
        planned = dataclasses.replace(planned, instead=stored.plan)
    while True:
        keeper.keep(number, planned)
        yield planned
        begun = False
        try:
            for event in engine.train(task, data, group, planned.plan, number, start):
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


def _is_trained(group: Group) -> bool:
    return FAMILIES[group.static.model.family].trained


def fastest(task: Task, data: Data, group: Group, found: Sequence[plan.Plan], cache: Path | None) -> Planned:
    """The fastest of the plans that are worth measuring for a group; a cache knows and keeps what was measured."""
    if len(found) == 1:
        return Planned(found[0], {})
    key = timing.program_key(task, data, group)
    work = sum(config.train.steps for config in group.configs)
    planned = plan.measure(found, lambda p: timing.seconds(task, data, group, p), work, known(cache, key))
    learn(cache, key, planned.measured)
    return planned


def _lane_bytes(task: Task, group: Group) -> int:
    lane = state_shape(task, group.static, 1)
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(lane))


def _of(sweep: Sweep | Iterable[Config], corpus: Corpus) -> Sweep:
    """`sweep` with the corpus's own path in its base config, so that what is stored is true."""
    if not isinstance(sweep, Sweep):
        configs = list(sweep)
        base, flat = (configs[0] if configs else Config()), [flatten(config) for config in configs]
        varied = [key for key in flatten(base) if any(values[key] != flat[0][key] for values in flat)]
        points = [{key: values[key] for key in varied} for values in flat]
        if any(config.optimizer.chain is not base.optimizer.chain for config in configs):
            points = [{**p, "optimizer.chain": c.optimizer.chain} for p, c in zip(points, configs, strict=True)]
        sweep = Sweep(base, tuple(points))
    fixed = [key for key in ("data.path", "data.column", "data.source") if key in sweep.keys]
    if fixed:
        raise UserError(f"{fixed[0]} is varied, but a run has one corpus; start a run for each file")
    return dataclasses.replace(sweep, base=override(sweep.base, {"data.path": corpus.path, "data.column": corpus.column}))


def _take(event: Event | Planned | Notice, results: Results) -> None:
    if isinstance(event, Evaluated):
        results.curves.append(Curve(event.trial, event.step, **event.metrics))
    elif isinstance(event, Looked):
        found = (Diagnostic(event.trial, event.step, layer, **values) for layer, values in event.layers.items())
        results.diagnostics.extend(found)
    elif isinstance(event, Ended):
        floats = [x for x in jax.tree.leaves(event.params) if np.issubdtype(x.dtype, np.floating)]  # an ngram has places, too
        size = sum(math.prod(x.shape) for x in floats)
        status, seed, values = event.status.name.lower(), results.seed(event.trial), results.values(event.trial)
        results.rows.append(
            Row(
                event.trial,
                status,
                seed,
                values,
                size,
                event.steps,
                event.best_step,
                **event.losses,
                flaw=event.flaw,
                quality={},
            )
        )


def _judge(results: Results, vocabulary: Vocabulary, reference: Reference, ended: Mapping[int, Any]) -> None:
    """Adds to the rows of trials of one group how good the names are that they make."""
    config = override(results.sweep.base, results.sweep.points[next(iter(ended))])
    if not config.train.names:
        return
    longest = min(max(map(len, reference.names)), LONGEST)
    drawn = draw(config.model, vocabulary, list(ended.values()), config.train.names, longest)
    quality = {trial: reference.measure(names) for trial, names in zip(ended, drawn, strict=True)}
    results.rows[:] = [
        dataclasses.replace(row, quality=quality[row.trial]) if row.trial in quality else row for row in results.rows
    ]


def _trained(sweep: Sweep, corpus: Corpus, state: Callable[[int, Any], Any], trial: int) -> Trained:
    config = override(sweep.base, sweep.points[trial])
    return trained_of(trial, config, corpus.vocabulary, max(map(len, corpus.names)), functools.partial(state, trial))


def load_results(path: str | Path) -> Results:
    """What a run's folder holds, without its corpus.

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
    asked = facts["sweep"]
    sweep = Sweep(override(Config(), facts["base"]), tuple(asked["points"]))
    question = Question(asked["name"], asked["text"], tuple(asked["arms"]), asked["verdict"])

    def trained(trial: int) -> Trained:
        if trial >= len(sweep) or trial < 0:
            raise UserError(f"trial {trial} is not of this run; it has trials 0 to {len(sweep) - 1}")
        config = validate(override(sweep.base, sweep.points[trial]))
        corpus = facts["corpus"]
        vocabulary = Vocabulary(corpus["characters"])
        return trained_of(trial, config, vocabulary, corpus["longest"], lambda shape: store.trial(trial, shape))

    results = Results(sweep, rows, trained=trained, programs=facts["programs"], out=str(path), question=question)
    for name, content in all_counting(path, store.manifest["logs"]).items():
        take_up(results, name, content)
    return results


def load(path: str | Path, trial: int | str = "best") -> Trained:
    """A trained trial of a run's folder, or of one that `export` wrote, ready for `sample`.

    Args:
      path: the folder.
      trial: its number, or "best" for the lowest validation loss.

    Raises:
      UserError: if there is no such run or trial.
    """
    if is_exported(Path(path)):
        exported = load_exported(Path(path))
        if str(trial) not in ("best", str(exported.trial)):
            raise UserError(f"{str(path)!r} holds trial {exported.trial} alone, and not {trial}")
        return exported
    results = load_results(path)
    if trial == "best":
        return results.best()
    try:
        return results.trained(int(trial))
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"trial is {trial!r}, expected a number or best") from None


def load_all(path: str | Path, trials: str = "best") -> list[Trained]:
    """Several trained trials of a run's folder, for their mixture.

    Args:
      trials: a number, "best", several numbers as in 3,5,8, or as many of the best as best-5 says.

    Raises:
      UserError: if there is no such run or trial.
    """
    how_many = trials.removeprefix("best-")
    if how_many == trials:
        return [load(path, trial) for trial in trials.split(",")]
    if not how_many.isdecimal() or int(how_many) < 1:
        raise UserError(f"trial is {trials!r}, expected a number, best, several numbers as in 3,5,8, or best-5")
    results = load_results(path)
    sound = sorted((r for r in results.rows if r.status != DIVERGED and math.isfinite(r.val_loss)), key=by_loss)
    if len(sound) < int(how_many):
        raise UserError(f"trial is {trials!r}, but the run has {len(sound)} trials with a finite validation loss; give fewer")
    return [results.trained(row.trial) for row in sound[: int(how_many)]]


def run_corpus(path: str | Path) -> Corpus:
    """The corpus that a run was trained on, read again.

    Raises:
      UserError: if the file has moved or changed.
    """
    facts = read_config(Path(path))["corpus"]
    corpus = load_corpus(facts["path"], facts["column"])
    if corpus.sha256 != facts["sha256"]:
        raise UserError(f"{facts['path']!r} has changed since the run; restore it")
    return corpus
