"""The leaderboard on the terminal, while a sweep runs and after it; readable in a log too."""

from __future__ import annotations

import math
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jaxgen.engine.lanes import Ended, Evaluated, Event, SegmentDone
from jaxgen.engine.plan import Planned
from jaxgen.judge.floors import cost
from jaxgen.judge.results import Arm, Curve, Results, label
from jaxgen.judge.shown import cell, estimate, number
from jaxgen.runs import Notice

ROWS = 20  # of the leaderboard while it runs, at most
SHOWN = 200  # of that of a run that has ended
HEAD = 5  # lines above it, and one below
COUNTED = 10_000  # trials of a sweep whose settings are counted
BAR = 30  # characters
DRAW_EVERY = 0.5  # seconds between two leaderboards
LINE_EVERY = 10.0  # seconds between two lines where there is no terminal


def visible(text: str) -> str:
    """Text whose control characters a terminal shows and does not obey."""
    return "".join(repr(c)[1:-1] if unicodedata.category(c) == "Cc" else c for c in text)


def outcome(arm: Arm) -> str:
    """How many trials an arm has, and how many of these did not complete: 3 (1 diverged), 3 (all running)."""
    count, found = len(arm.rows), Counter(row.status for row in arm.rows if row.status != "completed")
    some = ", ".join(status if count == 1 else f"{'all' if n == count else n} {status}" for status, n in found.items())
    return f"{count} ({some})" if some else str(count)


Reference = tuple[str, Mapping[str, float]] | None


def leaderboard(results: Results, rows: int | None = None, running: bool = False, reference: Reference = None) -> Table:
    """The arms by mean validation score, with the spread over seeds.

    Args:
      rows: how many arms at most.
      running: with the trials that have not ended, at their best evaluation so far, and without test losses.
      reference: what is had without a network (`judge.floors.reference`): a row in its place, without a number.
    """
    arms = results.leaderboard(running)
    ended = "" if running else f"{len(results.rows)} of {len(results.sweep)} trials ended; "
    spread = any(len(arm.sound) > 1 for arm in arms)
    measure = results.measure.name
    title = f"{ended}{f'mean {measure} ± standard deviation over seeds' if spread else measure}"
    shown = Table(title=title, title_justify="left", title_style="none", box=SIMPLE_HEAD, padding=(0, 1))
    shown.add_column("", justify="right", no_wrap=True)
    for key in results.keys:
        shown.add_column(key.rpartition(".")[2].replace("_", " "), overflow="fold")
    first, *others = results.metrics
    kinds = {"validation": f"val_{first.name}"} | ({} if running else {"test": f"test_{first.name}"})
    parts = {"validation": "val"} | ({} if running else {"test": "test"})
    kinds |= {f"{says}\n{metric.name}": f"{part}_{metric.name}" for metric in others for says, part in parts.items()}
    kinds = {
        name: key for name, key in kinds.items() if any(not math.isnan(arm.mean(key)) for arm in arms) or name == "validation"
    }
    for name in kinds:  # what is ranked is never cut, however many keys vary
        shown.add_column(name, justify="right", no_wrap=True, min_width=15 if spread else 6)
    shown.add_column("trials", min_width=6)
    left = reference
    for place, arm in enumerate(arms[:rows], 1):
        if left is not None and cost(results, left[1]) <= arm.mean("score"):
            _add_reference(shown, results, left, kinds.values())
            left = None
        # Text, not str: a value such as [red] is no markup.
        values = (Text(visible(cell(arm.values.get(key), key))) for key in results.keys)
        losses = (estimate(arm.mean(name), arm.spread(name)) for name in kinds.values())
        shown.add_row(str(place), *values, *losses, outcome(arm))
    if left is not None:
        _add_reference(shown, results, left, kinds.values())
    if rows is not None and len(arms) > rows:
        shown.caption = f"and {len(arms) - rows} more"
    return shown


