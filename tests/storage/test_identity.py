"""What a run is of: a folder knows its task and its rows, and refuses others; what it names is never imported."""

from __future__ import annotations

import contextlib
import copy
import csv
import functools
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import saved
from conftest import same_bits
from processes import Commands

import jaxgen
from jaxgen import runs
from jaxgen.engine.lanes import Event
from jaxgen.engine.plan import Planned
from jaxgen.fields import UserError
from jaxgen.judge.results import Results
from jaxgen.reopen import run_task
from jaxgen.report.page import report
from jaxgen.runs import Interrupted, Notice
from jaxgen.search.sweep import Sweep
from jaxgen.storage import files, folder
from jaxgen.storage.facts import config_text
from jaxgen.storage.portable import FACTS
from jaxgen.tasks import find
from jaxgen.tasks.base import Task
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus

pytestmark = pytest.mark.usefixtures("compiled_quickly")

FILE = """
import numpy as np
from flax import linen as nn
import jaxgen

class Net(nn.Module):
    width: int = 4

    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(2)(nn.tanh(nn.Dense(self.width)(x)))

x = np.random.default_rng(0).normal(size=(200, 3))
y = (x.sum(1) > 0).astype(int)
signs = jaxgen.supervised(Net, (x, y), metrics=("accuracy",), select="accuracy", name="signs")
"""
SMALL = {"train__steps": 40, "train__eval_every": 20, "train__batch_size": 8}
SQUARED = '(jaxgen.Metric("squared"), lambda outputs, y: (outputs[:, 0] - y) ** 2)'
PLACES: dict[str, Any] = {"width": 2, "chunk": 1}


