"""Every registered ablation, at a tiny budget: it trains, it is answered, and it is reported."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import jax
import pytest
from conftest import ROOT, SMALL
from invented import results_of

import jaxgen
from jaxgen import runs
from jaxgen.commands.ablations import ablations, grouped, owners
from jaxgen.commands.sweep import Flags, given, sweep_of
from jaxgen.engine import probe
from jaxgen.fields import flatten, override
from jaxgen.job import prepared
from jaxgen.judge.answers import VERDICTS, answer
from jaxgen.report.page import report
from jaxgen.search.sweep import Sweep, groups
from jaxgen.tasks import TASKS, task_of
from jaxgen.tasks.names.config import FAMILIES, Config
from jaxgen.tasks.names.data import Corpus
from jaxgen.tasks.names.loss import next_character
from jaxgen.tasks.names.task import NAMES

ABLATIONS = ablations("names")
TINY = SMALL | {"model.hidden": 8, "train.steps": 6, "train.eval_every": 3, "train.batch_size": 8}
MOST = 6  # trials of a program
TRAINED = ("ensembles",)  # always: what is made of several trials


@pytest.mark.parametrize("name", ABLATIONS)
def test_it_is_a_question_and_a_sweep_of_allowed_values(name: str) -> None:
    ablation = ABLATIONS[name]
    question, sweep = sweep_of(Flags(ablation=name), NAMES)
    assert question == ablation.QUESTION
    assert question.name == name
    assert question.text.endswith("?")
    assert question.verdict in {*VERDICTS, *NAMES.verdicts}
    assert owners()[name] == "names"
    assert set(question.arms) <= set(sweep.keys)
    assert ablation.SETTINGS.keys() <= flatten(Config()).keys()
    assert len(list(sweep)) == len(sweep) > 1
    points = [tuple(sorted(point.items(), key=str)) for point in sweep.points]
    assert len(set(points)) == len(points)


def test_they_stand_in_the_groups_and_the_order_of_the_guide() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    sections = dict(part.split("\n", 1) for part in guide.split("\n## ")[1:])
    for task in TASKS:
        for group, modules in grouped(task).items():
            asked = re.findall(r"jaxgen sweep (\w+)`? ", sections[group])
            own = [ablation.QUESTION.name for ablation in modules]
            assert own == asked if task == "names" else {*own} & {*asked}


def test_minutes_are_those_that_stand_in_what_an_ablation_says_of_itself() -> None:
    for task in TASKS:
        for ablation in ablations(task).values():
            said = " ".join((ablation.__doc__ or "").split())
            found = re.search(r"(?:(\d+) min )?(?:(\d+) s )?on 2 cores", said)
            assert found, said
            assert abs(ablation.MINUTES - int(found[1] or 0) - int(found[2] or 0) / 60) < 0.051, said


def tiny(name: str, corpus: Corpus) -> Sweep:
    """An ablation's sweep of small networks."""
    ablation = ABLATIONS[name]
    values = {**ablation.SETTINGS, **TINY, "data.path": corpus.path}
    values |= {"data.source": corpus.path} if "data.source" in values else {}
    return ablation.sweep(override(Config(), values))


@pytest.mark.parametrize("name", ABLATIONS)
def test_it_is_traced_and_answered(name: str, corpus: Corpus) -> None:
    """A program of it by its shapes, and an answer from what training might have found."""
    sweep, question = jaxgen.seeds(tiny(name, corpus), 2), ABLATIONS[name].QUESTION
    source = corpus if sweep.base.data.source else None
    job = prepared(sweep, task_of(corpus), source)
    assert probe.look(job.functions, job.trained[0], job.data(job.trained[0])).program
    if question.verdict in VERDICTS:  # the task's own look at what was trained
        sentences = answer(results_of(sweep, question)).sentences
        assert sentences
        assert all(sentences)


@pytest.mark.usefixtures("compiled_quickly")
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.long] * (n not in TRAINED)) for n in ABLATIONS])
def test_it_trains_is_answered_and_reported(name: str, corpus: Corpus, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Short: of a few, some trials of the first program. `--long`: all of all."""
    sweep, question = tiny(name, corpus), ABLATIONS[name].QUESTION
    source = corpus if sweep.base.data.source else None
    if not request.config.getoption("--long"):
        trials = groups(sweep, lambda config: 100)[0].trials
        sweep = Sweep(sweep.base, tuple(sweep.points[trial] for trial in trials[:: -(-len(trials) // MOST)]))
    sweep = jaxgen.seeds(sweep, 2)
    lanes: dict[str, Any] = {"width": 4, "chunk": 2, "devices": 1}  # what is shared out over several takes longer to compile
    results = runs.run(sweep, corpus, tmp_path / "run", source=source, question=question, **lanes)
    assert len(results.rows) == len(sweep)
    sentences = answer(results, corpus).sentences
    assert sentences
    assert all(sentences)
    assert answer(jaxgen.load_results(tmp_path / "run"), corpus).sentences == sentences
    assert report(tmp_path / "run").exists()


def test_families_are_of_one_size_and_see_one_context() -> None:
    _, sweep = sweep_of(Flags(ablation="families"), NAMES)
    configs = {config.model.family: dataclasses.replace(config, seed=0) for config in sweep}
    for config in configs.values():
        params, _ = jax.eval_shape(lambda c=config: next_character(27).init(c, jax.random.key(0)))
        assert 19_000 < sum(math.prod(p.shape) for p in jax.tree.leaves(params)) < 21_500, config.model.family
    assert configs.keys() == {*FAMILIES} - {"ngram", "bigram"}


def test_a_flag_wins_over_an_ablations_setting() -> None:
    args = ["l2", "--data", "data/names.txt", "--train.steps=4000", "--model.context", "3"]
    named = given(args, Config)
    sweep_of(
        Flags(ablation="batch_size", config=override(Config(), {"train.steps": 80})), NAMES, {"train.steps"}
    )  # not refused
    assert named == {"data.path", "train.steps", "model.context"}
    _, sweep = sweep_of(Flags(ablation="l2", data="data/names.txt"), NAMES, named)
    assert (sweep.base.data.path, sweep.base.train.steps, sweep.base.model.context) == ("data/names.txt", 4000, 3)
    assert sweep.base.optimizer.schedule == "cosine"


@pytest.mark.parametrize(("split", "splits"), [("rows", "rows order"), ("names", "names order"), ("order", "order")])
def test_overfitting_compares_the_order_with_the_split_that_is_asked_for(split: str, splits: str) -> None:
    config = override(Config(), {"data.split": split})
    _, sweep = sweep_of(Flags(ablation="overfitting", config=config), NAMES, {"data.split"})
    assert list(dict.fromkeys(c.data.split for c in sweep)) == splits.split()


@pytest.mark.parametrize("args", [["optimizers", "--optimizer.name", "adam"], ["l2", "--regularizer.l2=0.0"]])
def test_a_flag_that_the_sweep_varies_is_refused_even_at_its_default(args: list[str]) -> None:
    with pytest.raises(jaxgen.UserError, match="drop the flag"):
        sweep_of(Flags(ablation=args[0]), NAMES, given(args, Config))
