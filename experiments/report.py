"""Writes a run's report again, from what the run holds."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from experiments.cli import Signals, main, parse


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
    from jaxgen.runs import load_results

    page = report(flags.run)
    Console().print(leaderboard(load_results(flags.run)))
    print(page)


if __name__ == "__main__":
    main(command)
