"""What a worker is told of a part, as plain values, and the training of it, in whatever process and on whatever machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxgen import runs
from jaxgen.engine.precision import chosen, multiply
from jaxgen.fields import CHAIN, UserError, flatten, override
from jaxgen.judge.results import Results
from jaxgen.machines.parts import Dealt, Part, first, place
from jaxgen.search.sweep import Question, Sweep
from jaxgen.storage.claim import PARTS
from jaxgen.storage.files import read, writing
from jaxgen.tasks import find, task_of


@dataclass(frozen=True)
class Order:
    """All that a worker needs to train a part."""

    run: Path
    """The run's folder."""
    part: Part
    folder: Path
    """The part's."""
    cwd: str
    """The folder that names of files in the config and of the task go from."""
    task: Any
    """The task, or its name (`tasks.find`)."""
    base: Mapping[str, Any]
    points: tuple[Mapping[str, Any], ...]
    beside: tuple[Mapping[str, Any], ...]
    question: Question
    flags: tuple[str, ...]
    source: Any
    precision: str
    width: int | None = None
    chunk: int | None = None
    """None: that of the run."""
    devices: int | None = None

    def sweep(self, task: Any) -> Sweep:
        """The part's trials."""
        return Sweep(override(task.Config(), self.base), self.points, beside=self.beside)


def order(
    run: Dealt,
    part: Part,
    folder: Path | None = None,
    task: Any = None,
    *,
    width: int | None = None,
    chunk: int | None = None,
    devices: int | None = None,
) -> Order:
    """What a worker is told of a part.

    Args:
      folder: where it is trained. None: in the part's own folder.
      task: what stands for the run's task where it cannot be sent.
      width, chunk, devices: as `runs.run`; no chunk is less than said.
    """
    of = run.sweep_of(part)
    chain = of.base.optimizer.chain
    return Order(
        run=run.path.absolute(),
        part=part,
        folder=(folder or place(run.path, part.number)).absolute(),
        cwd=os.getcwd(),
        task=run.task if task is None else task,
        base=flatten(of.base) | ({} if chain is None else {CHAIN: chain}),
        points=of.points,
        beside=of.beside,
        question=run.question,
        flags=run.flags,
        source=run.source,
        precision=chosen(),
        width=width,
        chunk=chunk,
        devices=devices,
    )


def train(
    told: Order,
    *,
    cache: Path | None = None,
    listener: Callable[[Any, Results], None] = lambda event, results: None,
    stop: Callable[[], bool] = lambda: False,
) -> Results:
    """Trains a part, from its beginning or from its last save.

    Args:
      cache, listener, stop: as `runs.run`.

    Raises:
      UserError, Interrupted: as `runs.run`.
    """
    task = find(told.task) if isinstance(told.task, str) else task_of(told.task)
    if told.precision != chosen():
        multiply(told.precision)
    with writing(told.folder):
        told.folder.parent.mkdir(parents=True, exist_ok=True)
    return runs.run(
        told.sweep(task),
        task,
        told.folder,
        source=told.source,
        resume=True,
        width=told.width,
        chunk=told.chunk,
        devices=told.devices,
        cache=cache,
        question=told.question,
        flags=told.flags,
        listener=listener,
        stop=stop,
        agree=agreed(told.run, told.part.group),
    )


def agreed(run: Path, group: int) -> Callable[[int | None], int | None]:
    """What says how many lanes are computed at once in a group, to all workers the same: as the first one measured it.

    It is given what was measured, or None to ask, and gives None where nobody has measured any.
    """
    path = run / PARTS / f"chunk-{group:05d}.json"

    def agree(measured: int | None) -> int | None:
        if measured is not None:
            first(path, json.dumps(measured).encode())
        try:
            said = json.loads(read(path, 100))
        except FileNotFoundError:
            return None
        except ValueError:
            said = None
        if not isinstance(said, int) or said < 1:
            raise UserError(f"{str(path)!r} is damaged; it holds how many networks a device computes at once: remove it")
        return said

    return agree
