"""Writes a run's report again, from what the run holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tyro

from jaxgen.commands.cli import Signals, given_task, parse
from jaxgen.fields import UserError

if TYPE_CHECKING:  # heavy
    from jaxgen.judge.results import Results
    from jaxgen.tasks.base import Task


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

    task = given_task(flags.task)
    page, results, stands = reported(flags.run, task)
    console = Console()
    console.print(leaderboard(results, SHOWN))
    for sentence in (*stands, *verdict(flags.run, results, task)):
        say(console, visible(sentence))
    print(page)


def verdict(run: str, results: Results, task: Task | None) -> tuple[str, ...]:
    """What the page says of a run's question."""
    from jaxgen.judge.answers import answer
    from jaxgen.reopen import run_task
    from jaxgen.report.page import no_answer
    from jaxgen.storage.checkpoint import Damaged

    if not any(math.isfinite(row.score) for row in results.rows):
        return no_answer(results).sentences
    try:
        opened = run_task(run, task)
    except UserError:
        opened = None  # what is said beside the leaderboard says why
    try:
        return answer(results, opened).sentences
    except Damaged as error:
        return (str(error),)
