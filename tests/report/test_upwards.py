"""Everything that is shown of a run whose selecting metric is better where it is higher: an accuracy, beside a loss that would
choose otherwise."""

from __future__ import annotations

import dataclasses
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loggers.test_tensorboard import read
from pages import Parsed
from rich.console import Console
from test_pictures import drawn
from test_terminal import Story

import jaxgen
from jaxgen.judge.answers import BUDGET, answer
from jaxgen.judge.results import Curve, Results
from jaxgen.judge.statistics import best_of
from jaxgen.report import answers, maps, parallel, plots
from jaxgen.report.page import html, no_answer
from jaxgen.report.pictures import Found, save
from jaxgen.report.terminal import leaderboard
from jaxgen.search.sweep import Question, Sweep
from jaxgen.storage.facts import describe
from jaxgen.tasks.base import Task
from jaxgen.tasks.metric import Metric
from jaxgen.tasks.names.config import Config

RATE = "optimizer.learning_rate"
RATES = (1e-3, 1e-2, 1e-1)
ACCURACY = Metric("accuracy", higher_is_better=True, what="share of rows whose class is right")
METRICS = (ACCURACY, Metric("loss", "nats"))


def accuracy(values: Any, seed: int) -> float:
    """At its highest for adam at 0.01 and seed 0."""
    return 0.9 - 0.05 * (values["optimizer.name"] == "sgd") - 0.03 * abs(math.log10(values[RATE] / 1e-2)) - 0.004 * seed


def metrics(right: float) -> dict[str, float]:
    """Of a trial that ended: what is more often right has the higher loss, too."""
    shares = {"train_accuracy": right + 0.05, "val_accuracy": right, "test_accuracy": right - 0.01}
    return {**shares, "train_loss": right + 1, "val_loss": right + 1.1, "test_loss": right + 1.2}


def evaluation(right: float) -> dict[str, float]:
    """Of an evaluation, which is of two parts."""
    return {name: value for name, value in metrics(right).items() if not name.startswith("test")}


class Classes(Task):
    name, metrics = "classes", METRICS

    def facts(self, data: Any) -> dict[str, Any]:
        return {"rows": {"train": 80, "validation": 10}, "sha256": "0" * 64}


@pytest.fixture(scope="module")
def found() -> Results:
    """Two optimizers, of which sgd at 0.1 diverges in every seed."""
    sweep = jaxgen.grid(Config(), {"optimizer.name": ["sgd", "adam"], RATE: RATES, "seed": range(4)})
    question = Question("mine", "Which wins?", arms=("optimizer.name",))
    found = Results(sweep, programs=1, question=question, metrics=METRICS, task=Classes())
    for trial in range(len(sweep)):
        values = found.values(trial)
        bad = values == {"optimizer.name": "sgd", RATE: 0.1}
        right = accuracy(values, found.seed(trial))
        found.rows.append(found.row(trial, "diverged" if bad else "completed", 9, 40, 40, metrics(right)))
        found.curves += [Curve(trial, step, evaluation(right - 1 / step)) for step in (10, 20, 40)]
    return found


def mean(name: str, rate: float) -> float:
    return float(np.mean([accuracy({"optimizer.name": name, RATE: rate}, seed) for seed in range(4)]))


def test_the_best_is_the_highest(found: Results) -> None:
    board = found.leaderboard()
    assert [arm.values for arm in board[:2]] == [{"optimizer.name": "adam", RATE: 0.01}, {"optimizer.name": "adam", RATE: 1e-3}]
    assert math.isinf(board[-1].mean("score"))  # what diverged is last all the same
    assert found.best_row().metrics["val_accuracy"] == max(row.metrics["val_accuracy"] for row in found.rows) == 0.9
    part = dataclasses.replace(found, rows=[])
    assert [row.best_step for row in part.running()] == [40] * len(found.rows)  # of each trial the evaluation that is highest
    head, first = (line.split(",") for line in found.results_csv().splitlines()[:2])
    assert head[-5:] == ["train_loss", "val_loss", "test_loss", "val_accuracy", "test_accuracy"]
    assert [float(x) for x in first[-2:]] == [found.rows[0].metrics[name] for name in head[-2:]]


def test_the_terminal_ranks_by_it(found: Results) -> None:
    text, board = io.StringIO(), leaderboard(found)
    Console(file=text, width=200).print(board)
    lines = text.getvalue().splitlines()
    assert lines[0].strip() == "24 of 24 trials ended; mean accuracy ± standard deviation over seeds"
    heads = [" ".join(str(column.header).split()) for column in board.columns]
    assert heads == ["", "name", "learning rate", "validation", "test", "validation loss", "test loss", "trials"]
    first = next(line.split() for line in lines if line.split()[:1] == ["1"])
    assert first[:5] == ["1", "adam", "0.01", f"{mean('adam', 0.01):.4f}", "±"]
    assert first[6] == f"{mean('adam', 0.01) - 0.01:.4f}"


