"""Writes a run's report again, from what the run holds."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from experiments.cli import Signals, main, parse
from jaxgen.config import UserError


@dataclass(frozen=True)
class Flags:
    """Writes report.html and plots/ of a run again, from what it holds."""

    run: tyro.conf.Positional[str]
    """The run's folder."""


def command(signals: Signals) -> None:
    flags = parse(Flags, "report")
    from rich.console import Console

    from jaxgen.report.page import report
    from jaxgen.report.terminal import leaderboard
    from jaxgen.runs import load_results, run_corpus
    from jaxgen.standing import standings

    page = report(flags.run)
    results, console = load_results(flags.run), Console()
    console.print(leaderboard(results))
    try:
        stands = [str(standing) for standing in standings(results, run_corpus(flags.run))]
    except UserError as error:  # the corpus has moved or changed since
        stands = [f"The floor without a network is not known: {error}"]
    for sentence in stands:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    print(page)


if __name__ == "__main__":
    main(command)
