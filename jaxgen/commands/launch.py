"""From a sweep to a trained run on disk, with the leaderboard and names from the winner: what sweep and train do alike."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from jaxgen.commands.cli import Signals
from jaxgen.engine.lanes import Event
from jaxgen.engine.plan import Planned, use_every_core
from jaxgen.engine.precision import multiply
from jaxgen.fields import UserError
from jaxgen.judge.floors import reference, standings
from jaxgen.judge.results import Results
from jaxgen.loggers.telling import log_to
from jaxgen.report.glimpse import Glimpse
from jaxgen.report.page import report
from jaxgen.report.terminal import SHOWN, Watch, leaderboard, say, visible
from jaxgen.runs import Interrupted, Notice
from jaxgen.search.sweep import Question, Sweep
from jaxgen.tasks.base import Task
from jaxgen.training import run


@dataclass(frozen=True)
class How:
    """The flags of a command that trains, but for the config's."""

    resume: bool = False
    overwrite: bool = False
    cache: bool = True
    width: int | None = None
    chunk: int | None = None
    devices: int | None = None
    log: str | None = None
    tensorboard: bool = False
    precision: str | None = None

    @property
    def loggers(self) -> list[str]:
        """The names of the loggers that are asked for."""
        return [*([] if self.log is None else self.log.split(",")), *(["tensorboard"] if self.tensorboard else [])]


def folder_of(given: str | None, name: str) -> Path:
    """The run's folder, from --out.

    Raises:
      UserError: if it has no name.
    """
    if given == "":
        raise UserError("--out is empty; give the run's folder a name, or drop the flag")
    return Path(given or f"runs/{name}")


def stdout() -> Console:
    """Where a command that trains prints."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 120  # a log has no width of its own
    return console


def launch(sweep: Sweep, question: Question, out: Path, how: How, signals: Signals, task: Task) -> None:
    """Trains the sweep in `out` and prints what came of it.

    Raises:
      UserError: as `run`, and for a logger that is none, or has no package to log with.
    """
    console = stdout()
    logging = log_to(*how.loggers, say=lambda line: say(console, line))
    use_every_core()
    if how.precision is not None:
        multiply(how.precision)
    task = task.opened(sweep.base.data)
    where = visible(task.headline(task.facts(sweep.base.data)))
    say(console, f"{question.name}: {len(sweep)} trial{'s' * (len(sweep) != 1)} on {where}")
    looks = [visible(line) for line in logging.look(out)]
    for line in looks:
        say(console, f"to look on: {line}", whole=True)
    with logging:  # what is told is waited for when all else has been done
        try:
            with signals.saving(), Watch(console) as watch:
                glimpse = Glimpse(watch.glimpsed)

                def tell_all(event: Event | Planned | Notice, results: Results) -> None:
                    watch(event, results)
                    glimpse(event, results)
                    logging(event, results)

                results = run(
                    sweep,
                    task,
                    out,
                    resume=how.resume,
                    overwrite=how.overwrite,
                    width=how.width,
                    chunk=how.chunk,
                    devices=how.devices,
                    cache=how.cache,
                    progress=False,  # is shown here, where the command prints
                    report=False,
                    question=question,
                    flags=sys.argv[1:],
                    listener=tell_all,
                    stop=signals.wish,
                )
                logging.begin(results)  # of a run that had ended before
        except Interrupted:
            results = None
        if results is None or signals.wish():
            say(console, f"stopped; everything is saved in {out}: go on with the same command and --resume")
            signals.leave()
        tell(results, out, console)
    for line in looks:
        say(console, f"  curves and settings: {line}", whole=True)


def tell(results: Results, out: Path, console: Console) -> None:
    """Prints the leaderboard, the verdict and what the task shows of the winner, and writes the report."""
    task = results.task
    assert task is not None
    console.print(leaderboard(results, SHOWN, reference=reference(task, results)))
    for sentence in (*standings(task, results), *results.verdict().sentences):
        say(console, visible(str(sentence)))
    ended = any(math.isfinite(row.score) for row in results.rows)
    for place, line in enumerate(task.closing(results) if ended else ()):
        say(console, line) if place == 0 else console.print(visible(line), markup=False, highlight=False)  # between words
    page = report(out, task)
    programs = f"{results.programs} training program{'s' * (results.programs != 1)} compiled"
    say(console, f"\n{programs}. Everything lies in {out}:\n  open {page}", whole=True)
    for line in task.further(str(out)):
        say(console, f"  {line}", whole=True)
