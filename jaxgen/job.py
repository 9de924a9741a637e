"""A sweep of a task on its rows, read and dealt into groups, before anything is trained."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen.config import Config
from jaxgen.engine import plan
from jaxgen.engine.lanes import Ended, Position
from jaxgen.engine.programs import Data, lengths, padded, prepare
from jaxgen.fields import CHAIN, UserError, flatten, override, quoted
from jaxgen.judge.answers import answer
from jaxgen.judge.results import Results, Trained
from jaxgen.search.sweep import Group, Sweep, groups
from jaxgen.tasks.base import Reads, Task
from jaxgen.tasks.rows import size
from jaxgen.train import order
from jaxgen.train.functions import Functions
from jaxgen.train.trial import CHUNK, Status


@dataclass(frozen=True)
class Job:
    """A sweep of a task on its rows: what is to be trained, by what, on what."""

    task: Task  # opened
    sweep: Sweep
    groups: list[Group]
    longer: Mapping[int, int]  # a group in which trials that had ended go on -> the one in which they began
    functions: Functions
    programs: int  # that train
    reads: Callable[[Group], tuple[Reads, Data]]

    def data(self, group: Group) -> Data:
        """What a group's lanes read."""
        return self.reads(group)[1]

    @property
    def trained(self) -> list[Group]:
        """The groups that are trained from their start; the others are solved, or their trials go on."""
        return _begun(self.task, self.groups, self.longer)


def prepared(sweep: Sweep, task: Task, source: Any = None, grown: Callable[[Sweep], Sweep] = lambda sweep: sweep) -> Job:
    """A sweep of a task, read and dealt into groups. All that the user can have got wrong raises here.

    Args:
      grown: makes it the sweep of a run that is gone on with (`storage.grown`).

    Raises:
      UserError: then.
    """
    if not isinstance(sweep.base, task.Config):
        what = f"{type(sweep.base).__module__}.{type(sweep.base).__name__}"
        raise UserError(f"the sweep is of configs of another task than {task.name!r} ({what}); make them by task.config()")
    task = task.opened(sweep.base.data)
    task = task if source is None else task.begun_on(source)
    sweep = grown(task.checked(sweep))
    counted: dict[Any, int] = {}

    def rows_of(config: Config) -> int:
        key = (config.data, config.model)  # all that rows may depend on; to cut them anew for each trial takes time
        rows = counted[key] if key in counted else counted.setdefault(key, task.rows(config))
        order.check(config, rows)
        return rows

    functions = task.functions()
    found, longer = _staged(task, sweep, rows_of)
    longest, programs = _shared(task, _begun(task, found, longer), functions)
    held: dict[int, tuple[Reads, Data]] = {}

    def of_group(group: Group) -> tuple[Reads, Data]:
        if group.trials[0] not in held:
            held.clear()  # groups come one after the other, and their rows take memory
            reads = task.reads(group.static)
            plan.check_rows(sum(x.nbytes for x in jax.tree.leaves(reads.splits)))
            if reads.splits.source is not None:
                for config in group.configs:
                    order.check(config, size(reads.splits.source))
            data = prepare(reads.splits)
            rows = longest.get(group.trials[0])
            data = data if rows is None else padded(data, rows)
            held[group.trials[0]] = (reads, jax.tree.map(jnp.asarray, data))
        return held[group.trials[0]]

    return Job(task, sweep, found, longer, functions, programs, of_group)


def _begun(task: Task, found: Sequence[Group], longer: Mapping[int, int]) -> list[Group]:
    """Of some groups those that are trained from their start."""
    return [group for number, group in enumerate(found) if number not in longer and task.trains(group.static)]


def _staged(task: Task, sweep: Sweep, rows_of: Callable[[Config], int]) -> tuple[list[Group], dict[int, int]]:
    """The groups of a sweep in the order in which it has grown, and `Job.longer`.

    Where trials that had ended are given more steps, the groups in which they began come once more, behind all others.
    """
    configs, beside, found, longer = list(sweep), list(sweep.company), list[Group](), dict[int, int]()
    for first, last in itertools.pairwise((0, *sweep.stages, len(configs))):
        found += groups(configs[first:last], rows_of, first, beside)
        begun = [n for n, group in enumerate(found) if n not in longer and task.trains(group.static)]
        for number in begun * sweep.longer.count(last):
            longer[len(found)] = number
            found.append(found[number])
    return found, longer


