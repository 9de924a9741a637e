"""Writes a run's report again, from what the run holds."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from jaxgen.commands.cli import Signals, given_task, parse


@dataclass(frozen=True)
class Flags:
    """Writes report.html and plots/ of a run again, from what it holds, and prints the leaderboard and the verdict."""

    run: tyro.conf.Positional[str]
    """The run's folder."""
    task: str | None = None
    """FILE.py:OBJECT or package.module:OBJECT, where the run's task is one of your own."""


def command(signals: Signals) -> None:
    flags = parse(Flags, "report")
    from rich.console import Console

    from jaxgen.report.page import reported
    from jaxgen.report.terminal import SHOWN, leaderboard, say, visible

    page, results, said = reported(flags.run, given_task(flags.task))
    console = Console()
    console.print(leaderboard(results, SHOWN))
    for sentence in said:
        say(console, visible(sentence))
    print(page)
