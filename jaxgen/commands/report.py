"""Writes a run's report again, from what the run holds."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from jaxgen.commands.cli import Signals, given_task, parse
from jaxgen.fields import UserError


@dataclass(frozen=True)
class Flags:
    """Writes report.html and plots/ of a run again, from what it holds."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    task: str | None = None
    """FILE.py:OBJECT or package.module:OBJECT, where the run's task is one of your own."""


def command(signals: Signals) -> None:
    flags = parse(Flags, "report")
    from rich.console import Console

    from jaxgen.judge.floors import standings
    from jaxgen.reopen import load_results, run_task
    from jaxgen.report.page import report
    from jaxgen.report.terminal import leaderboard

    task = given_task(flags.task)
    page = report(flags.run, task)
    results, console = load_results(flags.run, task), Console()
    console.print(leaderboard(results))
    try:
        stands = standings(run_task(flags.run, task), results)
    except UserError as error:  # the rows have moved or changed since
        stands = [f"The floor without a network is not known: {error}"]
    for sentence in stands:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    print(page)