def _add_reference(shown: Table, results: Results, reference: tuple[str, Mapping[str, float]], kinds: Iterable[str]) -> None:
    name, metrics = reference
    values = ("" for _ in results.keys)
    shown.add_row(
        "",
        *values,
        *(number(metrics.get(kind, math.nan)) for kind in kinds),
        Text(visible(f"no network: {name}")),
        style="italic",
    )


def say(console: Console, text: str, whole: bool = False) -> None:
    """A line as it is: nothing in it is markup. In a terminal it wraps between words; a log has it in one line.

    Args:
      whole: a terminal does not wrap it either, as a path or a command that people copy.
    """
    console.print(text, markup=False, highlight=False, soft_wrap=whole or not console.is_terminal)


def setting(results: Results, trial: int) -> str:
    """A trial by its number and its values of the varied keys: names as they are, numbers with what they are."""
    values = results.values(trial) | ({"seed": results.seed(trial)} if "seed" in results.sweep.keys else {})
    return visible(f"trial {trial}: {label(values)}" if values else f"trial {trial}")


def duration(seconds: float) -> str:
    """Seconds as 0:07 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


class Watch:
    """A listener for `run` that shows how far it is; without a terminal it prints a line now and then.

    Both say: steps done, time passed and left, steps a second, networks that train, trials ended, the best loss so far. A
    terminal shows the head of the leaderboard too, as much as it has room for. The last line stays.

    Args:
      console: where to.
      clock: gives seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._began = clock()
        self._results: Results | None = None  # None: nothing has happened
        self._steps: dict[int, int] = {}
        self._budget: list[int] = []
        self._since = (self._began, 0)  # when, and at how many steps, that which the speed is taken from began
        self._now = (self._began, 0)  # the same of the last segment's end
        self._speed = 0.0  # trial-steps a second, of this session
        self._segments = 0
        self._trained: set[int] = set()  # trials of the segment in progress
        self._busy = 0  # networks that trained in the last segment
        self._where = ""  # which program of several
        self._settings: list[tuple[str, ...]] = []  # of each trial; none of very many
        self._best: Curve | None = None
        self._table: Table | None = None
        self._draw = self._said = -math.inf  # when to draw next, and when something was said
        self._live = None
        if console.is_terminal:
            self._live = Live(console=console, get_renderable=self.picture, refresh_per_second=4, transient=True)

    def __enter__(self) -> Watch:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        if self._segments and self._said < self._now[0]:
            self._say()

    def glimpsed(self, line: str) -> None:
        """Prints what the best network so far makes."""
        say(self._console, line)

    def __call__(self, event: Event | Planned | Notice, results: Results) -> None:
        if self._results is None:
            self._begin(results)
        if isinstance(event, Planned | Notice):
            say(self._console, visible(str(event)))
            if isinstance(event, Planned):
                self._busy, self._where = 0, event.where
                if not self._segments:
                    self._since = (self._clock(), self._since[1])  # what was measured is no training
        elif isinstance(event, Evaluated):
            self._steps[event.trial] = event.step
            self._trained.add(event.trial)
            self._consider(results.curves[-1])
        elif isinstance(event, Ended):
            self._budget[event.trial] = self._steps[event.trial] = event.steps
        elif isinstance(event, SegmentDone) and event.position.state is not None:  # else it is the beginning of the next group
            self._segment(results)

    def _begin(self, results: Results) -> None:
        """Takes in what an earlier session did, with which this one goes on."""
        self._results = results
        self._budget = [config.train.steps for config in results.sweep]
        if len(results.sweep) <= COUNTED:
            self._settings = [tuple(repr(point.get(key)) for key in results.keys) for point in results.sweep.points]
        for curve in results.curves:
            self._steps[curve.trial] = curve.step
            self._consider(curve)
        for row in results.rows:
            self._budget[row.trial] = self._steps[row.trial] = row.steps
        self._since = self._now = (self._began, sum(self._steps.values()))

    def _consider(self, curve: Curve) -> None:
        assert self._results is not None
        if math.isfinite(cost := self._results.cost(curve)) and (self._best is None or cost < self._results.cost(self._best)):
            self._best = curve

    def _segment(self, results: Results) -> None:
        self._now = now, done = self._clock(), sum(self._steps.values())
        since, before = self._since
        self._speed = (done - before) / max(now - since, 1e-9)
        self._segments += 1
        if self._segments == 1:
            self._since = self._now
        # Those that trained, and not those that still have a lane: one that is free now takes the next trial at once.
        self._busy = len(self._trained)
        self._trained.clear()
        if self._live is not None and now >= self._draw:
            self._table = self._fitting(results)
            drawn = self._clock()
            self._draw = drawn + max(DRAW_EVERY, 9 * (drawn - now))  # of very many trials it takes a while: a tenth of the time
        elif self._live is None and now - self._said >= LINE_EVERY:
            self._say()

    def _fitting(self, results: Results) -> Table | None:
        """The head of the leaderboard, as much as fits below what is above it; None: nothing of it does."""
        rows, room = ROWS, self._console.height - HEAD
        while rows > 0:
            table = leaderboard(results, rows, running=True)
            waiting = f"{said} not begun yet" if (said := self._waiting()) else ""
            table.caption = "; ".join(str(part) for part in (table.caption, waiting) if part) or None
            lines = len(self._console.render_lines(table))
            if lines <= room:
                return table
            rows = min(table.row_count - 1, table.row_count * room // lines)
        return None

    def _waiting(self) -> int:
        """How many settings of the sweep have not begun."""
        return len({*self._settings} - {self._settings[trial] for trial in self._steps if self._settings})

    def _facts(self) -> tuple[str, str, str, str, str]:
        """How far the run is, in per cent, in steps, in time, in trials, and the best that it has found."""
        assert self._results is not None
        (now, done), total, rows = self._now, sum(self._budget), self._results.rows
        time_left = ""
        if done < total and self._segments > 1 and self._speed > 0:  # the first one compiled, which tells nothing of the rest
            time_left = f", {duration(max(0.0, (total - done) / self._speed - (self._clock() - now)))} left"
            time_left += " at this speed" if self._where else ""  # the next program may have another one
        found = Counter(row.status for row in rows if row.status != "completed")
        others = ", ".join(f"{count} {status}" for status, count in sorted(found.items()))
        ended = f"{len(rows)} of {len(self._results.sweep)} trials ended{f' ({others})' if others else ''}"
        name = self._results.measure.name
        best = f"no finite validation {name} so far"
        if self._best is not None:
            value = self._results.selected(self._best)
            best = f"best {name} so far on a part of validation {number(value)} ({setting(self._results, self._best.trial)})"
        return (
            f"{done / max(total, 1):.0%}",
            f"{done:,} of {total:,} steps",
            f"{duration(self._clock() - self._began)} elapsed{time_left}",
            f"{self._where}{', ' if self._where else ''}{self._speed:,.0f} steps a second, {self._busy} training, {ended}",
            best,
        )

    def _say(self) -> None:
        self._said = self._now[0]
        share, steps, *others = self._facts()
        say(self._console, ", ".join([f"{share} ({steps})", *others]))

    def picture(self) -> RenderableType:
        """What a terminal shows now."""
        if not self._segments:
            return Text(f"compiling ... {duration(self._clock() - self._began)}")
        share, steps, when, trials, best = self._facts()
        bar = Table.grid(padding=(0, 1))
        bar.add_column(max_width=BAR)
        bar.add_row(ProgressBar(sum(self._budget), self._now[1]), *(Text(line, no_wrap=True) for line in (share, when)))
        lines = [Text(line, no_wrap=True, overflow="ellipsis") for line in (f"{steps}, {trials}", best)]
        return Group(bar, *lines, *([] if self._table is None else [Text(), self._table]))
