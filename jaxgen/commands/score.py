"""How likely a run's trial finds names: the most surprising first."""

from __future__ import annotations

import csv
import math
import sys
from dataclasses import dataclass

import tyro

from jaxgen.commands.cli import Signals, output, parse


@dataclass(frozen=True)
class Flags:
    """Prints a CSV of names, the most surprising first: minus the log-probability of each in nats, and bits a character."""

    run: tyro.conf.Positional[str]
    """The run's folder, or that of an exported trial."""
    names: str
    """A text file (a name a line) or a CSV file, in UTF-8 or in UTF-16 with its mark; also packed by gzip."""
    column: str | None = None
    """The column of a CSV file that holds the names."""
    trial: str = "best"
    """The trial's number, or best; several numbers (3,5,8) or best-5 for the mixture of several trials."""


def command(signals: Signals) -> None:
    flags = parse(Flags, "score")
    stdout = output()
    import numpy as np

    from jaxgen.reopen import load_all
    from jaxgen.report.terminal import visible
    from jaxgen.tasks.names.data import load_corpus
    from jaxgen.tasks.names.scores import score
    from jaxgen.tasks.names.task import NAMES

    trained = load_all(flags.run, flags.trial, NAMES)
    names = load_corpus(flags.names, flags.column).names
    shown = visible if stdout.isatty() else str  # a terminal would obey what a file just holds
    nats = score(trained, names)
    out = csv.writer(stdout, lineterminator="\n")
    out.writerow(("name", "nats", "bits_a_character"))
    for place in np.argsort(-nats, kind="stable"):
        characters = len(names[place]) + 1  # with the end
        out.writerow((shown(names[place]), f"{nats[place]:.4f}", f"{nats[place] / characters / math.log(2):.4f}"))
    stdout.flush()
    known = np.isfinite(nats)
    mean = nats[known].sum() / max(sum(len(name) + 1 for name, is_known in zip(names, known, strict=True) if is_known), 1)
    strange = f"; {(~known).sum()} with a character that the corpus has not" if not known.all() else ""
    print(f"{len(names)} names, {mean:.4f} nats a character{strange}", file=sys.stderr)
