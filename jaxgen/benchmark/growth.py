"""What grows with the trials of a run: what a save writes, and what going on, reporting and reading take, where all has ended.

The runs are made up and nothing is trained: the folder is written by what writes it in a run, with small networks of random
numbers, so that what is measured is what a trial adds beside its arrays. Each figure is of a process of its own.
"""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxgen
from jaxgen import runs
from jaxgen.engine.lanes import Position
from jaxgen.engine.plan import Plan, Planned
from jaxgen.engine.programs import lane_shape
from jaxgen.fields import UserError
from jaxgen.job import Job, prepared, results_of
from jaxgen.judge.results import Curve
from jaxgen.search.sweep import Question, Sweep, Uniform
from jaxgen.storage.facts import describe
from jaxgen.storage.folder import Folder
from jaxgen.tasks.names.task import Names
from jaxgen.train.trial import TrialState

SEEDS = 2
LANES = 64  # trials that end between two saves
FILL = 20  # saves that make up the rest of a run
EVALUATIONS = 5
SETTINGS = {"model.hidden": 8, "model.depth": 1, "model.embedding": 4, "train.steps": 100, "train.eval_every": 20}
WHAT = ("invent", "resume", "report", "load")


@dataclass(frozen=True)
class Grown:
    """What a run of so many trials takes. Seconds are of the processors; peaks are of a process, in bytes."""

    trials: int
    save_bytes: int
    """Written by one save in which LANES more trials have ended, arrays included."""
    save_seconds: float
    resume_seconds: float
    resume_peak: int
    report_seconds: float
    report_peak: int
    load_seconds: float
    load_peak: int
    page_bytes: int
    """Of report.html."""


def sweep_of(trials: int) -> Sweep:
    """A random search of so many trials."""
    axes = {"optimizer.learning_rate": Uniform(1e-4, 1.0, log=True), "optimizer.weight_decay": Uniform(1e-6, 1e-2, log=True)}
    base = jaxgen.override(jaxgen.Config(), SETTINGS)
    return jaxgen.seeds(jaxgen.random(base, axes, trials // SEEDS), SEEDS)


def _written() -> int:
    """Bytes that this process has handed to the system to write."""
    said = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(said["wchar"])


def invent(out: Path, trials: int) -> dict[str, Any]:
    """Writes a run in which all has ended, and says what its last save took."""
    job = prepared(sweep_of(trials), Names().opened(jaxgen.Config().data))
    results = results_of(job.task, job.sweep, programs=1, question=Question())
    keeper = Folder(out, resume=False, overwrite=False)
    keeper.open(describe(job.sweep, job.task, 1, Question(), ("sweep",)), results)
    keeper.keep(0, Planned(Plan(2, LANES, 4), {}))
    last = trials - min(LANES, trials // 2)
    ends = [*range(0, last, -(-last // FILL)), last, trials]
    written, began = 0, 0.0
    for first, end in itertools.pairwise(ends):
        lasts = _end(job, results, range(first, end))
        ended = {trial: (state.best.params, state.best.stats) for trial, state in lasts.items()}
        written, began = _written(), time.process_time()
        position = Position(0, end, (), None) if end < trials else Position(1, 0, (), None)
        keeper.save(position, results, ended, lasts, now=True)
    found = {"save_bytes": _written() - written, "save_seconds": time.process_time() - began}
    keeper.arrange(results)
    keeper.close()
    return found


def _end(job: Job, results: Any, trials: Sequence[int]) -> dict[int, TrialState]:
    """Makes up the evaluations, the rows and the last states of trials that end, which are their best ones."""
    source = np.random.default_rng(trials[0])
    shapes = lane_shape(job.functions, job.groups[0].traced())
    size = sum(x.size for x in jax.tree.leaves(shapes.params))
    ended = {}
    for trial in trials:
        rate = np.log10(job.sweep.points[trial]["optimizer.learning_rate"])
        loss = 2.2 + 0.1 * (rate + 1.5) ** 2 + 0.02 * float(source.normal())
        losses = {"train_loss": loss - 0.05, "val_loss": loss, "test_loss": loss + 0.01}
        for step in np.linspace(20, 100, EVALUATIONS, dtype=int).tolist():
            results.curves.append(Curve(trial, step, {"train_loss": loss + 1 / step, "val_loss": loss + 2 / step}))
        bad = source.random() < 0.03
        row = results.row(trial, "diverged" if bad else "completed", size, 100, 100, losses, "loss" if bad else "")
        results.rows.append(replace(row, measured={"novelty": float(source.random()), "uniqueness": float(source.random())}))
        last = jax.tree.map(lambda x: source.normal(size=x.shape).astype(x.dtype), shapes)
        ended[trial] = last._replace(step=np.int32(100), best=last.best._replace(step=np.int32(100)))
    return ended


def resume(out: Path, trials: int) -> dict[str, Any]:
    """Goes on with a run that has ended; without the report, which is measured by itself."""
    runs.run(sweep_of(trials), Names(), out, resume=True)
    return {}


def report(out: Path, trials: int) -> dict[str, Any]:
    """Writes the report."""
    from jaxgen.report.page import report

    return {"page_bytes": report(out).stat().st_size}


def load(out: Path, trials: int) -> dict[str, Any]:
    """Loads the best trial."""
    jaxgen.load(out)
    return {}


def measured(what: str, out: Path, trials: int) -> dict[str, Any]:
    """One of these in this process: seconds, its peak of memory, and what it says."""
    began = time.process_time()
    found = {"invent": invent, "resume": resume, "report": report, "load": load}[what](out, trials)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {f"{what}_seconds": time.process_time() - began, f"{what}_peak": peak} | found


def grown(out: Path, trials: int) -> Grown:
    """All of them for a run of so many trials in a new folder.

    Raises:
      UserError: where one fails.
    """
    found: dict[str, Any] = {"trials": trials}
    for what in WHAT:
        line = [sys.executable, "-m", "jaxgen.benchmark.growth", what, str(out), str(trials)]
        child = subprocess.run(line, capture_output=True, text=True, check=False)
        if child.returncode:
            raise UserError(f"{what} of {trials} trials failed: {(child.stderr.strip().splitlines() or ['?'])[-1]}")
        found |= json.loads(child.stdout.splitlines()[-1])
    return Grown(**{key: value for key, value in found.items() if key in Grown.__annotations__})


if __name__ == "__main__":
    what, out, trials = sys.argv[1:]
    print(json.dumps(measured(what, Path(out), int(trials))))
