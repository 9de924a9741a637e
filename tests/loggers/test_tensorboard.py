"""TensorBoard's files, read back by TensorBoard's own reader, beside the tables that the run's folder holds."""

from __future__ import annotations

import csv
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import SCALARS, TENSORS, EventAccumulator
from tensorboard.plugins.hparams import metadata

import jaxgen
from jaxgen import runs
from jaxgen.engine.lanes import Event, SegmentDone
from jaxgen.engine.plan import Planned
from jaxgen.fields import UserError
from jaxgen.judge.results import Curve, Results
from jaxgen.loggers import to_tensorboard
from jaxgen.loggers.to_tensorboard import TensorBoard, column
from jaxgen.reopen import load_results
from jaxgen.runs import Notice
from jaxgen.storage import files
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus
from jaxgen.tasks.names.task import METRICS

pytestmark = pytest.mark.usefixtures("compiled_quickly")

Points = dict[tuple[int, int], tuple[float, ...]]


def read(out: Path, run: str = "") -> EventAccumulator:
    """A TensorBoard run with all its points."""
    found = EventAccumulator(str(out / "tensorboard" / run), {SCALARS: 0, TENSORS: 0})
    return found.Reload()


def kept(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "tensorboard").iterdir() if path.is_dir())


def points(out: Path) -> Points:
    """The losses by trial and step, each of which is there once."""
    found: Points = {}
    for run in kept(out):
        train, validation = (read(out, run).Scalars(f"loss/{part}") for part in ("train", "validation"))
        for a, b in zip(train, validation, strict=True):
            place = (int(run.partition(" ")[0]), a.step)
            assert a.step == b.step
            assert place not in found
            found[place] = (a.value, b.value)
    return found


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def metrics(out: Path) -> Points:
    """The same from metrics.csv, as float32."""
    return {
        (int(line["trial"]), int(line["step"])): tuple(float(np.float32(line[key])) for key in ("train_loss", "val_loss"))
        for line in table(out / "metrics.csv")
    }


def hparams(out: Path, run: str, tag: str, parse: Callable[[bytes], Any]) -> Any:
    return parse(read(out, run).SummaryMetadata(tag).plugin_data.content)


