"""Trains one trial: a sweep of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from experiments.cli import Signals, main, parse
from experiments.sweep import base_of
from jaxgen.config import Config
from jaxgen.sweep import Question, Sweep


@dataclass(frozen=True)
class Flags:
    """Trains one trial, saves it, and generates from it."""

    data: str | None = None
    """A text file (a name a line) or a CSV file; short for --data.path."""
    column: str | None = None
    """The column of a CSV file; short for --data.column."""
    out: str = "runs/train"
    """The run's folder."""
    tensorboard: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write files for TensorBoard too, into tensorboard/ of the run's folder."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on with the run in --out."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace the run in --out."""
    no_cache: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Keep no compiled programs for the next time."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def command(signals: Signals) -> None:
    flags = parse(Flags, "train")
    sweep = Sweep(base_of(flags.config, flags.data, flags.column))
    list(sweep)  # every value is allowed, before anything heavy is imported
    from experiments.launch import How, launch

    how = How(resume=flags.resume, overwrite=flags.overwrite, cache=not flags.no_cache, tensorboard=flags.tensorboard)
    launch(sweep, Question("train"), Path(flags.out), how, signals)


if __name__ == "__main__":
    main(command)
