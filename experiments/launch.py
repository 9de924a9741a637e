"""From a sweep to a trained run on disk, with the leaderboard and names from the winner: what sweep and train do alike."""

from __future__ import annotations

import os
from pathlib import Path

from experiments.cli import Signals
from jaxgen.cache import keep_programs, private_folder
from jaxgen.corpus import load_corpus
from jaxgen.generate import novelty, sample
from jaxgen.plan import use_every_core
from jaxgen.report.page import report
from jaxgen.report.terminal import Watch, leaderboard, visible
from jaxgen.runs import Interrupted, run
from jaxgen.sweep import Sweep

NAMES = 20


def launch(
    sweep: Sweep,
    name: str,
    out: Path,
    *,
    resume: bool,
    overwrite: bool,
    width: int | None = None,
    chunk: int | None = None,
    devices: int | None = None,
    cache: bool = True,
) -> None:
    """Trains the sweep in `out` and prints what came of it."""
    from rich.console import Console

    signals = Signals()
    use_every_core()
    kept = private_folder() if cache else None
    if kept is not None:
        keep_programs(kept)
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 120  # a log has no width of its own
    corpus = load_corpus(sweep.base.data.path, sweep.base.data.column)
    facts = f"{len(corpus.names)} names, {corpus.windows} windows, vocabulary {len(corpus.vocabulary)}"
    console.print(
        f"{name}: {len(sweep)} trial{'s' * (len(sweep) != 1)} on {corpus.path} ({facts})", highlight=False, markup=False
    )
    try:
        with Watch(console) as watch:
            results = run(
                sweep,
                corpus,
                out,
                resume=resume,
                overwrite=overwrite,
                width=width,
                chunk=chunk,
                devices=devices,
                cache=kept,
                name=name,
                listener=watch,
                stop=signals.wish,
            )
    except Interrupted:
        console.print(
            f"stopped; everything is saved in {out}: go on with the same command and --resume",
            highlight=False,
            markup=False,
        )
        signals.leave()
    console.print(leaderboard(results))
    names = sample(results.best(), NAMES)
    best = results.best_row()
    console.print(
        f"\n{NAMES} names from trial {best.trial}, the one with the lowest validation loss ({novelty(names, corpus)}):",
        highlight=False,
    )
    console.print(", ".join(map(visible, names)), markup=False, highlight=False)
    page = report(out)
    console.print(
        f"\n{results.programs} training program{'s' * (results.programs != 1)} compiled. Everything lies in {out}:",
        highlight=False,
        markup=False,
    )
    console.print(
        f"  open {page}\n  more names: python -m experiments.sample {out}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
