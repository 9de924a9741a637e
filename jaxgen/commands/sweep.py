"""Trains the trials of an ablation, a grid or a random search side by side, ranks them, saves them, and generates."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from jaxgen.called import called
from jaxgen.commands.cli import Signals, asked, flags_of, parse
from jaxgen.commands.starting import SHORT, base_of
from jaxgen.fields import UserError, keys, override, quoted
from jaxgen.search.sweep import RANDOM_TRIALS, Question, Sweep, grid, random, read_axis, read_random, seeds, zipped
from jaxgen.tasks import BUILT_IN, TASKS, find
from jaxgen.tasks.base import Task
from jaxgen.tasks.names.config import Config

A = TypeVar("A")
DEFAULT = "optimizers"
MOST = 100_000
ADDRESS = re.compile(r"auto|local|[\w.-]*:.*")  # of a Ray cluster
Precision = Literal["highest", "high", "default"]
Strings = tyro.conf.UseAppendAction[tuple[str, ...]]


@dataclass(frozen=True)
class Flags:
    """Trains many configurations side by side, ranks them, saves them, and generates from the winner.

    Without an ablation, --grid, --random or --zip: the optimizers ablation on the bundled corpus.
    """

    ablation: tyro.conf.Positional[str | None] = None
    """A question with a name, such as optimizers; --list shows them all."""
    task: str = "names"
    """What is trained: a task that comes with the package, or FILE.py:OBJECT or package.module:OBJECT, one of your own."""
    data: str | None = None
    """The file that is read, of names a name a line, or a table (CSV, TSV); short for --data.path."""
    column: str | None = None
    """The column of a table, by its name or number; short for --data.column."""
    preset: str | None = None
    """A config by name to start from, which flags change: for names, generator (good names within a minute), counts, dl101,
    transformer."""
    start: Annotated[str | None, tyro.conf.arg(name="config")] = None
    """A run, an export, or a JSON or TOML file whose config is started from; of a run, that of its best setting."""
    out: str | None = None
    """The run's folder. Left out: runs/ABLATION."""
    grid: Strings = ()
    """Values of a key to try, each with each of the other keys': --grid model.hidden=50,100."""
    zip: Strings = ()
    """Values of several keys to try side by side: the first of each together, the second of each, and so on."""
    random: Strings = ()
    """Values of a key to draw at random: between two ends (log: evenly in powers of ten), or of a list, KEY=A,B,..."""
    trials: int | None = None
    """How many to draw. Left out: 20."""
    seeds: int | None = None
    """How often each is trained, each time from another seed, from --seed on. Left out: the ablation's own, else 1."""
    width: int | None = None
    """Networks that train side by side. Left out: measured."""
    chunk: int | None = None
    """Networks that a device computes at once. Left out: measured."""
    devices: int | None = None
    """Devices to use; CPU cores count. Left out: all."""
    no_cache: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Keep no compiled programs and no measured plans for the next time."""
    precision: Precision | None = None
    """How exactly a GPU or a TPU multiplies: highest (float32), high or default (coarser). Left out: highest."""
    log: str | None = None
    """Where else the run is logged: one or several of tensorboard,mlflow,wandb,trackio, with commas between them."""
    tensorboard: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Short for --log tensorboard: files for TensorBoard, in tensorboard/ of the run's folder."""
    part: str | None = None
    """Train one share of the sweep alone, K/N, such as 3/8 (a queue's index and count; from 0 or from 1), or auto on the hosts
    of a cluster; all processes name one folder, and jaxgen merge joins what they trained."""
    part_trials: int | None = None
    """Trials of a part, of which each process trains some. Left out: an even share for each, and 256 at most."""
    ray: str | None = None
    """Let the workers of a Ray cluster train: auto (one that runs here, else this machine alone) or its address."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on with the run in --out: to its end, or to more seeds, values, points or steps."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace the run in --out."""
    list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the ablations, with the minutes that each takes, and stop."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def given(args: Sequence[str], kind: type) -> set[str]:
    """The config keys that a command line names."""
    flags = {arg.removeprefix("--").partition("=")[0].replace("-", "_") for arg in args if arg.startswith("--")}
    return {SHORT.get(flag, flag) for flag in flags} & keys(kind).keys()