@pytest.fixture(scope="module")
def run(small: Config, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six trials in two lanes, of which two diverge."""
    out = tmp_path_factory.mktemp("tensorboard") / "run"
    axes = {"optimizer.name": ["sgd"], "optimizer.learning_rate": [1e-2, 0.1, 1e30], "seed": range(2)}
    with jaxgen.log_to("tensorboard") as listener:
        runs.run(jaxgen.grid(small, axes), corpus, out, width=2, chunk=1, listener=listener)
    return out


def of(out: Path, trial: str) -> str:
    """TensorBoard's name of a trial."""
    return next(run for run in kept(out) if run.startswith(f"{trial} "))


def test_the_curves_are_those_of_the_table(run: Path) -> None:
    rates = ("0.01", "0.1", "1e+30")
    assert kept(run) == [f"{i} sgd learning_rate={rates[i // 2]} seed={i % 2}" for i in range(6)]
    found, expected = points(run), metrics(run)
    assert found.keys() == expected.keys()
    assert np.array_equal([*found.values()], [expected[place] for place in found], equal_nan=True)


def test_the_losses_at_the_best_step_are_those_of_the_table(run: Path) -> None:
    for line in table(run / "results.csv"):
        board = read(run, of(run, line["trial"]))
        for key in ("val_loss", "test_loss", "train_loss"):
            (point,) = board.Scalars(f"summary/{key}")
            assert (point.step, point.value) == (int(line["best_step"]), float(np.float32(line[key])))
        (status,) = board.Tensors("status")
        assert status.step == int(line["steps"])
        assert status.tensor_proto.string_val[0].decode().startswith(f"{line['status']} at step {line['steps']}")
        tags = board.Tags()["scalars"]  # which the time-series tab shows by the alphabet
        assert sorted(tags)[:2] == ["loss/train", "loss/validation"]


def test_the_hparams_tab_has_the_varied_keys_and_how_each_trial_ended(run: Path) -> None:
    experiment = hparams(run, "", metadata.EXPERIMENT_TAG, metadata.parse_experiment_plugin_data)
    keys = ["optimizer.name", "optimizer.learning_rate", "seed"]
    assert [(info.name, info.differs) for info in experiment.hparam_infos] == list(zip(keys, (False, True, True), strict=True))
    assert [*experiment.hparam_infos[0].domain_discrete] == ["sgd"]
    rates = experiment.hparam_infos[1].domain_interval
    assert (rates.min_value, rates.max_value) == (0.01, 1e30)
    assert [info.name.tag for info in experiment.metric_infos] == [
        "summary/val_loss",
        "summary/test_loss",
        "summary/train_loss",
    ]
    groups = set()
    for line in table(run / "results.csv"):
        name = of(run, line["trial"])
        start = hparams(run, name, metadata.SESSION_START_INFO_TAG, metadata.parse_session_start_info_plugin_data)
        assert start.hparams["optimizer.name"].string_value == line["optimizer.name"]
        assert start.hparams["optimizer.learning_rate"].number_value == float(line["optimizer.learning_rate"])
        assert start.hparams["seed"].number_value == int(line["seed"])
        groups.add(start.group_name)
        end = hparams(run, name, metadata.SESSION_END_INFO_TAG, metadata.parse_session_end_info_plugin_data)
        assert end.status == (2 if line["status"] == "diverged" else 1)  # failure, success
    assert len(groups) == 6


def test_a_column_has_one_type() -> None:
    assert column([1, 0.5]) == [1.0, 0.5]
    assert column([None, 0.5]) == ["-", "0.5"]
    assert column(["adam", "sgd"]) == ["adam", "sgd"]
    assert column([True, False]) == ["True", "False"]


@pytest.mark.usefixtures("promptly")
def test_a_run_that_was_lost_in_part_has_each_point_once(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """After a crash what came after the last save is trained again; the curves are those of the table nonetheless."""
    out, segments = tmp_path / "run", 0
    sweep = jaxgen.grid(small, {"seed": range(12)})

    def crash(event: Event | Planned | Notice, results: Results) -> None:
        nonlocal segments
        listener(event, results)
        segments += isinstance(event, SegmentDone)
        if segments == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), jaxgen.log_to("tensorboard") as listener:
        runs.run(sweep, corpus, out, width=2, chunk=1, listener=crash)
    written, saved = points(out), load_results(out).curves
    assert len(written) > len(saved)  # else this test shows nothing
    with jaxgen.log_to("tensorboard") as listener:
        runs.run(sweep, corpus, out, width=2, chunk=1, resume=True, listener=listener)
    assert points(out) == metrics(out)
    assert written.keys() <= metrics(out).keys()
    # A session in which there is nothing left to do, and that has no event to tell.
    first = points(out)
    files.remove(out / "tensorboard")
    with jaxgen.log_to("tensorboard") as listener:
        listener.begin(runs.run(sweep, corpus, out, resume=True, listener=listener))
    assert points(out) == first
    assert all(len(read(out, run).Scalars("summary/test_loss")) == 1 for run in kept(out))


def story(trials: int, out: Path) -> Results:
    """Results of trials that had three evaluations each, side by side, and ended."""
    results = Results(jaxgen.grid(Config(), {"seed": range(trials)}), metrics=METRICS, out=str(out))
    results.curves += [
        Curve(trial, step, {"train_loss": 2.0 + trial, "val_loss": 3.0}) for step in (10, 20, 30) for trial in range(trials)
    ]
    losses = {"train_loss": 2.0, "val_loss": math.nan, "test_loss": math.inf}
    results.rows += [results.row(trial, "completed", 9, 30, 20, losses) for trial in range(trials)]
    return results


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_one_file_is_open_at_a_time_however_many_trials(tmp_path: Path, monkeypatch: Any) -> None:
    """Neither the open files nor what waits for a write grow with the trials."""
    opened: list[int] = []
    waiting: list[int] = []

    class Patient(TensorBoard):
        def flush(self) -> None:
            waiting.append(self._count)
            super().flush()

    class Counting(to_tensorboard.RecordWriter):
        def write(self, data: bytes) -> None:
            places = (os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd"))
            opened.append(sum(place.startswith(f"{tmp_path}/") for place in places))
            super().write(data)

    monkeypatch.setattr(to_tensorboard, "RecordWriter", Counting)
    monkeypatch.setattr(to_tensorboard, "MOST", 50)
    with jaxgen.log_to(Patient()) as listener:
        listener.begin(story(100, tmp_path))
    assert max(opened) == 1
    assert max(waiting) == 50
    assert len(kept(tmp_path)) == 100
    assert sorted(points(tmp_path)) == [(trial, step) for trial in range(100) for step in (10, 20, 30)]
    assert len(opened) == 100 * (3 + 2 + 3) + 2  # format and start, three points, three lines of the end; the experiment


def test_what_is_not_finite_is_no_metric(tmp_path: Path) -> None:
    with jaxgen.log_to("tensorboard") as listener:
        listener.begin(story(1, tmp_path))
    (run,) = kept(tmp_path)
    assert [tag for tag in read(tmp_path, run).Tags()["scalars"] if tag.startswith("summary")] == ["summary/train_loss"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").symlink_to(tmp_path / "mine")
    said: list[str] = []
    with jaxgen.log_to("tensorboard", say=said.append) as listener:
        listener.begin(story(1, tmp_path / "run"))
    assert len(said) == 1
    assert "symbolic link" in said[0]
    assert (tmp_path / "mine" / "letter").read_text() == "dear"


@pytest.mark.usefixtures("promptly")
def test_a_disk_that_fails_is_one_line_and_the_run_goes_on(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    out, said = tmp_path / "run", list[str]()
    sweep = jaxgen.grid(small, {"seed": range(2)})

    class Broken(TensorBoard):
        def end(self, trial: int, summary: Any) -> None:
            files.remove(self._folder)
            self._folder.write_text("no folder any more")
            super().end(trial, summary)

    with jaxgen.log_to(Broken(), say=said.append) as listener:
        runs.run(sweep, corpus, out, width=2, chunk=1, listener=listener)
    (line,) = said
    assert line.startswith("Broken: nothing more is logged (cannot write ")
    assert line.endswith("the run itself goes on")
    assert "\n" not in line
    assert len(load_results(out).rows) == 2
    runs.run(sweep, corpus, out, width=2, chunk=1, overwrite=True)
    assert not (out / "tensorboard").exists()


def test_without_the_package_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is trained or written."""
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [name for name in sys.modules if name.startswith("tensorboard.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "jaxgen.loggers.to_tensorboard", raising=False)
    with pytest.raises(UserError) as error:
        jaxgen.log_to("tensorboard")
    assert "pip install 'jaxgen[tensorboard]'" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
