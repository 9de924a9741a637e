"""Every room of the registry: its flags wait for nothing heavy, and its named sweeps are questions that are answered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import jaxgen
from jaxgen import runs
from jaxgen.commands.ablations import ablations, owners
from jaxgen.commands.cli import flags_of
from jaxgen.commands.sweep import Flags, sweep_of
from jaxgen.fields import flatten, override
from jaxgen.judge.answers import VERDICTS
from jaxgen.search.sweep import Sweep
from jaxgen.tasks import TASKS, find

TINY = {"train.steps": 6, "train.eval_every": 3, "train.batch_size": 8}
SMALL = {
    "digits": {"data.path": "digits8x8", "model.channels": 2, "model.blocks": 1, "model.hidden": 8}
}  # what compiles and trains sooner
FEW = 3  # trials of a sweep
NAMED = [(task, name) for task in TASKS if task != "names" for name in ablations(task)]  # names' have a file of their own
FIRST = {  # of each task, and of what differs in how its trials are made
    *(("curve", name) for name in ablations("curve")),
    *(("points", name) for name in ("perceptron", "input_scaling")),
    *(("digits", name) for name in ("vanilla_cnn", "image_transfer")),
}

FLAGS = """
import sys
from jaxgen.commands.cli import flags_of
from jaxgen.commands.sweep import Flags, sweep_of
from jaxgen.tasks import find
task = find(sys.argv[1])
list(sweep_of(flags_of(Flags, task)(grid=("seed=1,2",)), task)[1])
print(sorted({"jax", "flax", "optax", "matplotlib"} & {*sys.modules}))
"""


@pytest.mark.parametrize("name", TASKS)
def test_flags_import_nothing_heavy(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", FLAGS, name], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("task", "name"), NAMED)
def test_an_ablation_is_a_question_and_a_sweep_of_allowed_values(task: str, name: str) -> None:
    found, ablation = find(task), ablations(task)[name]
    question, sweep = sweep_of(flags_of(Flags, found)(ablation=name), found)
    assert question == ablation.QUESTION
    assert (question.name, owners()[name]) == (name, task)
    assert question.text.endswith("?")
    assert question.verdict in {*VERDICTS, *found.verdicts}
    assert set(question.arms) <= set(sweep.keys)
    assert ablation.SETTINGS.keys() <= flatten(found.config()).keys()
    points = [tuple(sorted(point.items(), key=str)) for point in sweep.points]
    assert len(set(points)) == len(points) == len(list(sweep)) > 1


@pytest.mark.usefixtures("compiled_quickly")
@pytest.mark.parametrize(
    ("task", "name"), [pytest.param(*one, marks=() if one in FIRST else pytest.mark.long) for one in NAMED]
)
def test_an_ablation_trains_and_is_answered(task: str, name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Short: the first trials. `--long`: all."""
    found, ablation = find(task), ablations(task)[name]
    values = {**ablation.SETTINGS, **TINY, **SMALL.get(task, {})}
    values |= {"data.source": values["data.path"]} if "data.source" in values else {}
    sweep = ablation.sweep(override(found.config(), values))
    if not request.config.getoption("--long"):
        sweep = Sweep(sweep.base, sweep.points[:FEW])
    results = runs.run(sweep, found, tmp_path / "run", question=ablation.QUESTION, width=2, chunk=1)
    assert len(results.rows) == len(sweep)
    sentences = results.verdict().sentences
    assert sentences
    assert all(sentences)
    assert jaxgen.load_results(tmp_path / "run").verdict().sentences == sentences
