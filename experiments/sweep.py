"""Trains the trials of an ablation, a grid or a random search side by side, ranks them, saves them, and generates."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, TypeVar

import tyro

from experiments.ablations import ABLATIONS
from experiments.cli import Signals, main, parse
from jaxgen.config import Config, DataConfig, UserError, flatten, override
from jaxgen.sweep import Question, Sweep, grid, random, read_axis, read_uniform, seeds, zipped

A = TypeVar("A")
DEFAULT = "optimizers"
RANDOM_TRIALS = 20
MOST = 100_000
Strings = tyro.conf.UseAppendAction[tuple[str, ...]]


@dataclass(frozen=True)
class Flags:
    """Trains many configurations side by side, ranks them, saves them, and generates from the winner.

    Without an ablation, --grid, --random or --zip: the optimizers ablation on the bundled corpus.
    """

    ablation: tyro.conf.Positional[str | None] = None
    """A named sweep that answers one question; see --list."""
    data: str | None = None
    """A text file (a name a line) or a CSV file; short for --data.path."""
    column: str | None = None
    """The column of a CSV file; short for --data.column."""
    out: str | None = None
    """The run's folder. None: runs/NAME."""
    grid: Strings = ()
    """KEY=A,B,...: every combination with the other axes."""
    zip: Strings = ()
    """KEY=A,B,...: first values together, second values together, ..."""
    random: Strings = ()
    """KEY=LOW:HIGH[:log]: random search; --trials says how many."""
    trials: int | None = None
    """Points of the random search. None: 20."""
    seeds: int | None = None
    """Seeds a configuration, from --seed on. None: the ablation's own, else 1."""
    width: int | None = None
    """Lanes in all. None: measured."""
    chunk: int | None = None
    """Lanes that a device computes at once. None: measured."""
    devices: int | None = None
    """Devices to use; CPU cores count. None: all."""
    no_cache: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Keep no compiled programs and no measured plans for the next time."""
    tensorboard: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write files for TensorBoard too, into tensorboard/ of the run's folder."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on with the run in --out."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace the run in --out."""
    list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the ablations and stop."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def base_of(config: Config, data: str | None, column: str | None) -> Config:
    """The base config with --data and --column in it.

    Raises:
      UserError: if a short flag and its long form say different things.
    """
    shorts = (("data", data, config.data.path, DataConfig.path), ("column", column, config.data.column, DataConfig.column))
    for name, short, long, default in shorts:
        if short is not None and long not in (default, short):
            raise UserError(f"--{name} is {short!r}, but its long form says {long!r}; give one of them")
    path = config.data.path if data is None else data
    return replace(config, data=replace(config.data, path=path, column=config.data.column if column is None else column))


def given(args: Sequence[str]) -> set[str]:
    """The config keys that a command line names."""
    flags = {arg.removeprefix("--").partition("=")[0].replace("-", "_") for arg in args if arg.startswith("--")}
    return {{"data": "data.path", "column": "data.column"}.get(flag, flag) for flag in flags} & flatten(Config()).keys()


def sweep_of(flags: Flags, named: Collection[str] = ()) -> tuple[Question, Sweep]:
    """The sweep that the flags ask for, and what it is to answer.

    Args:
      named: the config keys that the command line names (`given`): an ablation's settings give way to these.

    Raises:
      UserError: for an unknown ablation, a bad axis, or a key that is both a flag and varied.
    """
    base = base_of(flags.config, flags.data, flags.column)
    axes = bool(flags.grid or flags.random or flags.zip)
    name = flags.ablation or ("sweep" if axes else DEFAULT)
    sweep, count, question, settings = Sweep(base), 1, Question(name), set()
    if flags.ablation is not None or not axes:
        if name not in ABLATIONS:
            raise UserError(f"there is no ablation {name!r}; expected one of {', '.join(ABLATIONS)}, or --grid KEY=A,B,...")
        ablation = ABLATIONS[name]
        base = override(base, {key: value for key, value in ablation.SETTINGS.items() if key not in named})
        sweep, count, question, settings = ablation.sweep(base), ablation.SEEDS, ablation.QUESTION, set(ablation.SETTINGS)
    sweep = grid(sweep, _axes(map(read_axis, flags.grid)))
    if flags.zip:
        sweep = zipped(sweep, _axes(map(read_axis, flags.zip)))
    for flag, number in (("--trials", flags.trials), ("--seeds", flags.seeds)):
        if number is not None and not 1 <= number <= MOST:
            raise UserError(f"{flag} is {number}, which makes 0 trials or too many; expected 1 to {MOST}")
    if flags.trials is not None and not flags.random:
        raise UserError("--trials is given without --random; add --random KEY=LOW:HIGH, or drop it")
    if flags.random:
        points = RANDOM_TRIALS if flags.trials is None else flags.trials
        sweep = random(sweep, _axes(map(read_uniform, flags.random)), points)
    for key in sweep.keys:
        if key in named and key not in settings:  # an ablation may vary what it is given, such as a budget
            raise UserError(f"--{key} is given, but the sweep varies {key}; drop the flag, or choose another sweep")
    if "seed" not in sweep.keys:
        sweep = seeds(sweep, count if flags.seeds is None else flags.seeds)
    elif flags.seeds is not None:
        raise UserError("--seeds is given, but the seed is varied already; drop one of them")
    return question, sweep


def _axes(pairs: Iterable[tuple[str, A]]) -> dict[str, A]:
    axes: dict[str, A] = {}
    for key, axis in pairs:
        if key in axes:
            raise UserError(f"{key} is varied twice; give all its values in one flag")
        axes[key] = axis
    return axes


def show(ablations: Iterable[str]) -> None:
    """Prints ablations with their questions, and what they take."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=(0, 1), caption="python -m experiments.sweep ABLATION", caption_justify="left")
    table.add_column("ablation", no_wrap=True)
    table.add_column("question", overflow="fold")
    table.add_column("trials", justify="right", no_wrap=True)
    table.add_column("steps a trial", justify="right", no_wrap=True)
    for name in ablations:
        question, sweep = sweep_of(Flags(name))
        steps = sorted({config.train.steps for config in sweep})
        table.add_row(
            name, Text(question.text), str(len(sweep)), " to ".join(f"{n:,}" for n in dict.fromkeys((steps[0], steps[-1])))
        )
    Console().print(table)


def command(signals: Signals) -> None:
    flags = parse(Flags, "sweep")
    if flags.list:
        show(ABLATIONS)
        return
    question, sweep = sweep_of(flags, given(sys.argv[1:]))
    list(sweep)  # every value is allowed, before anything heavy is imported
    from pathlib import Path

    from experiments.launch import How, launch

    how = How(flags.resume, flags.overwrite, not flags.no_cache, flags.width, flags.chunk, flags.devices, flags.tensorboard)
    launch(sweep, question, Path(flags.out or f"runs/{question.name}"), how, signals)


if __name__ == "__main__":
    main(command)
