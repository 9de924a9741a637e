"""New names from a run's checkpoint, one a line on stdout; how many of them are new, on stderr."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from experiments.cli import Signals, main, parse
from jaxgen.config import UserError


@dataclass(frozen=True)
class Flags:
    """Prints new names from a run's checkpoint, one a line."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    trial: str = "best"
    """The trial's number, or best."""
    count: int = 20
    """How many names."""
    temperature: float = 1.0
    """Below 1: likelier names; above: stranger ones; 0: always the likeliest character."""
    top_k: Annotated[int | None, tyro.conf.arg(aliases=["--top-k"])] = None
    """Only the k likeliest characters."""
    top_p: Annotated[float | None, tyro.conf.arg(aliases=["--top-p"])] = None
    """Only the likeliest characters that together reach this probability."""
    prefix: str = ""
    """What every name starts with."""
    seed: int = 0
    """The same seed gives the same names."""


def command(signals: Signals) -> None:
    flags = parse(Flags, "sample")
    from jaxgen.generate import novelty, sample
    from jaxgen.report.terminal import visible
    from jaxgen.runs import load, run_corpus

    trained = load(flags.run, flags.trial)
    names = sample(trained, flags.count, flags.temperature, flags.top_k, flags.top_p, flags.prefix, flags.seed)
    shown = visible if sys.stdout.isatty() else str  # a terminal would obey what a file just holds
    for name in names:
        print(shown(name))
    sys.stdout.flush()
    try:
        corpus = run_corpus(flags.run)
    except UserError as error:
        print(f"{len(names)} names; how many are new is not known: {error}", file=sys.stderr)
        return
    print(f"{len(names)} names: {novelty(names, corpus)}", file=sys.stderr)


if __name__ == "__main__":
    main(command)
