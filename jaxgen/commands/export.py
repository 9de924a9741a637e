"""Writes one trial of a run as a small folder that `jaxgen.load` reads anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from jaxgen.commands.cli import Signals, given_task, parse


@dataclass(frozen=True)
class Flags:
    """Writes one trial of a run into a new folder, which jaxgen.load reads anywhere and a model hub takes as it is.

    It holds weights.safetensors, trial.json and README.md, a model card.
    """

    run: tyro.conf.Positional[str]
    """The run's folder."""
    out: tyro.conf.Positional[str]
    """The new folder."""
    trial: str = "best"
    """The trial's number, or best."""
    task: str | None = None
    """FILE.py:OBJECT or package.module:OBJECT, where the run's task is one of your own."""


def command(signals: Signals) -> None:
    flags = parse(Flags, "export")
    from jaxgen.reopen import load
    from jaxgen.storage.portable import export

    print(export(load(flags.run, flags.trial, given_task(flags.task)), flags.out))
