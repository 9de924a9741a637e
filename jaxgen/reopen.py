"""What a run's folder, or an export, holds: results, trained trials, the task on its rows; and what is made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgen.config import validate
from jaxgen.engine.lanes import Position
from jaxgen.engine.programs import state_shape
from jaxgen.fields import UserError, override, quoted
from jaxgen.job import prepared, results_of, trained_of, unfinished
from jaxgen.judge.results import DIVERGED, Results, Trained, by_score, together
from jaxgen.search.sweep import Question, Sweep
from jaxgen.storage.checkpoint import Store
from jaxgen.storage.facts import measured, read_config, said_by_the_task, stages_of, task_facts
from jaxgen.storage.folder import CHECKPOINTS, check_trials
from jaxgen.storage.logs import all_counting, take_up
from jaxgen.storage.portable import is_exported, is_mixture, load_exported, load_mixed
from jaxgen.tasks import matching, stored, task_of
from jaxgen.tasks.base import Task


def load_results(path: str | Path, task: Any = None) -> Results:
    """What a run's folder holds, without its data.

    Args:
      task: the run's, where it is one of your own: what a folder names is never imported.

    Raises:
      UserError: if there is no run, or nothing has been saved yet.

    Examples:
      >>> jaxgen.run(sweep, corpus, out="runs/results")
      Results(6 of 6 trials ended, in runs/results)
      >>> len(jaxgen.load_results("runs/results").rows)
      6
    """
    path = Path(path)
    facts = read_config(path)
    store = Store(path / CHECKPOINTS)
    store.load()
    if not store.manifest["saves"]:
        if "parts" in facts:
            raise UserError(f"{str(path)!r} holds a run whose parts are not merged yet: jaxgen merge {path}")
        raise UserError(f"{str(path)!r} holds a run that has saved nothing yet; go on with it by --resume")
    check_trials(path, facts, store.manifest, store.ended)
    results = results_in(path, facts, task)
    task, sweep = results.task, results.sweep
    assert task is not None

    def trained(trial: int) -> Trained:
        if trial >= len(sweep) or trial < 0:
            raise UserError(f"trial {trial} is not of this run; it has trials 0 to {len(sweep) - 1}")
        validate(override(sweep.base, sweep.points[trial]))  # a file may say anything
        if trial in store.manifest["in_lanes"]:
            return _unfinished(run_task(path, task), sweep, store, trial)
        return results.known(trained_of(task, sweep, store.trial, trial))

    results.trained = trained
    results.take_up(row for row in store.ended.rows.values() if not results.outgrown(row))
    for name, content in all_counting(path, store.manifest["logs"]).items():
        take_up(results, name, content)
    return results


def results_in(path: Path, facts: Mapping[str, Any], task: Any = None) -> Results:
    """The results of a run of which nothing is known yet but what its `config.json` says.

    Args:
      task: the run's, where it is one of your own.

    Raises:
      UserError: if that is another one, or what is said of the rows is damaged.
    """
    asked, said = facts["sweep"], facts["task"]
    task = stored(said) if task is None else matching(task_of(task), said)
    then, now = (measured(one)[0] for one in (said, task_facts(task)))
    if then != now:
        raise UserError(f"{str(path)!r} holds a run that selects by {then}, and its task selects by {now}; give it as it was")
    try:
        task = task.reopened(said_by_the_task(said["rows"]))
    except UserError as error:
        raise UserError(f"{str(path)!r} is damaged: {error}; restore it, or give another folder") from None
    points, beside = (tuple(asked.get(name, ())) for name in ("points", "beside"))
    sweep = Sweep(override(task.Config(), facts["base"]), points, *stages_of(asked), beside)
    question = Question(asked["name"], asked["text"], tuple(asked["arms"]), asked["verdict"], asked.get("names", {}))
    return results_of(task, sweep, programs=facts["programs"], out=str(path), question=question, data=said["rows"])


def _unfinished(task: Task, sweep: Sweep, store: Store, trial: int) -> Trained:
    """A trial that has not ended, as it was at its best evaluation so far, from the lanes of the newest save.

    Args:
      task: on its rows, of which a trial may take something along as it ends.

    Raises:
      UserError: if the lanes are damaged.
    """
    job, manifest = prepared(sweep, task), store.manifest
    group, lanes = job.groups[manifest["group"]], tuple(manifest["in_lanes"])
    state = store.lanes(state_shape(job.functions, group.traced(), len(lanes)))
    return unfinished(job, Position(manifest["group"], manifest["taken"], lanes, state), trial)


def load(path: str | Path, trial: int | str = "best", task: Any = None) -> Trained:
    """A trained trial of a run's folder, or of one that `export` wrote, ready for `sample` or `predict`.

    Args:
      path: the folder.
      trial: its number, or "best" for the best validation score. A trial that has not ended is as it was at its best evaluation
        so far; it is the best one where none has ended.
      task: of a run of a task of your own: that.

    Raises:
      UserError: if there is no such run or trial.

    Examples:
      >>> results = jaxgen.run(sweep, corpus, out="runs/load")
      >>> trained = jaxgen.load("runs/load")  # the best trial
      >>> jaxgen.load("runs/load", trial=4).trial
      4
    """
    if is_mixture(Path(path)):
        members = load_mixed(Path(path), str(trial), None if task is None else task_of(task))
        if len(members) > 1:
            numbers = ", ".join(str(one.trial) for one in members)
            raise UserError(f"{str(path)!r} holds the mixture of the trials {numbers}; load each by its number")
        return members[0]
    if is_exported(Path(path)):
        exported = load_exported(Path(path), None if task is None else task_of(task))
        if str(trial) not in ("best", str(exported.trial)):
            raise UserError(f"{str(path)!r} holds trial {exported.trial} alone, and not {trial}")
        return exported
    results = load_results(path, task)
    if trial == "best":
        ended, running = [row for row in results.rows if math.isfinite(row.score)], results.running()
        return results.best() if ended or not running else results.trained(min(running, key=by_score).trial)
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
    if is_mixture(Path(path)):
        return load_mixed(Path(path), trials, None if task is None else task_of(task))
    several, how_many = trials.startswith("best-"), trials.removeprefix("best-")[:9]
    if several:
        known = how_many.isdecimal() and int(how_many) > 0
    else:
        known = all(trial == "best" or trial.removeprefix("-").isdecimal() for trial in trials.split(","))
    if not known:
        how = "best-5 for the mixture of the best five, or 3,5,8 for that of these"
        raise UserError(f"trial is {quoted(trials)}, expected a number, best, {how}")
    if not several:
        return [load(path, trial, task) for trial in trials.split(",")]
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


def inputs_of_test(path: str | Path, trained: Trained, task: Any = None) -> Any:
    """The inputs of the test part of a run's trial, read again, or of its validation part where there is no test part.

    Raises:
      UserError: if the rows have moved or changed.
    """
    if is_exported(Path(path)):
        raise UserError(f"{str(path)!r} is an export, which holds no rows; give --input FILE")
    found = run_task(path, task)
    parts = found.parts(trained.config.data)
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

    Examples:
      >>> names = jaxgen.sample(trained, count=5, temperature=0.8, prefix="ma")
      >>> len(names), all(name.startswith("ma") for name in names)
      (5, True)
      >>> names == jaxgen.sample(trained, count=5, temperature=0.8, prefix="ma")  # the same seed, the same names
      True
    """
    members = together(trained)
    return members[0].task.sample(members, count, seed, **how)


def predict(trained: Trained | Sequence[Trained], inputs: Any) -> Any:
    """What a predicting task's trial says of inputs (N, ...), in evaluation mode: a network's outputs, (N, ...).

    Args:
      trained: from `Results.best()` or `load`; several are their mixture, where the task has one: the mean of what
        they say, of classes the mean of their probabilities.

    Raises:
      UserError: for inputs of another kind than those that it was trained on, or a task that predicts nothing.

    Examples:
      >>> config = task.config(train__steps=40, train__eval_every=20)
      >>> trained = jaxgen.run(config, task).best()
      >>> jaxgen.predict(trained, x[:5]).shape
      (5,)
    """
    members = together(trained)
    said = [one.task.predict(one, inputs) for one in members]
    return said[0] if len(said) == 1 else members[0].task.mixed(said)
