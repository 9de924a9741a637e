"""A run that others train, as one sees a run that this process trains: from what the parts' folders say."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jaxgen.engine.lanes import Ended, Evaluated, Position, SegmentDone
from jaxgen.job import results_of
from jaxgen.judge.results import Curve, Results
from jaxgen.machines.parts import Dealt, Part, attempts
from jaxgen.storage.claim import CHECKPOINTS
from jaxgen.storage.ended import ENDED, read_rows
from jaxgen.storage.logs import METRICS
from jaxgen.train.trial import Status

HELD = object()  # stands for the lanes' state, which lies with the workers


class View:
    """Tells a listener what happens in a run's parts.

    A file that only grows is read from where it was read to last, up to its last whole line. A worker that died leaves lines
    that the next one writes again: a trial's evaluations are told once each.
    """

    def __init__(self, run: Dealt, listener: Callable[[Any, Results], None]) -> None:
        self._run, self._listener = run, listener
        self.results = results_of(run.task, run.sweep, out=str(run.path), question=run.question)
        self._read: dict[Path, int] = {}  # bytes
        self._ended: set[int] = set()
        self._steps: dict[int, int] = {}  # of each trial's last evaluation

    def say(self, event: Any) -> None:
        """Tells something of no part."""
        self._listener(event, self.results)

    def begin(self) -> None:
        """Takes in what is there, and tells nobody: what has happened before."""
        listener, self._listener = self._listener, lambda event, results: None
        self.look(self._run.parts)
        self._listener = listener

    def look(self, parts: Iterable[Part]) -> None:
        """Tells what is new in some parts."""
        new = False
        for part in parts:
            for folder in attempts(self._run.path, part.number):
                new = self._curves(folder, part) or new
                new = self._rows(folder, part) or new
        if new:
            self.say(SegmentDone(Position(0, 0, (), HELD)))  # pyright: ignore[reportArgumentType]  (a state)

    def _lines(self, path: Path) -> list[bytes]:
        """The whole lines that a file has had since it was read last."""
        at = self._read.get(path, 0)
        try:
            if path.stat().st_size == at:
                return []
            with path.open("rb") as file:
                file.seek(max(at - 1, 0))
                if at and file.read(1) != b"\n":  # what was there has been cut off, and other lines stand in its place
                    at = 0
                    file.seek(0)
                content = file.read()
        except OSError:  # not yet
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._read[path] = at + len(whole)
        return whole.splitlines()

    def _curves(self, folder: Path, part: Part) -> bool:
        new = False
        for line in self._lines(folder / METRICS):
            with contextlib.suppress(ValueError, IndexError):  # the head, or a line whose beginning was cut off
                trial, step, *values = line.decode("ascii").split(",")
                number = part.trials[int(trial)]
                metrics = dict(zip(self.results.curve_columns, map(float, values), strict=True))
                if int(step) <= self._steps.get(number, 0):
                    continue
                self._steps[number], new = int(step), True
                self.results.curves.append(Curve(number, int(step), metrics))
                self.say(Evaluated(number, int(step), metrics))
        return new

    def _rows(self, folder: Path, part: Part) -> bool:
        new = False
        for line in self._lines(folder / CHECKPOINTS / ENDED):
            for row in read_rows(line):
                row = dataclasses.replace(row, trial=part.trials[row.trial])
                if row.trial in self._ended:
                    continue
                self._ended.add(row.trial)
                self.results.take_up([row])
                self.say(Ended(row.trial, Status[row.status.upper()], row.steps, row.best_step, {}, None, None))
                new = True
        return new
