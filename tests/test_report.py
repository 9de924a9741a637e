from __future__ import annotations

import io
import re
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from rich.console import Console

import jaxgen
from jaxgen.config import Config
from jaxgen.corpus import Corpus
from jaxgen.engine import SegmentDone
from jaxgen.report import plots
from jaxgen.report.page import report
from jaxgen.report.terminal import Watch, leaderboard
from jaxgen.results import Results


@pytest.mark.parametrize("terminal", [True, False])
def test_watch_shows_the_standing_and_its_end(terminal: bool, small: Config, corpus: Corpus) -> None:
    """A live leaderboard in a terminal, plain lines in a log."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, height=60)
    sweep = jaxgen.grid(small, {"optimizer.learning_rate": [1e-3, 1e30], "seed": range(3)})
    with Watch(console) as watch:

        def slowly(event: Any, results: Results) -> None:
            watch(event, results)
            if terminal and isinstance(event, SegmentDone):
                time.sleep(0.3)  # the live table is drawn four times a second

        results = jaxgen.run(sweep, corpus, width=2, listener=slowly)
    shown = out.getvalue()
    if terminal:
        assert "3 running" in shown or "2 running" in shown
        assert "of 240 steps" in shown
    else:
        assert "\x1b" not in shown
        plan, shown = shown.split("\n", 1)
        assert plan == "2 lanes on 2 cpu devices, 1 at once on each"
        # The first line comes after the first segment: two lanes of 20 steps, unless a trial had diverged by then.
        assert re.match(r"40 of 240 steps, \d:\d\d elapsed, \d+ trial-steps/s, 2 of 2 lanes, 0 of 6 trials ended, best", shown)
    text = io.StringIO()
    Console(file=text, width=100).print(leaderboard(results))
    lines = [line.split() for line in text.getvalue().splitlines()]
    best = results.leaderboard()[0]
    assert ["1", "0.001", f"{best.mean('val_loss'):.4f}", "±", f"{best.spread('val_loss'):.4f}"] == lines[4][:5]
    assert lines[5][-3:] == ["3,", "3", "diverged"]


def test_figures_hold_the_numbers(small: Config, corpus: Corpus) -> None:
    sweep = jaxgen.grid(small, {"optimizer.name": ["sgd", "adam"], "optimizer.learning_rate": [1e-3, 1e-2], "seed": range(2)})
    results = jaxgen.run(sweep, corpus)
    figure = plots.curves(results)
    axes = figure.axes[0]
    assert len(axes.lines) == 4
    best = results.leaderboard()[0]
    trials = [row.trial for row in best.rows]
    for step, mean in np.asarray(axes.lines[0].get_xydata()):
        losses = [curve.val_loss for curve in results.curves if curve.step == step and curve.trial in trials]
        assert abs(sum(losses) / len(losses) - mean) < 1e-12
    sensitivity = plots.rates(results)
    assert sensitivity is not None
    assert {line.get_label() for line in sensitivity.axes[0].lines} == {"sgd", "adam"}
    plt.close("all")


def test_names_with_dollar_signs_are_no_formula() -> None:
    assert plots.plain("a$b$") == r"a\$b\$"


def test_empty_results_have_a_leaderboard_and_a_picture(small: Config) -> None:
    nothing = Results(jaxgen.Sweep(small))
    assert nothing.leaderboard() == []
    assert plots.curves(nothing) is not None
    assert plots.rates(nothing) is None
    with pytest.raises(jaxgen.UserError, match="no trial has ended"):
        nothing.best()


def test_the_page_says_where_a_trial_diverged(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    axes = {"optimizer.name": ["sgd"], "optimizer.learning_rate": [0.1, 1e30]}
    results = jaxgen.run(jaxgen.grid(small, axes), corpus, tmp_path / "run", width=2, chunk=1)
    (row,) = (row for row in results.rows if row.status == "diverged")
    page = report(tmp_path / "run").read_text(encoding="utf-8")
    assert f"<td>{row.steps}</td>" in page
    assert f"<code>{row.flaw}</code>" in page
    assert "Trials that diverged" in page