def sweep_of(flags: Any, task: Task, named: Collection[str] = ()) -> tuple[Question, Sweep]:
    """What the sweep is to answer, and its trials.

    Args:
      flags: of this command, with the task's config.
      named: the config keys that the command line gives: these an ablation leaves alone.

    Raises:
      UserError: for an unknown ablation, a value that is not allowed, a number of trials or seeds out of 1 to MOST,
        or a key that is both a flag and varied.
    """
    from jaxgen.commands.ablations import ablations, owners

    base = base_of(flags, task, named)
    own = bool(flags.grid or flags.random or flags.zip or flags.preset or flags.start)
    kind, known = type(base), ablations(task.name) if task.place == BUILT_IN else {}
    name = flags.ablation or (DEFAULT if DEFAULT in known and not own else "sweep")
    sweep, count, question, settings = Sweep(base), 1, Question(name), set()
    if flags.ablation is not None or name == DEFAULT:
        if name not in known:
            raise UserError(_no_ablation(name, known, owners()))
        ablation = known[name]
        kept = {*named, *(() if flags.preset is None else task.presets[flags.preset].values)}
        base = override(base, {key: value for key, value in ablation.SETTINGS.items() if key not in kept})
        sweep, count, question, settings = ablation.sweep(base), ablation.SEEDS, ablation.QUESTION, set(ablation.SETTINGS)
    sweep = grid(sweep, _axes(read_axis(text, kind) for text in flags.grid))
    if flags.zip:
        sweep = zipped(sweep, _axes(read_axis(text, kind) for text in flags.zip))
    for flag, number in (("--trials", flags.trials), ("--seeds", flags.seeds)):
        if number is not None and not 1 <= number <= MOST:
            raise UserError(f"{flag} is {number}, which makes 0 trials or too many; expected 1 to {MOST}")
    if flags.trials is not None and not flags.random:
        raise UserError("--trials is given without --random; add --random KEY=LOW:HIGH, or drop it")
    if flags.random:
        drawn = _axes(read_random(text, kind) for text in flags.random)
        sweep = random(sweep, drawn, RANDOM_TRIALS if flags.trials is None else flags.trials)
    for key in sweep.keys:
        if key in named and key not in settings:  # an ablation may vary what it is given, such as a budget
            raise UserError(f"--{key} is given, but the sweep varies {key}; drop the flag, or choose another sweep")
    if "seed" not in sweep.keys:
        sweep = seeds(sweep, count if flags.seeds is None else flags.seeds)
    elif flags.seeds is not None:
        raise UserError("--seeds is given, but the seed is varied already; drop one of them")
    return question, sweep


def _no_ablation(name: str, known: Collection[str], every: Collection[str]) -> str:
    """What to say of an ablation that a task does not have."""
    alike = difflib.get_close_matches(name.lower().replace("-", "_"), [*known, *every], 1, 0.6)
    if alike:
        return f"there is no ablation {quoted(name)}; did you mean {alike[0]}? (--list shows them all)"
    some = f"one of {', '.join(known)}, or " if known else ""
    return f"there is no ablation {quoted(name)}; expected {some}--grid KEY=A,B,..."


def _axes(pairs: Iterable[tuple[str, A]]) -> dict[str, A]:
    axes: dict[str, A] = {}
    for key, axis in pairs:
        if key in axes:
            raise UserError(f"{key} is varied twice; give all its values in one flag")
        axes[key] = axis
    return axes


def show() -> None:
    """Prints the ablations of every task with their questions, and what they take: minutes as they were measured once."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from jaxgen.commands.ablations import grouped

    about = "steps: of each trial. minutes: about, as measured once on two CPU cores."
    about = f"{about} {called('sweep ABLATION')} trains one of them."
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=about, caption_justify="left")
    table.add_column("ablation", no_wrap=True)
    table.add_column("question", overflow="fold")
    for head in ("trials", "steps", "minutes"):
        table.add_column(head, justify="right", no_wrap=True)
    before = None
    for name in TASKS:
        task = find(name)
        for group, ablations in grouped(name).items():
            if group != before:
                table.add_section()
                table.add_row(Text(group, style="bold"))
            before = group
            for ablation in ablations:
                question, sweep = sweep_of(flags_of(Flags, task)(ablation.QUESTION.name), task)
                steps = sorted({config.train.steps for config in sweep})
                some = " to ".join(f"{n:,}" for n in dict.fromkeys((steps[0], steps[-1])))
                table.add_row(question.name, Text(question.text), str(len(sweep)), some, f"{ablation.MINUTES:.1f}")
    Console().print(table)


def command(signals: Signals) -> None:
    from jaxgen.commands.ablations import owners

    args = addressed(sys.argv[1:])
    task = asked(args, owners())
    flags = parse(flags_of(Flags, task), "sweep", args)
    if flags.list:
        show()
        return
    question, sweep = sweep_of(flags, task, given(sys.argv[1:], task.Config))
    list(sweep)  # every value is allowed, before anything heavy is imported
    from jaxgen.commands.launch import How, folder_of, launch

    lanes = (flags.width, flags.chunk, flags.devices)
    how = How(flags.resume, flags.overwrite, not flags.no_cache, *lanes, flags.log, flags.tensorboard, flags.precision)
    out = folder_of(flags.out, question.name)
    shared = (flags.part, flags.part_trials, flags.ray)
    if shared == (None, None, None) and not (flags.resume and _dealt(out, len(sweep))):
        launch(sweep, question, out, how, signals, task)
        return
    from jaxgen.commands import shares

    shares.launch(sweep, question, out, how, shares.Shared(*shared), signals, task)


def addressed(args: Sequence[str]) -> list[str]:
    """A command line in which --ray by itself stands for --ray auto."""
    pairs = zip(args, [*args, ""][1:], strict=True)
    return ["--ray=auto" if arg == "--ray" and not ADDRESS.fullmatch(after) else arg for arg, after in pairs]


def _dealt(out: Path, trials: int) -> bool:
    """Whether a folder holds a run of so many trials that several processes train."""
    from jaxgen.storage.claim import CONFIG, PARTS

    if not (out / CONFIG).exists() or not (out / PARTS).exists():
        return False
    from jaxgen.commands.shares import by_parts

    return by_parts(out, trials)