def _shared(task: Task, trained: Sequence[Group], functions: Functions) -> tuple[dict[int, dict[str, int]], int]:
    """Which groups share a program though they read other rows: first trial of a group -> how many rows each part is filled up
    to; and how many programs there are.

    They do where their configs have one structure. A part of fewer rows than are evaluated at once is computed in a chunk of
    its own size, which a longer one would change, and with it the last bits; there, only parts of one length share.
    """
    found = [(group, jax.tree.structure(group.traced())) for group in trained]
    structures = Counter(structure for _, structure in found)
    alike: dict[Any, list[tuple[Group, dict[str, int]]]] = {}
    for group, structure in found:
        each = {} if structures[structure] == 1 else lengths(prepare(task.reads(group.static).splits))
        parts = frozenset(part for part, count in each.items() if count)
        alike.setdefault((structure, parts), []).append((group, each))
    rows: dict[int, dict[str, int]] = {}
    programs = 0
    for several in alike.values():
        counts = [each for _, each in several]
        kinds = {tuple(each.items()) for each in counts}
        long = all(len({n[part] for n in counts}) == 1 or min(n[part] for n in counts) >= CHUNK for part in counts[0])
        if len(kinds) > 1 and long and functions.evaluate is None:  # what sees whole splits is to see nothing else
            most = {part: max(each[part] for each in counts) for part in counts[0]}
            rows |= {group.trials[0]: most for group, _ in several}
            kinds = {tuple(most.items())}
        programs += len(kinds)
    return rows, programs


def sweep_of(sweep: Sweep | Config | Iterable[Config]) -> Sweep:
    """Any configs as a sweep; one alone is a sweep of one trial.

    Raises:
      UserError: for what is none.
    """
    if isinstance(sweep, Sweep):
        return sweep
    if is_dataclass(sweep):
        return Sweep(sweep)  # pyright: ignore[reportArgumentType]  (a config)
    configs = list(sweep) if isinstance(sweep, Iterable) else [sweep]
    if (strange := next((one for one in configs if not is_dataclass(one)), None)) is not None:
        raise UserError(
            f"{quoted(strange)} was given for a config; expected a sweep, from jaxgen.grid, random, zipped or seeds, or "
            "configs, from jaxgen.Config or a task's config()"
        )
    if not configs:
        return Sweep(None, ())
    base, flat = configs[0], [flatten(config) for config in configs]
    varied = [key for key in flatten(base) if any(values[key] != flat[0][key] for values in flat)]
    points = [{key: values[key] for key in varied} for values in flat]
    if any(config.optimizer.chain is not base.optimizer.chain for config in configs):
        points = [{**p, CHAIN: c.optimizer.chain} for p, c in zip(points, configs, strict=True)]
    return Sweep(base, tuple(points))


def trained_of(task: Task, sweep: Sweep, state: Callable[[int, Any], Any], trial: int) -> Trained:
    """A trained trial of a sweep, from `state(trial, the shapes of its params and stats)`."""
    config = override(sweep.base, sweep.points[trial])
    return Trained(trial, config, task, *task.restored(config, trial, functools.partial(state, trial)))


def unfinished(job: Job, position: Position, trial: int) -> Trained:
    """A trial that still trains, as it was at its best evaluation so far.

    Args:
      position: where its group stands: `trial` is in one of the lanes.
    """
    at, state = position.lanes.index(trial), jax.device_get(position.state)
    reads, _ = job.reads(job.groups[position.group])
    best = jax.tree.map(lambda x: x[at], state.best)
    now = reads.take(Ended(trial, Status.RUNNING, int(state.step[at]), int(best.step), {}, best.params, best.stats))
    config = override(job.sweep.base, job.sweep.points[trial])
    return Trained(trial, config, job.task, now.params, now.stats, int(best.step))


def results_of(task: Task, sweep: Sweep, **more: Any) -> Results:
    """The results of a sweep of a task, of which nothing is known yet."""
    results = Results(sweep, metrics=task.metrics, task=task, **more)
    results.verdict = functools.partial(answer, results)
    return results
