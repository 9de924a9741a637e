"""New names from a run's checkpoint, one a line on stdout; how many of them are new, on stderr."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jaxgen.commands.cli import Signals, given_task, output, parse
from jaxgen.fields import UserError, quoted
from jaxgen.tasks.names.config import TEMPERATURE


@dataclass(frozen=True)
class Flags:
    """Prints new names from a run's checkpoint, one a line."""

    run: tyro.conf.Positional[str]
    """The run's folder, or that of an exported trial."""
    trial: str = "best"
    """The network: its number, or best; best-5 or 3,5,8 for the mixture of several."""
    count: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 20
    """How many names."""
    temperature: float = TEMPERATURE
    """Below 1: likelier names than the network thinks they are; above: stranger ones; 0: always the likeliest character."""
    top_k: int | None = None
    """Only the k likeliest characters."""
    top_p: float | None = None
    """Only the likeliest characters that together reach this probability."""
    prefix: str = ""
    """What every name starts with."""
    max_length: int | None = None
    """Characters after which a name is cut. Left out: twice as many as the longest name that was learnt from has."""
    unique: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Each name once; there may be fewer than --count."""
    novel: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """No name of the file that was learnt from; there may be fewer than --count."""
    scores: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """After each name, behind a tab: the logarithm of its probability (nats), whatever the temperature."""
    seed: int = 0
    """The same seed gives the same names."""
    task: str | None = None
    """FILE.py:OBJECT or package.module:OBJECT, where the run's task is one of your own; then --count and --seed count alone."""


def command(signals: Signals) -> None:
    flags = parse(Flags, "sample")
    out = output()
    from jaxgen.reopen import load_all, run_corpus
    from jaxgen.report.terminal import visible
    from jaxgen.storage.portable import is_exported
    from jaxgen.tasks.names.generate import FEWEST, TRIES, novelty, sample
    from jaxgen.tasks.names.scores import score
    from jaxgen.tasks.names.task import Names

    trained = load_all(flags.run, flags.trial, given_task(flags.task))
    for one in trained:
        if one.unfinished is not None:
            print(f"trial {one.trial} has not ended: this is its best so far, of step {one.unfinished}", file=sys.stderr)
    if not isinstance(trained[0].task, Names):
        for made in trained[0].task.sample(trained, flags.count, flags.seed):
            print(made, file=out)
        return
    corpus, moved = None, "an export does not hold the names that it learnt from"
    try:
        corpus = None if is_exported(Path(flags.run)) else run_corpus(flags.run)
    except UserError as error:
        moved = str(error)
    if flags.novel and corpus is None:
        raise UserError(f"--novel needs the names that were learnt from: {moved}; drop the flag")
    prefix = in_its_case(flags.prefix, trained[0].task.vocabulary.characters)
    if prefix != flags.prefix:
        print(f"--prefix {quoted(flags.prefix)} is taken for {quoted(prefix)}: the names have no capitals", file=sys.stderr)
    without = corpus.names if flags.novel and corpus is not None else ()
    names = sample(
        trained,
        flags.count,
        flags.temperature,
        flags.top_k,
        flags.top_p,
        prefix,
        flags.seed,
        flags.max_length,
        flags.unique,
        without,
    )
    shown = visible if out.isatty() else str  # a terminal would obey what a file just holds
    found = [f"\t{-nats:.4f}" for nats in score(trained, names)] if flags.scores else [""] * len(names)
    for name, likelihood in zip(names, found, strict=True):
        print(f"{shown(name)}{likelihood}", file=out)
    out.flush()
    how_many = f"{len(names)} name{'s' * (len(names) != 1)}"
    if len(names) < flags.count:
        how_many = f"only {how_many} of {flags.count}: no more came in {TRIES * max(flags.count, FEWEST):,} tries"
    new = f"; how many are new is not known: {moved}" if corpus is None else f": {novelty(names, corpus)}"
    print(f"{how_many}{new}", file=sys.stderr)
    if flags.temperature == 0 and flags.count > 1:
        print("all are equal: at --temperature 0 each is the likeliest name; try 0.5", file=sys.stderr)


def in_its_case(text: str, characters: str) -> str:
    """A text in small letters, where it has capitals that names of these characters do not have, and can be written so."""
    small = text.lower()
    return small if not {*text} <= {*characters} and {*small} <= {*characters} else text
