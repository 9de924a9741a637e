"""What a command starts from: presets, the configs of runs, exports and files, and what flags change of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from processes import Commands

import jaxgen
from jaxgen import runs
from jaxgen.commands.cli import flags_of
from jaxgen.commands.starting import base_of
from jaxgen.commands.sweep import Flags, sweep_of
from jaxgen.fields import UserError, flatten, override
from jaxgen.tasks import TASKS, find
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus
from jaxgen.tasks.names.task import NAMES

PAIRS = [(task, name) for task in TASKS for name in find(task).presets]


def base(named: dict[str, Any] | None = None, **flags: Any) -> Config:
    """The base config of a command line with these flags, of which `named` are keys of the config."""
    named = named or {}
    return base_of(Flags(config=override(Config(), named), **flags), NAMES, set(named))


@pytest.mark.parametrize(("task", "name"), PAIRS)
def test_a_preset_is_a_config_that_trains(task: str, name: str) -> None:
    found = find(task)
    question, sweep = sweep_of(flags_of(Flags, found)(preset=name), found)
    (config,) = sweep  # it is allowed
    assert question.name == "sweep"
    assert {key: flatten(config)[key] for key in found.presets[name].values} == dict(found.presets[name].values)


def test_flags_change_a_preset_and_a_preset_what_is_started_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('seed = 3\n[model]\nhidden = 32\nfamily = "gru"\n[train]\nsteps = 7\n')
    found = base({"train.steps": 50}, preset="counts", start=str(file))
    assert (found.seed, found.model.hidden, found.model.family, found.train.steps) == (3, 32, "ngram", 50)


def test_a_presets_values_stand_above_those_of_an_ablation() -> None:
    _, sweep = sweep_of(Flags(ablation="optimizers", preset="transformer"), NAMES)
    assert (sweep.base.model.family, sweep.base.train.steps) == (
        "transformer",
        2000,
    )  # the ablation's, which the preset has not
    _, sweep = sweep_of(Flags(ablation="optimizers", preset="dl101"), NAMES)
    assert sweep.base.train.steps == 8000


@pytest.mark.parametrize("text", ['{"model.hidden": 32, "train": {"steps": 9}}', "model.hidden = 32\ntrain.steps = 9"])
def test_a_file_says_keys_with_dots_or_sections(text: str, tmp_path: Path) -> None:
    file = tmp_path / ("a.json" if text.startswith("{") else "a.toml")
    file.write_text(text)
    found = base(start=str(file))
    assert (found.model.hidden, found.train.steps) == (32, 9)


@pytest.mark.usefixtures("compiled_quickly")
def test_a_run_gives_its_best_setting_and_an_export_its_config(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    small = override(small, {"seed": 5})
    sweep = jaxgen.grid(small, {"optimizer.learning_rate": [1e30, 1e-3, 1e-5], "seed": [5, 6]})
    results = runs.run(sweep, corpus, tmp_path / "run", width=2, chunk=1)
    best = results.leaderboard()[0].values["optimizer.learning_rate"]
    wanted = override(results.sweep.base, {"optimizer.learning_rate": best})
    for where in ("run", "run/config.json"):
        assert base(start=str(tmp_path / where)) == wanted
    jaxgen.export(results.trained(1), tmp_path / "exported")
    alone = override(results.trained(1).config, {"data.path": Path(corpus.path).name})  # an export knows no folders
    assert base(start=str(tmp_path / "exported")) == alone


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2]", "holds no keys by name"),
        ("{", "is no JSON"),
        ('{"model.hiden": 3}', "there is no config key 'model.hiden'; did you mean model.hidden?"),
        ('{"model.hidden": "many"}', "model.hidden is 'many', expected int"),
        ('{"model.hidden": [1]}', "model.hidden is [1], expected int"),
        ('{"a": ' * 20000, "is no JSON"),
    ],
)
def test_what_is_no_config_is_one_line(content: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(content)
    with pytest.raises(UserError) as error:
        base(start=str(file))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="which is not there; give a run's folder, an export, or a JSON or TOML file"):
        base(start=str(tmp_path / "none"))
    with pytest.raises(UserError, match="there is no preset 'good'; expected one of these: generator: good names"):
        base(preset="good")
    digits = find("digits")
    with pytest.raises(UserError, match="the task 'digits' has none; leave --preset out"):
        base_of(flags_of(Flags, digits)(preset="generator"), digits, set())


@pytest.mark.long  # what commands call is tried above
def test_from_the_command_line(commands: Commands, corpus: Corpus, tmp_path: Path) -> None:
    """A preset, changed, and then the same again from the run's folder."""
    quick = (
        "--data",
        corpus.path,
        "--train.steps",
        "6",
        "--train.eval_every",
        "3",
        "--model.hidden",
        "8",
        "--model.depth",
        "1",
    )
    code, out, err = commands.call("train", "--preset", "dl101", "--out", tmp_path / "first", *quick)
    assert code == 0, err
    assert "trial" in out
    code, _, err = commands.call("train", "--config", tmp_path / "first", "--out", tmp_path / "second")
    assert code == 0, err
    first, second = (json.loads((tmp_path / name / "config.json").read_text())["base"] for name in ("first", "second"))
    assert first == second
    assert (first["optimizer.schedule"], first["model.hidden"], first["train.steps"]) == ("cosine", 8, 6)
