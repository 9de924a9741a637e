"""How far a run is, in a notebook: one output that is drawn again and again, and the verdict when it has ended."""

from __future__ import annotations

import sys
import time
from html import escape
from typing import Any

from jaxgen.engine.lanes import Ended, Evaluated, Event, SegmentDone
from jaxgen.engine.plan import Planned
from jaxgen.judge.results import Results
from jaxgen.judge.shown import board
from jaxgen.report.terminal import duration
from jaxgen.runs import Notice

DRAW_EVERY = 1.0  # seconds


def in_notebook() -> bool:
    """Whether what this process shows is seen in a notebook."""
    shell = sys.modules.get("IPython")
    found = None if shell is None else shell.get_ipython()
    return found is not None and type(found).__name__ == "ZMQInteractiveShell"


class Cell:
    """A listener for `runs.run`: a bar, the time passed and left, and the best settings so far."""

    def __init__(self) -> None:
        self._began, self._draw = time.monotonic(), 0.0
        self._steps: dict[int, int] = {}
        self._budget: list[int] = []
        self._first: tuple[float, int] | None = None  # when the first segment ended, and the steps done then
        self._results: Results | None = None
        self._notices: list[str] = []
        self._glimpsed = ""
        self._handle: Any = None

    def __enter__(self) -> Cell:
        from IPython.display import HTML, display  # pyright: ignore[reportMissingImports]  (a notebook has it)

        self._handle = display(HTML("<p>compiling ...</p>"), display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._show()

    def __call__(self, event: Event | Planned | Notice, results: Results) -> None:
        if self._results is None:
            self._results, self._budget = results, [config.train.steps for config in results.sweep]
            self._steps = {curve.trial: curve.step for curve in results.curves}
        if isinstance(event, Notice):
            self._notices.append(str(event))
        elif isinstance(event, Evaluated):
            self._steps[event.trial] = event.step
        elif isinstance(event, Ended):
            self._budget[event.trial] = self._steps[event.trial] = event.steps
        elif isinstance(event, SegmentDone):
            now = time.monotonic()
            self._first = self._first or (now, sum(self._steps.values()))
            if now >= self._draw:
                self._show()
                self._draw = now + max(DRAW_EVERY, 9 * (time.monotonic() - now))

    def glimpsed(self, line: str) -> None:
        """Shows what the best network so far makes, until the next time."""
        self._glimpsed = line

    def page(self) -> str:
        """What is shown now, as HTML."""
        results = self._results
        if results is None:
            return "<p>compiling ...</p>"
        now, done, total = time.monotonic(), sum(self._steps.values()), sum(self._budget)
        left = ""
        if self._first is not None and done > self._first[1] and done < total:
            left = f", {duration((total - done) * (now - self._first[0]) / (done - self._first[1]))} left"
        told = "".join(f"<p>{escape(line)}</p>" for line in self._notices)
        bar = f'<progress value="{done}" max="{max(total, 1)}"></progress>'
        steps = f"<p>{bar} {done:,} of {total:,} steps, {duration(now - self._began)}{left}</p>"
        made = f"<p>{escape(self._glimpsed)}</p>" if self._glimpsed and len(results.rows) < len(results.sweep) else ""
        return told + steps + made + board(results, verdict=len(results.rows) == len(results.sweep))

    def _show(self) -> None:
        from IPython.display import HTML  # pyright: ignore[reportMissingImports]

        self._handle.update(HTML(self.page()))
