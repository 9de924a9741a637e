"""Writes one trial of a run as a small folder that `jaxgen.load` reads anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from experiments.cli import Signals, main, parse


@dataclass(frozen=True)
class Flags:
    """Writes one trial of a run into a new folder: weights.safetensors and trial.json, which jaxgen.load reads anywhere."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    out: tyro.conf.Positional[str]
    """The new folder."""
    trial: str = "best"
    """The trial's number, or best."""


def command(signals: Signals) -> None:
    flags = parse(Flags, "export")
    from jaxgen.portable import export
    from jaxgen.runs import load

    print(export(load(flags.run, flags.trial), flags.out))


if __name__ == "__main__":
    main(command)
