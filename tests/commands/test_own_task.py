"""A task of the user's own, from a file of 25 lines, by the commands; and what they say where it is wrong."""

from __future__ import annotations

import csv
import io
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from processes import Commands

import jaxgen
from jaxgen.tasks import find

OWN = """
import flax.linen as nn
import numpy as np

import jaxgen


class Net(nn.Module):
    width: int = 8
    dropout: float = 0.1

    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.relu(nn.Dense(self.width)(x)))
        return nn.Dense(3)(jaxgen.nn.Dropout(self.dropout)(x, train))


source = np.random.default_rng(0)
x = source.normal(size=(200, 4))
y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
task = jaxgen.supervised(Net, (x, y), metrics=["accuracy"], name="own")
"""
FLAGS = ("--train.steps", "60", "--train.eval_every", "5", "--train.batch_size", "8")
AXES = (
    "--grid", "optimizer.name=sgd,momentum,nesterov,adagrad,rmsprop,adam,adamw",
    "--grid", "model.dropout=0.0,0.3", "--grid", "optimizer.learning_rate=0.001,0.01",
)  # fmt: skip
LANES = ("--width", "4", "--chunk", "2", "--devices", "2")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The task, as a flag names it."""
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(OWN, encoding="utf-8")
    assert len(OWN.strip().splitlines()) <= 25
    return f"{path}:task"


@pytest.fixture(scope="module")
def run(task: str, commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that nothing interrupted."""
    out = tmp_path_factory.mktemp("own") / "run"
    code, said, err = commands.call("sweep", "--task", task, "--out", out, *AXES, *FLAGS, *LANES)
    assert code == 0, err
    assert "own (160 train, 20 validation, 20 test rows)" in said
    assert "1 training program compiled" in said
    assert re.search(r"validation +test +\n.*validation +test +accuracy +accuracy +trials", said)  # heads of two lines
    return out


def test_its_fields_are_flags(task: str, commands: Commands) -> None:
    code, said, _ = commands.call("sweep", "--task", task, "--help")
    assert code == 0
    assert "--model.width N" in said
    assert "--model.dropout X" in said
    assert "--model.hidden" not in said
    code, said, _ = commands.call("train", f"--task={task}", "--help-all")
    assert code == 0
    assert "--model.width N" in said
    assert "--train.patience N" in said


@pytest.mark.long  # as names' runs do, and tasks of one's own that are interrupted
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(run: Path, task: str, commands: Commands, tmp_path: Path) -> None:
    out = tmp_path / "run"
    args = ("--task", task, "--out", out, *AXES, *FLAGS, *LANES)
    going = commands.start("sweep", *args)
    going.until(lambda: len([*(out / "checkpoints").glob("save-*.json")]) > 0)
    going.send(signal.SIGKILL)
    assert going.wait() == -signal.SIGKILL
    code, _, err = commands.call("sweep", *args, "--resume")
    assert code == 0, err
    for name in ("results.csv", "metrics.csv"):
        assert (out / name).read_bytes() == (run / name).read_bytes()


def test_it_exports_reports_and_predicts(run: Path, task: str, commands: Commands, tmp_path: Path) -> None:
    assert commands.call("report", run, "--task", task)[0] == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "own (160 train, 20 validation, 20 test rows)" in page
    assert commands.call("export", run, tmp_path / "trial", "--task", task)[0] == 0
    x = np.random.default_rng(1).normal(size=(7, 4))
    np.savetxt(tmp_path / "inputs.csv", x, delimiter=",", header="a,b,c,d", comments="")
    np.save(tmp_path / "inputs.npy", x)
    own = find(task)
    expected = jaxgen.predict(jaxgen.load(run, task=own), x).argmax(1).tolist()
    for where, name in ((run, "inputs.csv"), (tmp_path / "trial", "inputs.npy")):
        code, said, err = commands.call("predict", where, "--task", task, "--input", tmp_path / name)
        assert code == 0, err
        head, *rows = csv.reader(io.StringIO(said))
        assert head == ["class", "p_0", "p_1", "p_2"]
        assert [int(row[0]) for row in rows] == expected
        assert all(abs(sum(map(float, row[1:])) - 1) < 1e-5 for row in rows)
    code, said, err = commands.call("predict", run, "--task", task, "--trial", "0,1")
    assert code == 0, err
    head, *rows = csv.reader(io.StringIO(said))
    assert len(rows) == 20  # the test rows
    members = [jaxgen.load(run, trial, task=own) for trial in (0, 1)]
    logits = jaxgen.predict(members, own.inputs_of(own.parts(members[0].config.data).test))
    np.testing.assert_allclose([[float(x) for x in row[1:]] for row in rows], np.exp(logits), atol=1e-5)


MISTAKES: dict[str, tuple[str, str]] = {
    "nothing.py:task": ("", "there is no file 'nothing.py'"),
    "own.py:other": (OWN, "'other' of 'own.py' is not there; expected a task"),
    "own.py:x": (OWN, "'x' of 'own.py' is of type ndarray; expected a task"),
    "own.py:": (OWN, "there is no task 'own.py:'; expected one of names"),
    "unknown": ("", "there is no task 'unknown'; expected one of names"),
    "nowhere.at_all:task": ("", "there is no module 'nowhere.at_all'"),
    "broken.py:task": ("x = 1\ny = x / 0\n", "cannot be imported: ZeroDivisionError: division by zero at "),
    "syntax.py:task": ("def (:\n", "cannot be imported: SyntaxError"),
    "needs.py:task": ("import not_there\n", "cannot be imported: ModuleNotFoundError: No module named 'not_there' at "),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_task_that_cannot_be_had_is_a_line(name: str, commands: Commands, tmp_path: Path) -> None:
    text, says = MISTAKES[name]
    where = name
    if text:
        path = tmp_path / name.partition(":")[0]
        path.write_text(text, encoding="utf-8")
        where, says = f"{tmp_path}/{name}", says.replace("'own.py", f"'{tmp_path}/own.py")
    code, said, err = commands.call("sweep", "--task", where, "--grid", "optimizer.name=sgd", "--out", tmp_path / "run")
    assert (code, said) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_example_is_a_task_of_25_lines() -> None:
    path = ROOT / "examples" / "digits.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 25
    task = find(f"{path}:task")
    assert [metric.name for metric in task.metrics] == ["loss", "accuracy"]
    opened = task.opened(task.config().data)
    assert opened.headline(opened.facts(task.config().data)) == "own_digits (1,437 train, 180 validation, 180 test rows)"