def task_in(folder: Path, *changes: tuple[str, str], file: str = "signs.py") -> Task:
    """The task of a file of the user's, with changes of its text."""
    text = FILE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(text)
    return find(f"{folder / file}:signs")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return task_in(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def sweep(task: Task) -> Sweep:
    return jaxgen.grid(task.config(**SMALL), {"optimizer.name": ["sgd"], "optimizer.learning_rate": [0.1, 1.0], "seed": [0, 1]})


@pytest.fixture(scope="module")
def done(task: Task, sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("done") / "run"
    runs.run(sweep, task, out, **PLACES)
    return out


@pytest.fixture(scope="module")
def begun(task: Task, sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, stopped after its first segment."""
    out = tmp_path_factory.mktemp("begun") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "SHARE", float("inf"))
        with pytest.raises(Interrupted):
            runs.run(sweep, task, out, stop=lambda: True, **PLACES)
    return out


def resumed(sweep: Sweep, task: Any, out: Path) -> list[str]:
    """Goes on with a run; what a user was told."""
    said: list[str] = []

    def listener(event: Event | Planned | Notice, results: Results) -> None:
        if isinstance(event, Notice):
            said.append(event.text)

    runs.run(sweep, task, out, resume=True, listener=listener)
    return said


def content(out: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_a_folder_says_what_its_run_is_of(task: Task, done: Path) -> None:
    said = json.loads((done / "config.json").read_text())["task"]
    assert (said["name"], said["place"]) == ("signs", task.place)
    assert [(one["name"], one["higher_is_better"]) for one in said["metrics"]] == [("accuracy", True), ("loss", False)]
    assert said["rows"]["rows"] == {"train": 160, "validation": 20, "test": 20}
    assert len(said["rows"]["sha256"]) == len(said["program"]) == 64
    assert "jaxgen" not in said["place"]


def test_a_run_of_an_accuracy_keeps_the_highest(task: Task, done: Path) -> None:
    """From the steps that it keeps to what is loaded, with the task and without its rows."""
    with open(done / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-5:] == ["train_loss", "val_loss", "test_loss", "val_accuracy", "test_accuracy"]
    highest = max(rows, key=lambda row: (float(row["val_accuracy"]), -int(row["trial"])))
    found = jaxgen.load_results(done, task=task)
    assert found.best_row().trial == int(highest["trial"])
    assert str(found.verdict()).count("accuracy") >= 2
    for row in found.rows:
        at = {curve.step: curve.metrics["val_accuracy"] for curve in found.curves if curve.trial == row.trial}
        assert at[row.best_step] == max(at.values()) == row.metrics["val_accuracy"] == -row.score
    x, y = (np.asarray(part) for part in task.splits(None)[:2])
    outputs = jaxgen.predict(jaxgen.load(done, task=task), x)
    assert (outputs.argmax(1) == y).mean() > 0.9
    page = report(done, task).read_text(encoding="utf-8")
    assert "Of all it has the highest validation accuracy." in page


def test_it_goes_on_from_a_file_of_the_same_text(task: Task, sweep: Sweep, begun: Path, done: Path, tmp_path: Path) -> None:
    """Where the task's file lies is nothing to it, and nothing is said."""
    out = tmp_path / "run"
    shutil.copytree(begun, out)
    moved = task_in(tmp_path / "elsewhere")
    assert moved.place != task.place
    assert resumed(Sweep(moved.config(**SMALL), sweep.points), moved, out) == []
    a, b = (jaxgen.load_results(path, task=task) for path in (out, done))
    assert (a.rows, a.curves) == (b.rows, b.curves)
    for trial in range(len(sweep)):
        assert same_bits(a.trained(trial).params, b.trained(trial).params)


@pytest.mark.parametrize(
    ("old", "new"), [("y = (", "x[7, 1] = np.nextafter(x[7, 1], np.inf, dtype=np.float32)\ny = ("), ("x.sum(1)", "-x.sum(1)")]
)
def test_other_rows_are_refused(old: str, new: str, sweep: Sweep, begun: Path, tmp_path: Path) -> None:
    """One number that is a bit off is enough."""
    other = task_in(tmp_path / "other", (old, new))
    before = content(begun)
    with pytest.raises(UserError, match="holds a run on other rows: 'signs' has changed since"):
        resumed(Sweep(other.config(**SMALL), sweep.points), other, begun)
    assert content(begun) == before


def test_rows_that_changed_are_not_read_for_a_report(done: Path, tmp_path: Path) -> None:
    other = task_in(tmp_path / "other", ("default_rng(0)", "default_rng(1)"))
    with pytest.raises(UserError, match="'signs' has changed since the run; restore it"):
        run_task(done, other)
    assert "is not known: &#39;signs&#39; has changed" in report(done, other).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new"), [("nn.tanh", "nn.relu"), ('select="accuracy"', 'select="accuracy", loss=lambda o, t: (o[:, 0] - t) ** 2')]
)
def test_a_changed_program_is_said(old: str, new: str, sweep: Sweep, begun: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(begun, out)
    edited = task_in(tmp_path / "edited", (old, new))
    (line,) = resumed(Sweep(edited.config(**SMALL), sweep.points), edited, out)
    assert line.startswith("the task 'signs' computes something else than when the run began")


def test_a_run_of_another_task_is_refused(
    task: Task, sweep: Sweep, begun: Path, small: Config, corpus: Corpus, tmp_path: Path
) -> None:
    other = task_in(tmp_path / "other", ('name="signs"', 'name="others"'))
    before = content(begun)
    for given, its in ((other, Sweep(other.config(**SMALL), sweep.points)), (corpus, jaxgen.seeds(small, 2))):
        with pytest.raises(UserError, match="holds a run of the task 'signs'; give that one"):
            resumed(its, given, begun)
    assert content(begun) == before
    runs.run(Sweep(small), corpus, tmp_path / "names")
    with pytest.raises(UserError, match="holds a run of the task 'names'; give that one"):
        resumed(sweep, task, tmp_path / "names")
    with pytest.raises(UserError, match="of the task 'names', and not of 'signs'"):
        jaxgen.load(tmp_path / "names", task=task)
    with pytest.raises(UserError, match=r"make them by task\.config"):
        resumed(jaxgen.seeds(small, 2), task, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_other_metrics_are_refused(sweep: Sweep, begun: Path, done: Path, tmp_path: Path) -> None:
    """A run goes on with those that it began with, and is read with more, as long as the same one selects."""
    more = task_in(tmp_path / "more", ('("accuracy",)', f'("accuracy", {SQUARED})'))
    with pytest.raises(UserError, match=r"whose metrics are accuracy .the higher the better., loss, and .* loss, squared now"):
        resumed(Sweep(more.config(**SMALL), sweep.points), more, begun)
    read = jaxgen.load_results(done, task=more)
    assert read.best_row() == jaxgen.load_results(done, task=task_in(tmp_path / "same")).best_row()
    other = task_in(tmp_path / "loss", (', select="accuracy"', ""))
    with pytest.raises(UserError, match=r"selects by accuracy .the higher the better., and its task selects by loss"):
        jaxgen.load_results(done, task=other)


def test_without_its_task_a_run_is_one_line_that_names_the_place(task: Task, done: Path, tmp_path: Path) -> None:
    exported = jaxgen.export(jaxgen.load(done, task=task), tmp_path / "trial")
    line = f"the task 'signs' is one of your own; give it with --task {task.place} (in Python: task=...)"
    for use in (jaxgen.load, jaxgen.load_results, report, run_task):
        with pytest.raises(UserError) as error:
            use(done)
        assert str(error.value) == line
    with pytest.raises(UserError) as error:
        jaxgen.load(exported)
    assert str(error.value) == line.replace(task.place, Path(task.place).name)  # no folder of this machine goes along
    assert same_bits(jaxgen.load(exported, task=task).params, jaxgen.load(done, task=task).params)
    with pytest.raises(UserError, match="of the task 'signs', and not of 'others'"):
        jaxgen.load(exported, task=task_in(tmp_path / "other", ('name="signs"', 'name="others"')))


def test_commands_without_the_task_say_the_same_line(task: Task, done: Path, commands: Commands, tmp_path: Path) -> None:
    uses = {"report": (done,), "predict": (done,), "export": (done, tmp_path / "trial"), "sample": (done,)}
    for command, args in uses.items():
        code, said, err = commands.call(command, *args)
        assert (code, said) == (2, "")
        assert err == f"error: the task 'signs' is one of your own; give it with --task {task.place} (in Python: task=...)\n"
    assert not (tmp_path / "trial").exists()
    code, _, err = commands.call("sample", done, "--task", task.place)
    assert (code, err) == (2, "error: the task 'signs' makes nothing new; it has no `sample`\n")
    code, _, err = commands.call("score", done, "--names", done / "results.csv")
    assert (code, err.count("\n")) == (2, 1)
    assert "of the task 'signs', and not of 'names'" in err
    code, _, err = commands.call("sweep", "--grid", "optimizer.name=sgd,adam", "--out", done, "--resume")
    assert (code, err.count("\n")) == (2, 1)
    assert "holds a run of the task 'signs'" in err


def texts(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of a JSON value in which there is a text."""
    if isinstance(value, str):
        yield at
    elif isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from texts(value[key], (*at, key))


def replaced(value: Any, place: tuple[Any, ...], text: str) -> Any:
    changed = inner = copy.deepcopy(value)
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = text
    return changed


@pytest.mark.parametrize("of", ["names", "signs"])
def test_nothing_that_a_folder_names_is_imported(
    of: str,
    task: Task,
    done: Path,
    small: Config,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """A module lies where Python finds it, and texts of what is stored name it in turn, signed as ours. `--long`: each text."""
    planted, trace = tmp_path / f"planted_{of}.py", tmp_path / "trace"  # a name of its own: it is imported once
    planted.write_text(f"open({str(trace)!r}, 'w')\nfrom jaxgen.tasks.names.task import NAMES as task\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    out, exported = tmp_path / "run", tmp_path / "trial"
    if of == "names":
        runs.run(Sweep(small), corpus, out)
    else:
        shutil.copytree(done, out)
    jaxgen.export(jaxgen.load(out, task=None if of == "names" else task), exported)
    facts, trial = (json.loads(path.read_bytes()) for path in (out / "config.json", exported / FACTS))
    newest = max((out / "checkpoints").glob("save-*.json"))
    manifest = files.unsigned(newest.read_bytes())
    stored = {
        out / "config.json": (facts, config_text),
        exported / FACTS: (trial, lambda value: json.dumps(value).encode()),
        newest: (manifest, lambda value: files.signed(value).encode()),
        saved.log_of(out): (saved.lines(out), None),
    }
    names = (planted.stem, f"{planted.stem}:task", f"{planted.stem}.task", f"{planted}:task")
    cases = [(path, ((place, name),)) for path, (value, _) in stored.items() for place in texts(value) for name in names]
    if not request.config.getoption("--long"):
        cases = random.Random(0).sample(cases, 60)
    for path in (out / "config.json", exported / FACTS):  # as a run of that task would say it
        cases += [(path, ((("task", "name"), "task"), (("task", "place"), name))) for name in names]
        cases += [(path, ((("task", "place"), name),)) for name in names]
    for path, changes in cases:
        value, text = stored[path]
        before = path.read_bytes()
        changed = functools.reduce(lambda value, change: replaced(value, *change), changes, value)
        saves = {save: save.read_bytes() for save in (out / "checkpoints").glob("save-*.json")}
        path.write_bytes(text(changed)) if text is not None else saved.rewrite(out, changed)
        for given in (None, task)[: 1 if of == "names" else 2]:
            for use in (jaxgen.load,) if path.parent == exported else (jaxgen.load, run_task):
                with contextlib.suppress(UserError):
                    use(exported if path.parent == exported else out, task=given)
        for one, content in {**saves, path: before}.items():
            one.write_bytes(content)
        assert not trace.exists(), changes
    find(f"{planted.stem}:task")
    assert trace.exists()  # so the module would have been found