def test_a_log_says_the_highest_so_far(small: Config) -> None:
    story = Story(jaxgen.seeds(small, 2))
    story.results.metrics = METRICS
    with story.watch:
        story.plan(1)
        story.happened(0, 20, evaluation(0.5))
        story.happened(1, 20, evaluation(0.75))
        story.happened(0, 40, evaluation(0.6))
        story.segment(1, 0, 1)
    assert story.lines[1].endswith("best accuracy so far on a part of validation 0.7500 (trial 1: seed 1)")
    story = Story(jaxgen.seeds(small, 2))
    story.results.metrics = METRICS
    with story.watch:
        story.plan(1)
        story.happened(0, 20, evaluation(math.nan))
        story.segment(1, 0, None)
    assert story.lines[1].endswith("no finite validation accuracy so far")


def test_the_verdict_speaks_of_it(found: Results) -> None:
    verdict = answer(found)
    assert verdict.sentences == (
        "adam beats sgd by 0.050 accuracy (95% CI 0.050 to 0.050, 4 seeds)",
        "Selected: adam at learning rate 0.01, validation 0.8940, test 0.8840 accuracy (mean of 4 seeds)",
        "not tuned equally: an arm's best is one of 2 to 3 sound settings",
    )
    (one,) = verdict.comparisons
    assert (one.better, one.resolved, one.difference) == ("adam", True, pytest.approx(0.05))
    assert verdict.budgets["adam"][-1].loss == -max(mean("adam", rate) for rate in RATES)


def test_verdicts_of_other_questions_speak_of_it(found: Results) -> None:
    points = tuple({"train.patience": patience, "seed": seed} for patience in (0, 3) for seed in range(2))
    stopped = Results(Sweep(Config(), points), question=Question(verdict="early_stopping"), metrics=METRICS)
    for trial, right in enumerate((0.9, 0.8, 0.88, 0.78)):
        stopped.rows.append(stopped.row(trial, "completed", 1, (100, 100, 30, 50)[trial], 1, metrics(right)))
    assert answer(stopped).sentences[-1] == (
        "Beside the whole budget, patience 3 takes 40% of the steps and loses 0.020 accuracy."
    )
    table = jaxgen.grid(Config(), {RATE: [float(i) for i in range(1, 9)], "regularizer.l2": [i / 10 for i in range(8)]})
    tried = Results(table, question=Question(verdict="search"), metrics=METRICS)
    shares = np.linspace(0.2, 0.95, len(table))
    assert len(table) >= 2 * BUDGET
    tried.rows += [tried.row(trial, "completed", 1, 1, 1, metrics(float(right))) for trial, right in enumerate(shares)]
    first, second, _ = answer(tried).sentences
    assert first.endswith(" accuracy higher on average.")
    assert second.startswith("Validation accuracy of what is found: ")
    assert "-" not in second.replace("coarse-to-fine", "")
    assert second.endswith("the best of all 64 settings has 0.9500.")


def ticks(axis: Any) -> list[float]:
    """What an axis says, from one end of it to the other."""
    low, high = sorted(axis.get_view_interval())
    places = [place for place in axis.get_majorticklocs() if low <= place <= high]
    return [float(axis.get_major_formatter()(place)) for place in places]


@pytest.mark.parametrize("draw", [plots.curves, plots.rates], ids=["curves", "rates"])
def test_more_is_above_in_pictures_of_lines(draw: Any, found: Results) -> None:
    axes = drawn(draw, found).axes[0]
    assert axes.get_ylabel() == "validation accuracy"
    assert axes.yaxis_inverted()
    said = ticks(axes.yaxis)
    assert all(0 < share < 1 for share in said)
    assert said == sorted(said, reverse=True)  # places go up, and what they say goes down, on an axis that is turned
    wanted = (
        [mean("adam", rate) for rate in RATES] if draw is plots.rates else [mean("adam", 0.01) - 1 / s for s in (10, 20, 40)]
    )
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [-share for share in wanted])


