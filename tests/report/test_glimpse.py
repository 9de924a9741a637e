"""What networks make while they train: names of those that are not at their end."""

from __future__ import annotations

from typing import Any

import pytest

import jaxgen
from jaxgen import runs
from jaxgen.engine.lanes import Evaluated, SegmentDone
from jaxgen.report.glimpse import EVERY, Glimpse
from jaxgen.tasks.names.config import TEMPERATURE, Config
from jaxgen.tasks.names.data import Corpus
from jaxgen.tasks.names.show import GLIMPSED, NAMES

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def test_names_of_the_best_network_so_far(small: Config, corpus: Corpus) -> None:
    """A line at the first segment that ends after ten seconds, and then no sooner than ten seconds later."""
    said: list[str] = []
    now = iter([0.0, *[EVERY - 1] * 1, *[EVERY] * 4, *[2 * EVERY - 1] * 9])
    glimpse = Glimpse(said.append, lambda: next(now))
    best: dict[int, float] = {}
    wanted: list[str] = []

    def listen(event: Any, results: jaxgen.Results) -> None:
        if isinstance(event, Evaluated):
            best[event.trial] = min(best.get(event.trial, 9e9), event.metrics["val_loss"])
        before = len(said)
        glimpse(event, results)
        if len(said) > before:
            trial = min(best, key=lambda trial: best[trial])
            names = jaxgen.sample(results.unfinished(trial), NAMES, temperature=TEMPERATURE, unique=True)
            wanted.append(f"trial {trial}: learning rate {results.values(trial)['optimizer.learning_rate']:g}")
            shown = said[-1].partition(": ")[2].partition(": ")[2].split(", ")
            assert len(shown) == GLIMPSED
            assert {*shown} <= {*names}

    base = jaxgen.override(small, {"train.steps": 80})
    sweep = jaxgen.grid(base, {"optimizer.learning_rate": [1e-5, 1e-2]})
    results = runs.run(sweep, corpus, width=2, chunk=1, listener=listen)
    assert [line.partition(", step ")[0] for line in said] == wanted
    assert len(said) == 1
    assert results.unfinished is None


def test_a_task_that_makes_nothing_says_nothing(small: Config, corpus: Corpus) -> None:
    class Silent(type(jaxgen.tasks.names.task.NAMES)):  # pyright: ignore[reportAttributeAccessIssue]
        def glimpse(self, trained: Any) -> str:
            return ""

    said: list[str] = []
    times = iter(range(0, 10_000, 100))
    seen: list[Any] = []

    def listen(event: Any, results: jaxgen.Results) -> None:
        if isinstance(event, SegmentDone):
            seen.append(event)
            glimpse(event, results)

    glimpse = Glimpse(said.append, lambda: float(next(times)))
    runs.run(jaxgen.seeds(small, 2), Silent(corpus), width=2, chunk=1, listener=listen)
    assert seen
    assert not said
