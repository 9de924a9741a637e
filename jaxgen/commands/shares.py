"""A sweep that several processes train, as commands have it: a share of its parts, or all of them by Ray's workers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from jaxgen.commands.cli import GRACE, Signals
from jaxgen.commands.launch import How, stdout, tell
from jaxgen.engine.plan import use_every_core
from jaxgen.engine.precision import multiply
from jaxgen.fields import UserError
from jaxgen.machines import orders
from jaxgen.machines import parts as dealing
from jaxgen.machines.head import lead
from jaxgen.machines.merging import Merged, merge
from jaxgen.machines.orders import Order
from jaxgen.machines.parts import Dealt, Part, gone_on
from jaxgen.reopen import load_results, run_task
from jaxgen.report.terminal import Watch, say, visible
from jaxgen.runs import Interrupted
from jaxgen.search.sweep import Question, Sweep
from jaxgen.storage.claim import PARTS
from jaxgen.storage.facts import read_config
from jaxgen.storage.lock import Held, Lock
from jaxgen.tasks import BUILT_IN
from jaxgen.tasks.base import Task
from jaxgen.training import begin

LEADING = 75.0  # seconds from a signal to the end: workers save first
WORKERS = 4  # parts that a worker trains one after the other, where nothing says how many trials one has


@dataclass(frozen=True)
class Shared:
    """Which of a run's parts this process sees to."""

    part: str | None = None
    """K/N, or auto."""
    trials: int | None = None
    """Of a part."""
    ray: str | None = None
    """The cluster that trains all of them."""


def by_parts(out: Path, trials: int) -> bool:
    """Whether a run's folder holds one of so many trials that is trained by parts, and by nothing else so far."""
    facts = read_config(out)
    return "parts" in facts and len(facts["sweep"]["points"]) == trials and not gone_on(out, facts)


def launch(sweep: Sweep, question: Question, out: Path, how: How, shared: Shared, signals: Signals, task: Task) -> None:
    """Trains this process's share of a sweep, or leads those who train it, and prints what came of it.

    Raises:
      UserError: as `machines.parts.deal` and `runs.run`, and for flags that exclude each other.
    """
    _check(how, shared)
    console = stdout()
    use_every_core()
    share = None if shared.part is None else dealing.share(shared.part, processes)
    if how.precision is not None:
        multiply(how.precision)
    count = share[1] if share else WORKERS * _workers(shared.ray) if shared.ray else 1
    dealt = {"most": shared.trials, "shares": count, "question": question, "flags": sys.argv[1:]}
    run = dealing.deal(sweep, task.opened(sweep.base.data), out, **dealt)
    where = visible(run.task.headline(run.task.facts(run.sweep.base.data)))
    say(console, f"{question.name}: {len(run.sweep)} trials in {len(run.parts)} parts on {where}")
    for line in run.notices if shared.ray is None else ():  # the head says them
        say(console, visible(line))
    try:
        with signals.saving(GRACE if shared.ray is None else LEADING):
            if shared.ray is None:
                _train(run, dealing.mine(run, *(share or (0, 1))), how, signals, console)
            else:
                _lead(run, how, shared.ray, signals, console)
    except UserError:
        if shared.ray is not None and any(dealing.ended(out, part) for part in run.parts):
            merged(out, run.task, console)  # what the others came to
        raise
    except Interrupted:
        say(console, f"stopped; everything is saved in {out}: go on with the same command")
        signals.leave()
    left = [part.number for part in run.parts if not dealing.ended(out, part)]
    if left and share:
        say(
            console,
            f"this share has ended; {len(left)} of {len(run.parts)} parts have not: jaxgen merge {out} joins what is there",
        )
        return
    try:
        merged(out, run.task, console)
    except Held:  # by a process whose share ended at the same moment
        say(console, f"all parts have ended; another process joins them in {out}")


def _check(how: How, shared: Shared) -> None:
    """Raises UserError for flags that exclude each other."""
    if shared.part is not None and shared.ray is not None:
        raise UserError("--part and --ray exclude each other: by hand each process trains a share, and by Ray its workers do")
    if how.overwrite:
        raise UserError("--overwrite is not for a run that several processes train: remove its folder before they start")
    if how.loggers:
        raise UserError("--log and --tensorboard follow one process; leave them out, and see the report of the merged run")


def _lanes(how: How) -> dict[str, Any]:
    return {"width": how.width, "chunk": how.chunk, "devices": how.devices}


def _train(run: Dealt, parts: Sequence[Part], how: How, signals: Signals, console: Console) -> None:
    """Trains some parts, one after the other; one that another process trains is left to it."""
    kept, said = begin(how.cache)
    for line in said:
        say(console, visible(line))
    for part in parts:
        if dealing.ended(run.path, part):
            continue
        say(console, f"part {part.number} of {len(run.parts)}: {part}")
        try:
            with Watch(console) as watch:
                orders.train(orders.order(run, part, **_lanes(how)), cache=kept, listener=watch, stop=signals.wish)
        except Held as error:
            say(console, visible(f"it is left out: {error}"))
        if signals.wish():
            raise Interrupted


def _lead(run: Dealt, how: How, address: str, signals: Signals, console: Console) -> None:
    from jaxgen.machines.by_ray import RayPool

    task = run.task.name if run.task.place == BUILT_IN else run.task.place

    def order(part: Part, folder: Path) -> Order:
        return orders.order(run, part, folder, task, **_lanes(how))

    with Lock(run.path / PARTS):  # one head a run
        pool = RayPool(order, address, how.cache)
        try:
            with Watch(console) as watch:
                lead(run, pool, watch, signals.wish)
        finally:
            pool.close()


def _workers(address: str) -> int:
    """How many parts a cluster trains at the same time."""
    from jaxgen.machines.by_ray import count

    return count(address)


ASKED = "import jax; jax.distributed.initialize(); print(jax.process_index(), jax.process_count(), jax.default_backend())"
FOREVER = 10**7  # s


def processes() -> tuple[int, int]:
    """This process's place among those of a cluster that JAX knows (a TPU pod, SLURM, Open MPI), and how many there are.

    A process of its own asks: to be of a cluster is to wait for its other processes, and to end with them, and nothing is
    computed together here. The hosts of a TPU pod are of one whether they like it or not.

    Raises:
      UserError: where JAX knows of none.
    """
    import jax

    if not jax.distributed.is_initialized():
        asked = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True)
        if asked.returncode:
            why = next(iter(asked.stderr.strip().splitlines()[-1:]), "it says nothing")
            raise UserError(f"--part is auto, and JAX finds no cluster that this process is of ({why}); give K/N")
        number, count, platform = asked.stdout.split()[-3:]
        if platform != "tpu":
            return int(number), int(count)
        jax.distributed.initialize(shutdown_timeout_seconds=FOREVER)  # shares end at different times
    return jax.process_index(), jax.process_count()


def merged(path: Path, task: Task | None, console: Console | None = None) -> None:
    """Merges the parts of a run, and prints what is missing and what came of it.

    Raises:
      UserError: as `machines.merging.merge`.
    """
    console = console or Console()
    found = merge(path, task)
    for line in _said(found):
        say(console, visible(line))
    results = load_results(path, task)
    results.task = run_task(path, task)  # on its rows, of which it tells
    tell(results, path, console)


def _said(found: Merged) -> list[str]:
    """What came of a merge, in lines."""
    missing = f"; {len(found.missing)} of {found.parts} parts are not whole:" if found.missing else ""
    return [*found.notices, f"{found.ended} of {found.trials} trials ended{missing}", *(f"  {line}" for line in found.missing)]
