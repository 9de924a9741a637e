"""One look an arm on the whole page; curves: training, what still falls, lines that lie on one another, runs that stopped."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import invented
import numpy as np
import pytest
from test_pictures import RATE, band, drawn, legend, with_keys

import jaxgen
from jaxgen.judge.answers import answer
from jaxgen.judge.results import Results
from jaxgen.report import answers, insides, plots
from jaxgen.report.arms import contenders, places
from jaxgen.report.style import LIGHT, MARKERS
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.task import METRICS


@pytest.fixture(scope="module")
def large() -> Results:
    return invented.large()


def looks(axes: Any) -> dict[str, tuple[Any, ...]]:
    """Of each named line its colour and its marker."""
    return {line.get_label(): (line.get_color(), line.get_marker()) for line in axes.lines if line.get_label()[0] != "_"}


def test_an_arm_has_one_look_on_the_whole_page(large: Results) -> None:
    """Whatever else a picture shows, and however it is ordered."""
    wanted = {"adam": ("C0", "o"), "sgd": ("C1", "s")}
    for draw in (plots.curves, plots.rates, insides.layers):
        assert looks(drawn(draw, large).axes[0]) == wanted
    without = replace(
        large, diagnostics=[one for one in large.diagnostics if large.values(one.trial)["optimizer.name"] == "sgd"]
    )
    assert looks(drawn(insides.layers, without).axes[0]) == {"sgd": wanted["sgd"]}
    verdict = answer(large)
    axes = drawn(answers.differences, verdict, METRICS[0], places(contenders(large))).axes[0]
    assert [line.get_color() for line in axes.lines if line.get_marker() == "o"] == ["C1"]  # sgd, behind adam
    axes = drawn(answers.budgets, verdict, METRICS[0], places(contenders(large))).axes[0]
    assert looks(axes) == wanted


def test_the_line_of_a_rate_has_the_look_of_the_best_arm_on_it() -> None:
    """Where rates are compared too, an arm is a point of a line."""
    results = with_keys("optimizer.name", RATE, "seed")
    found = {one.name: one.place for one in contenders(results)}
    best = {name: min(place for arm, place in found.items() if arm.startswith(f"{name}, ")) for name in ("adam", "sgd")}
    assert looks(drawn(plots.rates, results).axes[0]) == {
        name: (f"C{place % 8}", MARKERS[place % 8]) for name, place in best.items()
    }
    assert best["sgd"] > 1


def test_more_arms_than_colours_have_hollow_markers() -> None:
    axes = invented.results_of(jaxgen.grid(Config(), {"model.depth": range(1, 13), "seed": range(2)}))
    found = {line.get_label(): line for line in drawn(insides.layers, axes).axes[0].lines}
    assert list(found) == [f"depth {depth}" for depth in (1, 3, 5, 8, 10, 12)]
    drawn_as = {(line.get_color(), line.get_marker(), line.get_markerfacecolor()) for line in found.values()}
    assert len(drawn_as) == 6
    assert [line.get_markerfacecolor() == LIGHT["axes.facecolor"] for line in found.values()] == [False] * 4 + [True] * 2


def with_training(results: Results, below: float) -> Results:
    return replace(
        results, curves=[replace(c, metrics={**c.metrics, "train_loss": c.metrics["val_loss"] - below}) for c in results.curves]
    )


def test_training_is_dashed_beside_validation_in_the_same_colour(large: Results) -> None:
    axes = drawn(plots.curves, with_training(large, 0.5)).axes[0]
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [line.get_color() for line in dashed] == ["C0", "C1"]
    for line, solid in zip(dashed, axes.lines[:2], strict=True):
        np.testing.assert_allclose(solid.get_ydata() - line.get_ydata(), 0.5)
        assert axes.get_ylim()[0] < line.get_ydata().min()
    none = [replace(c, metrics={"val_loss": c.metrics["val_loss"]}) for c in large.curves]
    assert legend(drawn(plots.curves, replace(large, curves=none)))[2:] == ["still falling at the end"]


def test_what_still_falls_at_the_end_is_marked(large: Results) -> None:
    """Of an arm in most of whose trials the best step is the last one."""
    rows = [replace(row, best_step=60 if row.values["optimizer.name"] == "sgd" or row.seed > 2 else 100) for row in large.rows]
    axes = drawn(plots.curves, replace(large, rows=rows)).axes[0]
    (mark,) = (line for line in axes.lines if line.get_marker() == "v" and line.get_linestyle() == "None")
    assert mark.get_markeredgecolor() == "C0"
    assert mark.get_xdata()[0] == 100
    early = [replace(row, status="stopped") for row in rows]
    assert "still falling at the end" not in legend(drawn(plots.curves, replace(large, rows=early)))
    assert not plots.courses(replace(large, rows=[replace(row, best_step=60 if row.seed > 1 else 100) for row in rows]))[
        0
    ].falling


def test_lines_that_lie_on_one_another_are_drawn_apart() -> None:
    """Below the curves, at the same seeds: what a seed does to all arms is no difference."""
    results = invented.results_of(jaxgen.grid(Config(), {"model.depth": [1, 2, 3], "seed": range(4)}))
    later = [c for c in results.curves if not (c.step == 100 and results.values(c.trial)["model.depth"] == 3)]
    figure = drawn(plots.curves, replace(results, curves=later))
    assert len(figure.axes) == 2
    axes = figure.axes[1]
    assert axes.get_ylabel() == "behind\ndepth 1"
    assert axes.lines[0].get_ydata() == [0, 0]
    for line, depth in zip(axes.lines[1:], (2, 3), strict=True):
        assert list(line.get_xdata()) == list(invented.STEPS[: 5 - (depth == 3)])
        np.testing.assert_allclose(line.get_ydata(), 0.001 * (depth - 1), atol=1e-9)  # and not the 0.004 from seed to seed
        for low, high in band(axes, depth - 2).values():
            assert high - low < 1e-9
    depths: list[Any] = [results.values(c.trial)["model.depth"] for c in results.curves]
    far = [replace(c, metrics={"val_loss": c.val_loss + depth}) for c, depth in zip(results.curves, depths, strict=True)]
    assert len(drawn(plots.curves, replace(results, curves=far)).axes) == 1


def test_of_a_run_that_was_stopped_the_curves_are_there(large: Results) -> None:
    """Of trials that have not ended, as far as they are; an arm of which some have ended is drawn by these."""
    none = replace(large, rows=[])
    figure = drawn(plots.curves, none)
    assert legend(figure)[:2] == ["adam", "sgd"]
    steps, means = figure.axes[0].lines[0].get_data()
    assert list(steps) == list(invented.STEPS)
    assert means[-1] == pytest.approx(statistics.fmean(2.2 + 0.004 * seed for seed in range(5)))
    assert "still falling at the end" not in legend(figure)
    some = replace(large, rows=[row for row in large.rows if row.values["optimizer.name"] == "adam" and row.seed < 2])
    found = contenders(some)
    assert {one.name: {row.status for row in one.arm.rows} for one in found} == {"adam": {"completed"}, "sgd": {"running"}}
    assert len(plots.courses(some)[0].validation) == 2
