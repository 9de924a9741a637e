"""What the best network so far makes, while it trains: a line now and then."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from jaxgen.engine.lanes import SegmentDone
from jaxgen.judge.results import Results, by_score
from jaxgen.report.terminal import setting

EVERY = 10.0  # seconds, at least
SHARE = 0.05  # of the time, at most, goes into it


class Glimpse:
    """A listener for `runs.run`, of a task that makes something.

    Args:
      say: takes a line.
      clock: gives seconds.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._next = clock() + EVERY

    def __call__(self, event: Any, results: Results) -> None:
        if not isinstance(event, SegmentDone) or event.position.state is None or self._clock() < self._next:
            return
        began, in_lanes = self._clock(), {*event.position.lanes}
        running = [row for row in results.running() if row.trial in in_lanes and math.isfinite(row.score)]
        if not running or results.task is None or results.unfinished is None:
            return
        best = min(running, key=by_score)
        made = results.task.glimpse(results.unfinished(best.trial))
        if made:
            self._say(f"{setting(results, best.trial)}, step {best.best_step}: {made}")
        took = self._clock() - began
        self._next = self._clock() + max(EVERY, took / SHARE)
