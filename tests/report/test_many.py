"""A report of very many settings: as much as people read, and no memory for pairs of settings."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import invented
import matplotlib.style
import pytest

import jaxgen
from jaxgen.judge.answers import answer
from jaxgen.judge.results import Results
from jaxgen.report import maps, page, plots
from jaxgen.report.pictures import Found
from jaxgen.report.style import LIGHT
from jaxgen.search.sweep import Uniform
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus

SETTINGS = 1200


@pytest.fixture(scope="module")
def many() -> Results:
    axes = {"optimizer.learning_rate": Uniform(1e-3, 1.0, log=True), "regularizer.l2": Uniform(0.0, 1e-3)}
    return invented.results_of(jaxgen.seeds(jaxgen.random(Config(), axes, SETTINGS), 2))


def test_the_page_shows_the_best_and_says_of_how_many(many: Results, corpus: Corpus) -> None:
    found = Found(many, answer(many), None)
    shown = page.html(found, invented.facts_of(found, corpus), {})
    compared, board = (part.split("</table>")[0].count("<tr") - 1 for part in shown.split("<table")[1:3])
    assert (compared, board) == (page.COMPARED_ROWS, page.ARM_ROWS)
    assert f"The closest {page.COMPARED_ROWS} of {SETTINGS - 1}." in shown
    assert f"The best {page.ARM_ROWS} of {SETTINGS} settings" in shown
    assert len(shown) < 2e6


def test_of_many_rates_the_best_is_drawn(many: Results) -> None:
    with matplotlib.style.context(["default", LIGHT]):
        figure = plots.rates(many)
    assert figure is not None
    lines: list[Any] = [*figure.axes[0].lines]
    ((rates, scores),) = (line.get_data() for line in lines if len(line.get_xdata()) > 9)
    best = many.leaderboard()[0]
    assert plots.MOST <= len(rates) <= plots.MOST + 1
    assert dict(zip(rates, scores, strict=True))[best.values["optimizer.learning_rate"]] == best.mean("score")


def test_settings_that_are_no_grid_take_no_cell(many: Results) -> None:
    many.leaderboard()
    tracemalloc.start()
    assert maps.grid(many) is None
    assert tracemalloc.get_traced_memory()[1] < SETTINGS**2
    tracemalloc.stop()


def test_a_leaderboard_is_of_the_rows_that_there_are(many: Results) -> None:
    """It is kept while these are the same, and no longer."""
    some = replace(many, rows=many.rows[:10])
    assert len(some.leaderboard()) == 5
    some.leaderboard().clear()
    assert len(some.leaderboard()) == 5
    some.rows.extend(many.rows[10:12])
    assert len(some.leaderboard()) == 6
    some.rows[0] = replace(some.rows[0], score=-1.0)
    assert some.leaderboard()[0].rows[0].score == -1.0
