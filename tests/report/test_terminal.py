"""What people see while a run trains, on a terminal and in a log, told from made-up events by a clock of the test's own."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

import jaxgen
from jaxgen.engine.lanes import Ended, Evaluated, Position, SegmentDone
from jaxgen.engine.plan import Plan, Planned
from jaxgen.judge.results import Arm, Curve, Results, Row, label
from jaxgen.judge.shown import cell
from jaxgen.report.terminal import Watch, duration, leaderboard, outcome, say
from jaxgen.runs import Notice
from jaxgen.search.sweep import Sweep
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.task import METRICS
from jaxgen.train.trial import Status

STATE: Any = "the lanes' arrays, which nobody here looks at"


class Story:
    """A run as its listener is told of it."""

    def __init__(self, sweep: Sweep, width: int = 2, terminal: bool = False, size: tuple[int, int] = (200, 60)) -> None:
        self.out, self.time, self.results = io.StringIO(), 0.0, Results(sweep, metrics=METRICS)
        self.console = Console(file=self.out, force_terminal=terminal, width=size[0], height=size[1])
        self.watch, self.width = Watch(self.console, lambda: self.time), width

    def plan(self, seconds: float) -> None:
        self.time += seconds
        self.watch(Planned(Plan(1, self.width, 1), {}), self.results)

    def evaluated(self, trial: int, step: int, loss: float) -> None:
        self.happened(trial, step, curve(trial, step, loss).metrics)

    def happened(self, trial: int, step: int, metrics: Mapping[str, float]) -> None:
        """An evaluation with these metrics."""
        self.results.curves.append(Curve(trial, step, metrics))
        self.watch(Evaluated(trial, step, {**metrics}), self.results)

    def ended(self, trial: int, status: Status, steps: int) -> None:
        self.results.rows.append(row(self.results, trial, status.name.lower(), steps))
        self.watch(Ended(trial, status, steps, steps, {}, None, None), self.results)

    def segment(self, seconds: float, *lanes: int | None) -> None:
        self.time += seconds
        self.watch(SegmentDone(Position(0, 0, lanes, STATE)), self.results)

    @property
    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()

    def picture(self) -> list[str]:
        """The lines of what the terminal shows now."""
        text = io.StringIO()
        Console(file=text, width=self.console.width, height=self.console.height).print(self.watch.picture())
        return text.getvalue().splitlines()


def curve(trial: int, step: int, loss: float) -> Curve:
    return Curve(trial, step, {"train_loss": loss, "val_loss": loss})


def row(results: Results, trial: int, status: str, steps: int, loss: float = 2.0) -> Row:
    return results.row(trial, status, 9, steps, steps, {"train_loss": loss, "val_loss": loss, "test_loss": loss})


@pytest.fixture
def sweep(small: Config) -> Sweep:
    """Six trials of 40 steps."""
    return jaxgen.grid(small, {"optimizer.learning_rate": [1e-3, 1e-2, 0.1], "seed": range(2)})


def test_a_log_has_a_line_now_and_then(sweep: Sweep) -> None:
    """A line after the first segment and then every ten seconds; the last one stays, and is not said twice."""
    story = Story(sweep)
    with story.watch:
        story.plan(5)
        story.evaluated(0, 20, 2.75)
        story.evaluated(1, 20, 2.5)
        story.segment(10, 0, 1)
        story.evaluated(0, 40, float("nan"))
        story.evaluated(1, 40, 2.6)
        story.ended(0, Status.DIVERGED, 30)
        story.ended(1, Status.COMPLETED, 40)
        story.segment(4, None, None)
        story.evaluated(2, 20, 2.25)
        story.evaluated(3, 20, 3.0)
        story.ended(3, Status.STOPPED, 20)
        story.segment(6, 2, None)
        story.evaluated(2, 40, 2.3)
        story.evaluated(4, 20, 2.3)
        story.segment(1, None, 4)
    # By hand: 5 s are measured, the first segment does 40 steps in 10 s; from then on 70 more in 10 s, of 240 - 10 - 20.
    first = "17% (40 of 240 steps), 0:15 elapsed, 4 steps a second, 2 training, 0 of 6 trials ended, "
    second = "52% (110 of 210 steps), 0:25 elapsed, 0:14 left, 7 steps a second, 2 training, 3 of 6 trials ended "
    third = "71% (150 of 210 steps), 0:26 elapsed, 0:06 left, 10 steps a second, 2 training, 3 of 6 trials ended "
    assert story.lines == [
        "2 networks at a time on 1 core",
        first + "best loss so far on a part of validation 2.5000 (trial 1: learning rate 0.001, seed 1)",
        second
        + "(1 diverged, 1 stopped), best loss so far on a part of validation 2.2500 (trial 2: learning rate 0.01, seed 0)",
        third
        + "(1 diverged, 1 stopped), best loss so far on a part of validation 2.2500 (trial 2: learning rate 0.01, seed 0)",
    ]


def test_the_last_line_is_said_once(sweep: Sweep) -> None:
    story = Story(sweep)
    with story.watch:
        story.plan(1)
        story.evaluated(0, 20, float("inf"))
        story.segment(1, 0, None)
    assert len(story.lines) == 2
    assert story.lines[1].endswith("no finite validation loss so far")


def test_a_run_that_does_nothing_has_no_line(sweep: Sweep) -> None:
    story = Story(sweep)
    with story.watch:
        pass
    assert story.lines == []


def test_a_session_counts_its_own_steps_alone(sweep: Sweep) -> None:
    """After --resume: the speed is that of now, the best may be of then, and who stopped early makes the whole smaller."""
    story = Story(sweep)
    story.results.curves += [curve(0, 20, 2.0), curve(1, 20, 3.0), curve(2, 20, 3.0), curve(1, 40, 3.0)]
    story.results.rows += [row(story.results, 0, "stopped", 20), row(story.results, 1, "completed", 40)]
    with story.watch:
        story.plan(3)
        for step in (30, 40):
            story.evaluated(2, step, 2.5)
            story.segment(10, 2, None)
    best = "best loss so far on a part of validation 2.0000 (trial 0: learning rate 0.001, seed 0)"
    rest = f"1 steps a second, 1 training, 2 of 6 trials ended (1 stopped), {best}"
    assert story.lines[1:] == [
        f"41% (90 of 220 steps), 0:13 elapsed, {rest}",
        f"45% (100 of 220 steps), 0:23 elapsed, 2:00 left, {rest}",
    ]


def test_the_time_left_runs_down_between_segments(sweep: Sweep) -> None:
    story = Story(sweep, terminal=True)
    story.plan(1)
    assert story.picture() == ["compiling ... 0:01"]
    for step in (20, 40):
        story.evaluated(0, step, 2.0)
        story.segment(10, 0, None)
    assert "17% 0:21 elapsed, 1:40 left" in story.picture()[0]
    story.time += 30
    assert "17% 0:51 elapsed, 1:10 left" in story.picture()[0]
    story.time += 300
    assert "0:00 left" in story.picture()[0]


def test_lanes_whose_trials_ended_count_as_used_until_they_stay_empty(sweep: Sweep) -> None:
    story = Story(sweep, terminal=True)
    story.plan(1)
    for trials, shown in (((0, 1), "2 training"), ((2, 3), "2 training"), ((4,), "1 training")):
        for trial in trials:
            story.evaluated(trial, 40, 2.0)
            story.ended(trial, Status.COMPLETED, 40)
        story.segment(1, None, None)
        assert shown in story.picture()[1]
    story.watch(SegmentDone(Position(1, 0, (), None)), story.results)  # the beginning of the next group
    assert "1 training" in story.picture()[1]


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("height", [4, 10, 24, 60])
def test_the_picture_fits_the_terminal(width: int, height: int, small: Config) -> None:
    """As many arms as there is room for; on a narrow terminal their values take several lines each."""
    axes = {"optimizer.learning_rate": [i / 1000 for i in range(1, 31)], "model.activation": ["tanh"], "seed": range(2)}
    story = Story(jaxgen.grid(small, axes), terminal=True, size=(width, height))
    story.plan(1)
    for trial in range(60):
        story.evaluated(trial, 20, 2.0 + trial)
    story.segment(1, *range(60))
    lines = story.picture()
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    if width >= 80:
        assert lines[4].startswith("mean loss") if height > 10 else len(lines) == 3
        places = sum(line.split()[:1] == [str(i)] for i in range(1, 31) for line in lines)
        assert places == {4: 0, 10: 0, 24: 13, 60: 20}[height]


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_shown_is_text(terminal: bool, small: Config) -> None:
    """No name is markup, and none moves the cursor."""

    def chain(rate: Any) -> Any:
        return rate

    chain.__qualname__ = "[bold]x\x1b[2J\r\a"
    story = Story(jaxgen.grid(small, {"optimizer.chain": [chain]}), terminal=terminal)
    with story.watch:
        story.watch(Notice("[red]the run\x1b[2J began"), story.results)
        story.plan(1)
        story.evaluated(0, 20, 2.0)
        story.segment(1, 0)
    story.results.rows.append(row(story.results, 0, "completed", 40))
    story.console.print(leaderboard(story.results))
    shown = story.out.getvalue()
    assert shown.count(r"[bold]x\x1b[2J\r\x07") >= 2
    assert r"[red]the run\x1b[2J began" in shown
    assert not {"\a", "\x1b[2J"} & {part for part in ("\a", "\x1b[2J") if part in shown}


@pytest.mark.parametrize("width", [70, 80, 120])
def test_the_time_left_has_room(width: int, small: Config) -> None:
    story = Story(jaxgen.grid(small, {"train.steps": [100_000], "seed": range(6)}), terminal=True, size=(width, 24))
    story.plan(1)
    for step in (20, 40):
        story.evaluated(0, step, 2.0)
        story.segment(10, 0, None)
    assert story.picture()[0].endswith("0% 0:21 elapsed, 83:19:40 left")


def test_settings_that_wait_are_counted(sweep: Sweep) -> None:
    story = Story(sweep, terminal=True)
    story.plan(1)
    for trials, said in (((0, 1), "2 not begun yet"), ((2,), "1 not begun yet"), ((4,), None)):
        for trial in trials:
            story.evaluated(trial, 20, 2.0)
        story.segment(1, *trials)
        last = story.picture()[-1].strip()
        assert last == said or (said is None and "not begun" not in last)


def test_several_programs_are_counted(sweep: Sweep) -> None:
    story = Story(sweep)
    with story.watch:
        story.watch(Planned(Plan(1, 2, 1), {}, where="program 2 of 3"), story.results)
        story.evaluated(0, 20, 2.0)
        story.segment(10, 0, 1)
    assert story.lines[0] == "program 2 of 3: 2 networks at a time on 1 core"
    assert ", program 2 of 3, 2 steps a second, 1 training, " in story.lines[1]


@pytest.mark.parametrize("terminal", [True, False])
def test_sentences_wrap_between_words_in_a_terminal_and_not_in_a_log(terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=30, color_system=None)
    words = "counts of 6 characters are what no network beats by a nat [here]"
    say(console, words)
    say(console, f"open /tmp/{'long/' * 9}report.html", whole=True)
    *sentence, path = out.getvalue().splitlines()
    assert path == f"open /tmp/{'long/' * 9}report.html"
    assert [word for line in sentence for word in line.split()] == words.split()
    assert len(sentence) == (3 if terminal else 1)


@pytest.mark.parametrize(
    ("statuses", "shown"),
    [
        ("completed completed", "2"),
        ("running running", "2 (all running)"),
        ("completed running stopped running", "4 (2 running, 1 stopped)"),
        ("completed", "1"),
        ("diverged", "1 (diverged)"),
    ],
)
def test_trials_are_counted_once(statuses: str, shown: str, sweep: Sweep) -> None:
    results = Results(sweep, metrics=METRICS)
    assert outcome(Arm({}, tuple(row(results, trial, status, 40) for trial, status in enumerate(statuses.split())))) == shown


def test_rates_that_were_drawn_have_three_digits() -> None:
    values = [0.0224593, 1.63412e-05, 0.003, 1e-4, 0.12, 2048.0, 0.1234, 1e30, 0.5, -0.0123456, float("inf"), None, True, 3]
    assert [cell(value) for value in values] == [
        "0.0225", "1.63e-05", "0.003", "0.0001", "0.12", "2048", "0.1234", "1e+30", "0.5", "-0.0123", "inf", "-", "yes", "3",
    ]  # fmt: skip
    assert [cell(value, "optimizer.clip_norm") for value in (0.0, 0.5)] == ["off", "0.5"]
    assert [label({"regularizer.max_norm": value, "model.residual": False}) for value in (0.0, 2.0)] == [
        "no max norm, no residual", "max norm 2, no residual",
    ]  # fmt: skip
    assert label({"optimizer.learning_rate": 0.0224593, "optimizer.name": "sgd"}) == "learning rate 0.0225, sgd"


def test_durations() -> None:
    assert [duration(s) for s in (0, 7.4, 59.6, 60, 3599, 3600, 100_000)] == [
        "0:00", "0:07", "1:00", "1:00", "59:59", "1:00:00", "27:46:40",
    ]  # fmt: skip


@pytest.mark.parametrize(("loss", "place"), [(1.5, 0), (2.5, 1), (9.0, 2)])
def test_what_is_had_without_a_network_stands_in_its_place(sweep: Sweep, loss: float, place: int) -> None:
    results = Results(sweep, metrics=METRICS)
    results.rows += [row(results, trial, "completed", 40, 2.0 + trial // 2) for trial in range(4)]
    text = io.StringIO()
    Console(file=text, width=120).print(leaderboard(results, reference=("counts [red]of 6", {"val_loss": loss})))
    rows = [line for line in text.getvalue().splitlines() if "2.0000" in line or "3.0000" in line or "no network" in line]
    assert [("no network: counts [red]of 6" in line, line.split()[0]) for line in rows] == [
        (True, f"{loss:.4f}") if at == place else (False, str(number))
        for at, number in zip(range(3), numbers(place), strict=True)
    ]


def numbers(place: int) -> list[int]:
    """The two arms' numbers, around what has none."""
    found = [1, 2]
    found.insert(place, 0)
    return found
