"""The leaderboard on the terminal, while a sweep runs and after it; readable in a log too."""

from __future__ import annotations

import math
import time
import unicodedata
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from jaxgen.engine import Ended, Evaluated, Event
from jaxgen.plan import Planned
from jaxgen.results import Arm, Results
from jaxgen.runs import Notice

ROWS = 20  # of the leaderboard while it runs
LINE_EVERY = 10.0  # seconds between two lines where there is no terminal


def number(value: float) -> str:
    """A loss as people read it."""
    return f"{value:.4f}" if math.isfinite(value) else "-"


def visible(text: str) -> str:
    """Text whose control characters a terminal shows and does not obey."""
    return "".join(repr(c)[1:-1] if unicodedata.category(c) == "Cc" else c for c in text)


def estimate(mean: float, spread: float) -> str:
    """A mean with its spread, as far as there are any."""
    return f"{number(mean)} ± {spread:.4f}" if math.isfinite(spread) else number(mean)


def cell(value: Any) -> str:
    """A config's value as people read it."""
    return f"{value:g}" if isinstance(value, float) else "-" if value is None else str(value)


def outcome(arm: Arm) -> str:
    """How many trials an arm has, and how those ended that did not complete: 3, 1 diverged."""
    found = [row.status for row in arm.rows if row.status != "completed"]
    return ", ".join([str(len(arm.rows)), *(f"{found.count(status)} {status}" for status in dict.fromkeys(found))])


def leaderboard(results: Results, rows: int | None = None, running: bool = False) -> Table:
    """The arms by mean validation loss, with the spread over seeds; losses in nats a character.

    Args:
      rows: how many arms at most.
      running: with the trials that have not ended, at their best evaluation so far.
    """
    arms = results.leaderboard(running)
    title = f"{len(results.rows)} of {len(results.sweep)} trials ended; mean loss ± standard deviation over seeds"
    shown = Table(title=title, title_justify="left", title_style="none", box=SIMPLE_HEAD, padding=(0, 1))
    shown.add_column("", justify="right", no_wrap=True)
    for key in results.keys:
        shown.add_column(key.rpartition(".")[2].replace("_", " "), overflow="fold")
    spread = any(len(arm.sound) > 1 for arm in arms)
    for name in ("validation", "test"):  # what is ranked is never cut, however many keys vary
        shown.add_column(name, justify="right", no_wrap=True, min_width=15 if spread else 6)
    shown.add_column("trials", min_width=6)
    for place, arm in enumerate(arms[:rows], 1):
        # Text, not str: a value such as [red] is no markup.
        values = (Text(cell(arm.values.get(key))) for key in results.keys)
        losses = (estimate(arm.mean(name), arm.spread(name)) for name in ("val_loss", "test_loss"))
        shown.add_row(str(place), *values, *losses, outcome(arm))
    if rows is not None and len(arms) > rows:
        shown.caption = f"and {len(arms) - rows} more"
    return shown


class Watch:
    """A listener for `run` that shows progress and the leaderboard; without a terminal it prints a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task("training", total=None)
        self._steps: dict[int, int] = {}
        self._budget: list[int] = []
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._began = time.monotonic()
        self._said = 0.0
        self._before = 0  # steps of an earlier session, which this one resumed

    def __enter__(self) -> Watch:
        if self._live is not None:
            self._live.start()
            self._live.update(Text("compiling ..."))
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event | Planned | Notice, results: Results) -> None:
        if isinstance(event, Planned | Notice):
            self._console.print(str(event), highlight=False, markup=False, soft_wrap=True)
            return
        if not self._budget:
            self._budget = [config.train.steps for config in results.sweep]
            ended = {row.trial: row.steps for row in results.rows}
            self._steps.update(ended)
            self._steps.update({curve.trial: curve.step for curve in results.curves[:-1]})  # the last is this event's
            self._before = sum(self._steps.values())
        if isinstance(event, Evaluated):
            self._steps[event.trial] = event.step
        elif isinstance(event, Ended):
            self._budget[event.trial] = self._steps[event.trial] = event.steps
        else:
            self._show(results)

    def _show(self, results: Results) -> None:
        done, total = sum(self._steps.values()), sum(self._budget)
        self._progress.update(self._task, completed=done, total=total)
        if self._live is not None:
            self._live.update(Group(self._progress, leaderboard(results, ROWS, running=True)))
        elif time.monotonic() - self._said > LINE_EVERY:
            self._said = time.monotonic()
            best = min((curve.val_loss for curve in results.curves if math.isfinite(curve.val_loss)), default=math.inf)
            rate = (done - self._before) / (self._said - self._began)
            ended = f"{len(results.rows)} of {len(results.sweep)} trials ended"
            speed = f"{rate:.0f} trial-steps/s, best validation loss {number(best)}"
            self._console.print(f"{done} of {total} steps, {ended}, {speed}", highlight=False, soft_wrap=True)
