"""From a sweep to a trained run on disk, with the leaderboard and names from the winner: what sweep and train do alike."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from experiments.cli import Signals
from jaxgen.answers import answer
from jaxgen.cache import keep_programs, private_folder
from jaxgen.config import UserError
from jaxgen.corpus import Corpus, load_corpus
from jaxgen.engine import Event
from jaxgen.generate import novelty, sample
from jaxgen.plan import Planned, use_every_core
from jaxgen.report.page import report
from jaxgen.report.terminal import Watch, leaderboard, visible
from jaxgen.results import Results
from jaxgen.runs import Interrupted, Notice, run
from jaxgen.standing import standings
from jaxgen.sweep import Question, Sweep

if TYPE_CHECKING:
    from jaxgen.report.tensorboard import TensorBoard

NAMES = 20


@dataclass(frozen=True)
class How:
    """The flags of a command that trains, but for the config's."""

    resume: bool = False
    overwrite: bool = False
    cache: bool = True
    width: int | None = None
    chunk: int | None = None
    devices: int | None = None
    tensorboard: bool = False


def launch(sweep: Sweep, question: Question, out: Path, how: How, signals: Signals) -> None:
    """Trains the sweep in `out` and prints what came of it.

    Raises:
      UserError: as `run`, and for a --tensorboard that has no package to write with.
    """
    board = tensorboard(out) if how.tensorboard else None
    use_every_core()
    kept = private_folder() if how.cache else None
    if kept is not None:
        keep_programs(kept)
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 120  # a log has no width of its own
    corpus = load_corpus(sweep.base.data.path, sweep.base.data.column)
    source = None if sweep.base.data.source is None else load_corpus(sweep.base.data.source)
    facts = f"{len(corpus.names)} names, {corpus.windows} windows, vocabulary {len(corpus.vocabulary)}"
    say(console, f"{question.name}: {len(sweep)} trial{'s' * (len(sweep) != 1)} on {visible(corpus.path)} ({facts})")
    if board is not None:
        say(console, f"to look on: {look(board)}")
    try:
        with contextlib.ExitStack() as open_ones:
            open_ones.enter_context(signals.saving())
            listeners = [open_ones.enter_context(listener) for listener in (Watch(console), board) if listener is not None]

            def tell_all(event: Event | Planned | Notice, results: Results) -> None:
                for listener in listeners:
                    listener(event, results)

            results = run(
                sweep,
                corpus,
                out,
                source=source,
                resume=how.resume,
                overwrite=how.overwrite,
                width=how.width,
                chunk=how.chunk,
                devices=how.devices,
                cache=kept,
                question=question,
                flags=sys.argv[1:],
                listener=tell_all,
                stop=signals.wish,
            )
            if board is not None:
                board.begin(results)  # of a run that had ended before
    except Interrupted:
        results = None
    if results is None or signals.wish():
        say(console, f"stopped; everything is saved in {out}: go on with the same command and --resume")
        signals.leave()
    tell(results, corpus, out, console)
    if board is not None:
        say(console, f"  curves and settings: {look(board)}")


def tensorboard(out: Path) -> TensorBoard:
    """The listener that writes TensorBoard's files.

    Raises:
      UserError: if the package that it writes with is not installed.
    """
    try:
        from jaxgen.report.tensorboard import TensorBoard
    except ImportError as error:
        raise UserError(
            f"--tensorboard needs the package tensorboard ({error}); pip install 'jaxgen[tensorboard]', or drop the flag"
        ) from None
    return TensorBoard(out)


def look(board: TensorBoard) -> str:
    """The command that shows what the listener writes."""
    return f"tensorboard --logdir {shlex.quote(str(board.folder))}"


def tell(results: Results, corpus: Corpus, out: Path, console: Console) -> None:
    """Prints the leaderboard, the verdict and names from the winner, and writes the report."""
    console.print(leaderboard(results))
    for sentence in (*standings(results, corpus), *answer(results, corpus).sentences):
        say(console, visible(str(sentence)))
    names = sample(results.best(), NAMES)
    best = results.best_row()
    found = f"{NAMES} names from trial {best.trial}, the one with the lowest validation loss ({novelty(names, corpus)})"
    say(console, f"\n{found}:")
    console.print(", ".join(map(visible, names)), markup=False, highlight=False)  # broken between words
    page = report(out)
    programs = f"{results.programs} training program{'s' * (results.programs != 1)} compiled"
    say(console, f"\n{programs}. Everything lies in {out}:\n  open {page}")
    say(console, f"  more names: python -m experiments.sample {out}")


def say(console: Console, text: str) -> None:
    """A line as it is: nothing in it is markup, and no path is broken in two."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