def test_more_is_above_in_what_tuning_buys_and_less_is_behind(found: Results) -> None:
    verdict = answer(found)
    assert answers.budgets(verdict, ACCURACY) is None  # three settings each
    more = dataclasses.replace(verdict, budgets={"adam": best_of([-mean("adam", rate) for rate in (*RATES, *RATES)])})
    axes = drawn(answers.budgets, more, ACCURACY).axes[0]
    assert axes.get_ylabel() == "validation accuracy"
    assert axes.yaxis_inverted()
    assert all(0 < share < 1 for share in ticks(axes.yaxis))
    axes = drawn(answers.differences, verdict, ACCURACY).axes[0]
    assert axes.get_xlabel() == "accuracy behind\nadam"
    assert float(axes.lines[1].get_xdata()[0]) == pytest.approx(0.05)


def test_cells_and_settings_say_it(found: Results) -> None:
    figure = drawn(maps.heat, found)
    notes = {text.get_text() for text in figure.axes[0].texts}
    assert notes == {f"{mean(n, r):.3f}" for n in ("sgd", "adam") for r in RATES if (n, r) != ("sgd", 0.1)} | {"div."}
    (frame,) = (patch for patch in figure.axes[0].patches if not patch.get_fill())
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert frame.get_xy() == (0.5, names.index("adam") - 0.5)  # at 0.01
    bar = figure.axes[1]
    assert bar.get_xlabel() == "validation accuracy"
    assert bar.xaxis_inverted()
    assert all(0 < share < 1 for share in ticks(bar.xaxis))
    three = jaxgen.grid(Config(), {"optimizer.name": ["sgd", "adam"], RATE: RATES, "regularizer.l2": [0.0, 1e-3]})
    many = Results(three, metrics=METRICS)
    settings: list[Any] = [many.values(trial) for trial in range(len(three))]
    shares = [accuracy(values, 0) - 10 * values["regularizer.l2"] for values in settings]
    shares[0] = 0.01  # far from all others
    many.rows += [many.row(trial, "completed", 1, 1, 1, metrics(share)) for trial, share in enumerate(shares)]
    axes = drawn(parallel.parallel, many).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()][-1] == "validation accuracy"
    said = [text.get_text() for text in axes.texts if round(text.get_position()[0]) == 3]
    assert said[0] == "0.900"  # at the foot, where the best line ends
    assert said[2].startswith("≤ 0.")


def test_the_page_speaks_of_it(found: Results, tmp_path: Path) -> None:
    whole = Found(found, answer(found), None)
    facts = describe(found.sweep, Classes(), 1, found.question, [])
    page = Parsed(html(whole, facts, save(whole, tmp_path / "plots")))
    text = " ".join(" ".join(page.text).split())
    assert "trials ended, on classes (80 train, 10 validation rows);" in text
    assert "validation 0.9000, test 0.8900 accuracy at step 40" in text
    assert "Of all it has the highest validation accuracy." in text
    assert "Accuracy : share" not in text
    assert "Accuracy: share of rows whose class is right; in evaluation mode" in text
    assert "accuracy behind" in text
    assert "Mean difference in validation accuracy over the seeds" in text
    assert "Accuracy by two keys" in text
    assert "far below all others" in text
    assert "nats" not in text.replace("nats behind", "")
    best, second = (f"{mean('adam', rate):.4f}" for rate in (0.01, 1e-3))
    assert text.index(best, text.index("Leaderboard")) < text.index(second, text.index("Leaderboard"))
    lost = dataclasses.replace(found, rows=found.rows[:1])
    assert str(no_answer(lost)) == "No trial has ended with a finite validation accuracy, so there is no answer yet."


def test_tensorboard_has_it_as_it_is(found: Results, tmp_path: Path) -> None:
    with jaxgen.log_to("tensorboard") as listener:
        listener.begin(dataclasses.replace(found, out=str(tmp_path)))
    name = next(path.name for path in (tmp_path / "tensorboard").iterdir() if path.name.startswith("04 "))
    board = read(tmp_path, name)  # adam's first: the digits are those of 24
    points = {tag: [point.value for point in board.Scalars(tag)] for tag in board.Tags()["scalars"]}
    row, curves = found.rows[4], [curve for curve in found.curves if curve.trial == 4]
    assert points.keys() == {
        *(f"{name}/{part}" for name in ("accuracy", "loss") for part in ("train", "validation")),
        *(f"summary/{part}_accuracy" for part in ("train", "val", "test")),
    }
    for part, short in (("train", "train"), ("validation", "val")):
        assert points[f"accuracy/{part}"] == [np.float32(curve.metrics[f"{short}_accuracy"]) for curve in curves]
        assert points[f"summary/{short}_accuracy"] == [np.float32(row.metrics[f"{short}_accuracy"])]
