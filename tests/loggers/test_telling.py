"""The seam: what a logger of one's own is told, and that nothing it does reaches the run."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, bytes_of, same
from test_tensorboard import metrics, story, table

import jaxgen
from jaxgen import runs
from jaxgen.engine.lanes import Event, SegmentDone
from jaxgen.engine.plan import Planned
from jaxgen.judge.results import Results
from jaxgen.loggers import telling
from jaxgen.loggers.base import EVERYTHING, Logged, Trial
from jaxgen.runs import Notice
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus

pytestmark = pytest.mark.usefixtures("compiled_quickly", "unillustrated")


class Notes(jaxgen.Logger):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.run: Any = None
        self.trials: dict[int, Trial] = {}
        self.points: dict[tuple[int, int], tuple[float, ...]] = {}
        self.ends: dict[int, Mapping[str, Any]] = {}
        self.open_at_once = self.closed = 0

    def open(self, run: Logged) -> None:
        self.run = run

    def start(self, trial: Trial) -> None:
        assert trial.number not in self.trials
        self.trials[trial.number] = trial
        self.open_at_once = max(self.open_at_once, len(self.trials) - len(self.ends))

    def log(self, trial: int, step: int, metrics: Mapping[str, float]) -> None:
        assert trial in self.trials
        assert trial not in self.ends
        assert (trial, step) not in self.points
        self.points[trial, step] = (metrics["loss/train"], metrics["loss/validation"])

    def end(self, trial: int, summary: Mapping[str, Any]) -> None:
        assert trial not in self.ends
        self.ends[trial] = summary

    def close(self) -> None:
        self.closed += 1


def test_a_logger_of_ones_own_is_told_what_the_tables_hold(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    notes, out = Notes(), tmp_path / "my run"
    axes = {"optimizer.name": ["sgd", "adam"], "optimizer.learning_rate": [0.01], "seed": range(2)}
    base = jaxgen.override(small, {"train.names": 8})
    with jaxgen.log_to(notes) as listener:
        runs.run(jaxgen.grid(base, axes), corpus, out, width=2, chunk=1, listener=listener)
    assert (notes.run.name, notes.run.folder, notes.run.again, notes.closed) == ("my run", out, False, 1)
    assert {key: tuple(map(np.float32, values)) for key, values in notes.points.items()} == metrics(out)
    rows = table(out / "results.csv")
    assert len(rows) == len(notes.ends) == 4
    for row in rows:
        trial, end = notes.trials[int(row["trial"])], notes.ends[int(row["trial"])]
        assert list(end)[:3] == ["val_loss", "test_loss", "train_loss"]
        assert {key: str(value) for key, value in end.items()}.items() <= row.items()
        assert {"novelty", "status", "steps", "best_step", "params"} <= end.keys()
        assert trial.name == f"{row['trial']} {row['optimizer.name']} learning_rate=0.01 seed={row['seed']}"
        assert trial.settings == {
            "optimizer.name": row["optimizer.name"],
            "optimizer.learning_rate": 0.01,
            "seed": int(row["seed"]),
        }
        assert trial.config["model.hidden"] == 16
        assert trial.config["optimizer.eps"] == (1e-8 if row["optimizer.name"] == "adam" else None)  # what it defaults to


def test_the_example_of_the_docs_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "loggers.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)  # in which there is no data/names.txt but the bundled one
    exec(compile(example, "docs/loggers.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert {line.split(":")[0] for line in printed if "step" in line} == {f"{i} at step {j}" for i in (0, 1) for j in (20, 40)}
    assert sum(bool(re.fullmatch(r"[01] completed: val_loss \d\.\d{3}", line)) for line in printed) == 2
    assert len(table(tmp_path / "runs" / "logged" / "results.csv")) == 2


def test_results_are_the_same_bytes(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """Beside a logger that fails at once, one that is away for as long as the run takes, and none."""
    sweep = jaxgen.grid(small, {"seed": range(3)})
    runs.run(sweep, corpus, tmp_path / "a", width=2, chunk=1)
    away, said = threading.Event(), list[str]()

    class Failing(jaxgen.Logger):
        def open(self, run: Logged) -> None:
            raise OSError(28, "No space left\non device")

    class Away(jaxgen.Logger):
        def open(self, run: Logged) -> None:
            away.wait()

    with jaxgen.log_to(Failing(), Away(), say=said.append) as listener:
        runs.run(sweep, corpus, tmp_path / "b", width=2, chunk=1, listener=listener)
        away.set()
    assert same(bytes_of(tmp_path / "a"), bytes_of(tmp_path / "b"))
    assert said == ["Failing: nothing more is logged ([Errno 28] No space left on device); the run itself goes on"]


def test_a_run_that_is_stopped_waits_two_seconds_for_its_loggers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "PATIENCE", 0.05)
    away, said = threading.Event(), list[str]()

    class Away(jaxgen.Logger):
        def open(self, run: Logged) -> None:
            away.wait()
            raise OSError("after all")

    listener = jaxgen.log_to(Away(), say=said.append)
    listener.begin(story(1, tmp_path))
    with pytest.raises(KeyboardInterrupt), listener:
        raise KeyboardInterrupt
    away.set()
    listener._tellers[0].wait(10)
    assert said == []
    away.clear()

    def say(line: str) -> None:
        said.append(line)
        away.set()

    with jaxgen.log_to(Away(), say=say) as listener:
        listener.begin(story(1, tmp_path))
    assert [line.split(" ")[0] for line in said] == ["waiting", "Away:"]


@pytest.mark.usefixtures("promptly")
def test_only_what_comes_after_the_last_step_is_told_again(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """A session that crashed had logged more than it had saved."""
    out, sweep, segments = tmp_path / "run", jaxgen.grid(small, {"seed": range(6)}), 0

    class First(Notes):
        def flush(self) -> None:
            told.set()

    def crash(event: Event | Planned | Notice, results: Results) -> None:
        nonlocal segments
        told.clear()
        listener(event, results)
        segments += isinstance(event, SegmentDone)
        if segments == 5:
            told.wait(60)
            raise KeyboardInterrupt

    told, first = threading.Event(), First()
    with pytest.raises(KeyboardInterrupt), jaxgen.log_to(first) as listener:
        runs.run(sweep, corpus, out, width=2, chunk=1, listener=crash)
    assert first.ends
    assert len(first.ends) < 6

    class Second(Notes):
        def start(self, trial: Trial) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
            super().start(trial)
            last = max((step for number, step in first.points if number == trial.number), default=None)
            return EVERYTHING if trial.number in first.ends else last

    second = Second()
    with jaxgen.log_to(second) as listener:
        runs.run(sweep, corpus, out, width=2, chunk=1, resume=True, listener=listener)
    assert (second.run.id, second.run.again) == (first.run.id, True)
    assert first.points.keys().isdisjoint(second.points)
    assert first.ends.keys().isdisjoint(second.ends)
    both = first.points | second.points
    assert {key: tuple(map(np.float32, values)) for key, values in both.items()} == metrics(out)
    assert {*first.ends, *second.ends} == set(range(6))


def test_very_many_trials_are_told_one_after_the_other(tmp_path: Path) -> None:
    """Each thing once, with one trial open at a time: what it takes grows as the trials do."""
    notes = Notes()
    with jaxgen.log_to(notes) as listener:
        listener.begin(story(10_000, tmp_path))
    assert (len(notes.trials), len(notes.points), len(notes.ends)) == (10_000, 30_000, 10_000)
    assert notes.open_at_once == 1
    assert notes.trials[7].name == "0007 seed=7"


HOSTILE = "<script>\x1b[31m\n../../etc\ud800"


def test_hostile_values_stay_text_on_one_line(tmp_path: Path) -> None:
    notes = Notes()
    results = Results(jaxgen.grid(Config(), {"data.path": [HOSTILE, ""], "seed": [1]}), out=str(tmp_path))
    results.rows += [results.row(trial, "completed", 9, 30, 20, {"val_loss": 1.0}) for trial in range(2)]
    with jaxgen.log_to(notes, "tensorboard") as listener:
        listener.begin(results)
    shown = "<script>\\x1b[31m\\n../../etc\\ud800"
    assert notes.trials[0].name == f"0 {shown} seed=1"
    assert notes.trials[0].settings["data.path"] == notes.trials[0].config["data.path"] == shown
    assert notes.trials[1].name == "1 path= seed=1"
    (folder,) = (path.name for path in (tmp_path / "tensorboard").iterdir() if path.name.startswith("0 "))
    assert folder == "0 _script__x1b_31m_n.._.._etc_ud800 seed=1"


@pytest.mark.parametrize("name", ["", "tensorbored", "../x"])
def test_a_logger_that_is_none_is_a_line(name: str) -> None:
    with pytest.raises(jaxgen.UserError, match=r"there is no logger .*; expected one or several of tensorboard, mlflow"):
        jaxgen.log_to(name)


def test_what_is_no_logger_is_a_line() -> None:
    with pytest.raises(jaxgen.UserError, match="a dict was given for a logger"):
        jaxgen.log_to({})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", telling.LOGGERS)
def test_a_package_that_is_not_installed_is_a_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    modules: Any = __import__("sys").modules
    monkeypatch.delitem(modules, f"jaxgen.loggers.to_{name}", raising=False)
    for module in [name, *(one for one in modules if one.startswith(f"{name}."))]:
        monkeypatch.setitem(modules, module, None)
    with pytest.raises(jaxgen.UserError, match=rf"logging to {name} needs the package {name} .*pip install 'jaxgen\[{name}\]'"):
        jaxgen.log_to(name)


def test_a_run_whose_identity_is_damaged_goes_on(tmp_path: Path) -> None:
    (tmp_path / telling.IDENTITY).write_text("../x\n")
    said, notes = list[str](), Notes()
    with jaxgen.log_to(notes, say=said.append) as listener:
        listener.begin(story(1, tmp_path))
    assert len(said) == 1
    assert said[0].startswith("nothing is logged: ")
    assert notes.run is None


def test_a_run_without_a_folder_is_logged_by_the_name_of_its_sweep(small: Config, corpus: Corpus) -> None:
    notes, said = Notes(), list[str]()
    with jaxgen.log_to(notes, "tensorboard", say=said.append) as listener:
        runs.run(jaxgen.seeds(small, 1), corpus, listener=listener)
    assert (notes.run.name, notes.run.folder, len(notes.ends)) == ("sweep", None, 1)
    assert notes.trials[0].name == "0 seed=0"
    assert len(said) == 1
    assert said[0].startswith("TensorBoard: nothing more is logged (it writes into the run's folder")
