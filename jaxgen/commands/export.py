"""Writes one trial of a run, or several as their mixture, as a small folder that `jaxgen.load` reads anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from jaxgen.commands.cli import Signals, given_task, parse


@dataclass(frozen=True)
class Flags:
    """Writes one trial of a run into a new folder, which jaxgen.load reads anywhere and a model hub takes as it is.

    It holds weights.safetensors, trial.json and README.md, a model card; of a mixture, a folder for each trial.
    """

    run: tyro.conf.Positional[str]
    """The run's folder."""
    out: tyro.conf.Positional[str]
    """The new folder."""
    trial: str = "best"
    """The trial's number, or best; several numbers (3,5,8) or best-5 for the mixture of several trials."""
    task: str | None = None
    """FILE.py:OBJECT or package.module:OBJECT, where the run's task is one of your own."""


def command(signals: Signals) -> None:
    flags = parse(Flags, "export")
    from jaxgen.reopen import load_all
    from jaxgen.storage.portable import export

    print(export(load_all(flags.run, flags.trial, given_task(flags.task)), flags.out))
