"""Trains one trial: a sweep of one."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from jaxgen.commands.cli import Signals, asked, flags_of, parse
from jaxgen.commands.starting import base_of
from jaxgen.commands.sweep import Precision, given
from jaxgen.search.sweep import Question, Sweep
from jaxgen.tasks.names.config import Config


@dataclass(frozen=True)
class Flags:
    """Trains one trial, saves it, and generates or predicts from it."""

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
    out: str = "runs/train"
    """The run's folder."""
    log: str | None = None
    """Where else the run is logged: one or several of tensorboard,mlflow,wandb,trackio, with commas between them."""
    tensorboard: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Short for --log tensorboard: files for TensorBoard, in tensorboard/ of the run's folder."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on with the run in --out: to its end, or to more steps."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace the run in --out."""
    no_cache: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Keep no compiled programs for the next time."""
    precision: Precision | None = None
    """How exactly a GPU or a TPU multiplies: highest (float32), high or default (coarser). Left out: highest."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def command(signals: Signals) -> None:
    task = asked(sys.argv[1:])
    flags = parse(flags_of(Flags, task), "train")
    sweep = Sweep(base_of(flags, task, given(sys.argv[1:], task.Config)))
    list(sweep)  # every value is allowed, before anything heavy is imported
    from jaxgen.commands.launch import How, folder_of, launch

    told = {"log": flags.log, "tensorboard": flags.tensorboard, "precision": flags.precision}
    how = How(flags.resume, flags.overwrite, not flags.no_cache, **told)
    launch(sweep, Question("train"), folder_of(flags.out, "train"), how, signals, task)
