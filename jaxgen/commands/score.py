"""How likely a run's trial finds names: the most surprising first."""

from __future__ import annotations

import csv
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from jaxgen.commands.cli import Signals, output, parse
from jaxgen.fields import UserError, quoted


@dataclass(frozen=True)
class Flags:
    """Prints a CSV of names, the most surprising first: minus the log-probability of each in nats, and bits a character."""

    run: tyro.conf.Positional[str]
    """The run's folder, or that of an exported trial."""
    words: tyro.conf.Positional[tuple[str, ...]] = ()
    """The names; or one file of them, a name a line or a table (CSV, TSV)."""
    names: str | None = None
    """A file of names, whatever it is called."""
    column: str | None = None
    """The column of a table that holds the names: what stands above it, or its number, from 1 on."""
    trial: str = "best"
    """The network: its number, or best; best-5 or 3,5,8 for the mixture of several."""


FILES = (".txt", ".csv", ".tsv", ".tab", ".gz")  # how a word ends that is meant for a file, whether it is there or not


def names_of(flags: Flags) -> tuple[str, ...]:
    """The names that a command line gives.

    Raises:
      UserError: if it gives none, or both some and a file; or the file cannot be read.
    """
    from jaxgen.tasks.names.data import load_corpus

    if bool(flags.words) == (flags.names is not None):
        raise UserError(
            f"{'two sets of names are' if flags.words else 'no names are'} given; give RUN NAME NAME ..., or RUN FILE"
        )
    word = flags.words[0] if len(flags.words) == 1 else ""
    file = word if Path(word).suffix.lower() in FILES or "/" in word or (word and Path(word).is_file()) else flags.names
    if file is not None:
        return load_corpus(file, flags.column).names
    if flags.column is not None:
        raise UserError(f"--column is {quoted(flags.column)}, but the names are given one by one; leave it out, or give a file")
    return flags.words


def command(signals: Signals) -> None:
    flags = parse(Flags, "score")
    stdout = output()
    import numpy as np

    from jaxgen.reopen import load_all
    from jaxgen.report.terminal import visible
    from jaxgen.tasks.names.scores import score
    from jaxgen.tasks.names.task import NAMES

    trained = load_all(flags.run, flags.trial, NAMES)
    names = names_of(flags)
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
    print(f"{len(names)} name{'s' * (len(names) != 1)}, {mean:.4f} nats a character{strange}", file=sys.stderr)
