"""A run as people start it, from Python or by a command: on every core, with what was compiled before, seen as it trains."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from jaxgen import runs
from jaxgen.config import Config
from jaxgen.engine.lanes import Event
from jaxgen.engine.plan import Planned, cores, use_every_core
from jaxgen.judge.results import Results
from jaxgen.report.glimpse import Glimpse
from jaxgen.report.live import Cell, in_notebook
from jaxgen.report.page import report as write_report
from jaxgen.report.terminal import Watch
from jaxgen.runs import Notice
from jaxgen.search.sweep import Question, Sweep
from jaxgen.storage.cache import keep_programs, mending, private_folder

Listener = Callable[[Event | Planned | Notice, Results], None]


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
    cache: bool = True,
    progress: bool = True,
    report: bool = True,
    question: Question | None = None,
    flags: Sequence[str] = (),
    listener: Listener = lambda event, results: None,
    stop: Callable[[], bool] = lambda: False,
) -> Results:
    """Trains every trial of a sweep on every core or accelerator, and shows how far it is.

    Args:
      sweep: from `grid`, `random`, `zipped`, `seeds`, or any configs; one config alone is a sweep of one trial.
      task: a `Task`, from `supervised` or a class of one's own; or names: a corpus from `load_corpus`, a list of names, or the
        file that holds them: the configs' data.path and data.column play no part then.
      out: the run's folder, which `load` and the commands read; None keeps everything in memory.
      source: of names, a corpus that the first train.pretrain steps train on.
      resume: go on with the run that `out` holds (and start it if it holds none). A sweep of all that the run has and more
        makes it longer: what is new comes behind. One of more steps trains its trials on from where they are.
      overwrite: remove the run that `out` holds.
      width: lanes in all, rounded up to fill every device. None: measured, as are the next two, or as the run in `out` has it.
      chunk: lanes that a device computes at once.
      devices: how many of the local devices; CPU cores count.
      cache: keep compiled programs and measured plans for the next time, in the user's own cache folder.
      progress: show how far it is: a bar in a terminal, a table in a notebook, a line now and then elsewhere, on stderr. False:
        nothing is printed.
      report: write report.html and plots/ into `out` at the end.
      question: what the sweep is to answer. None: which of all its settings is best.
      flags: a command line that does the same, for `config.json`.
      listener: is told each group's plan and each of the engine's events, after the results have taken it in.
      stop: asked after each segment; true saves and raises.

    Raises:
      UserError: for a sweep without trials, a value that is not allowed, rows too few to split, a task whose functions do not
        fit together, or a folder that holds a run or is written by another process: nothing has been written then. And for a
        disk that is full or fails: what was saved before is whole then.
      runs.Interrupted: after `stop` said so.

    Examples:
      >>> sweep = jaxgen.grid(config, {"optimizer.name": ["sgd", "adam"], "seed": range(3)})
      >>> results = jaxgen.run(sweep, corpus, out="runs/first", progress=False)  # out=None keeps it in memory
      >>> results
      Results(6 of 6 trials ended, in runs/first)
      >>> jaxgen.run(sweep, corpus, out="runs/first", resume=True, progress=False)  # nothing is left to do
      Results(6 of 6 trials ended, in runs/first)
    """
    kept, said = begin(cache)
    with contextlib.ExitStack() as open_ones:
        shown: list[Listener] = []
        if progress:
            seen = open_ones.enter_context(watch())
            shown = [seen, Glimpse(seen.glimpsed)]
        open_ones.enter_context(mending(kept, said.append))

        def tell_all(event: Event | Planned | Notice, results: Results) -> None:
            for one in (*shown, listener):
                for line in said:
                    one(Notice(line), results)
                one(event, results)
            said.clear()

        results = runs.run(
            sweep,
            task,
            out,
            source=source,
            resume=resume,
            overwrite=overwrite,
            width=width,
            chunk=chunk,
            devices=devices,
            cache=kept,
            question=question,
            flags=flags,
            listener=tell_all,
            stop=stop,
        )
    if out is not None and report:
        page = write_report(out, results.task)
        if progress:
            console().print(f"open {page}", markup=False, highlight=False, soft_wrap=True)
    return results


def begin(cache: bool) -> tuple[Path | None, list[str]]:
    """Makes ready a process that will train: each core is a device, and compiled programs are kept.

    Returns:
      the folder that remembers them, and what a user should know.
    """
    kept = private_folder() if cache else None
    if kept is not None and jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
        keep_programs(kept)
    try:
        use_every_core()
    except RuntimeError:  # JAX has computed something, and its devices are as they are
        there = jax.local_device_count()
        if jax.default_backend() == "cpu" and there < cores():
            return kept, [
                f"JAX was used before, so that this trains on {there} of {cores()} cores; call jaxgen.run before JAX computes "
                f"anything, or set JAX_NUM_CPU_DEVICES={cores()}"
            ]
    return kept, []


def console() -> Console:
    """Where a library says something: stderr, so that what a program prints stays its own."""
    return Console(stderr=True)


def watch() -> Any:
    """What shows how far a run is: where this process runs, in the way that suits it."""
    return Cell() if in_notebook() else Watch(console())
