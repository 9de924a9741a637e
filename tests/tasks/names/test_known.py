"""Corpora whose losses are known: every family comes to them through the engine, and to no better ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import jaxgen
from jaxgen import runs
from jaxgen.fields import override
from jaxgen.search.sweep import Uniform, groups
from jaxgen.tasks.names.config import FAMILIES, Config
from jaxgen.tasks.names.data import Corpus, cut, windows
from jaxgen.tasks.names.scores import surprise

pytestmark = pytest.mark.usefixtures("compiled_quickly")

SIZES = {
    "model.context": 8,
    "model.embedding": 8,
    "model.hidden": 24,
    "model.depth": 1,
    "optimizer.learning_rate": 1e-2,
    "optimizer.clip_norm": 1.0,
    "train.batch_size": 16,
    "train.names": 0,
}
NAME = "abcabc"


@pytest.fixture
def families(request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    """Some of the families; all by --long."""
    return lambda *short: [*FAMILIES] if request.config.getoption("--long") else [*short]


def corpus_of(names: list[str]) -> Corpus:
    return Corpus(tuple(names), "names.txt", None, "")


def test_what_repeats_is_learnt_to_nothing(families: Callable[..., list[str]]) -> None:
    """Where the context holds the whole name, what comes next is sure; after one character alone, the end is one of two."""
    tried = families("ngram", "bigram", "mlp")
    base = override(Config(), {**SIZES, "train.steps": 900, "train.eval_every": 300})
    axes = {
        "model.family": tried,
        "model.depth": [3 if family == "dilated" else 1 for family in tried],  # reach 1, 2 and 4 characters back
        "optimizer.learning_rate": [0.1 if family == "bigram" else 0.01 for family in tried],  # logits are all it has
    }
    results = runs.run(jaxgen.zipped(base, axes), corpus_of([NAME] * 60), width=1, chunk=1, devices=1)
    losses = {row.values["model.family"]: row.val_loss for row in results.rows}
    assert losses.pop("bigram") == pytest.approx(2 * math.log(2) / (len(NAME) + 1), abs=0.01)
    assert {name: loss for name, loss in losses.items() if not loss < 0.05} == {}


def test_what_is_chance_is_learnt_no_better_than_it_is(families: Callable[..., list[str]]) -> None:
    """Characters and ends are equally likely everywhere, but for the first place, where no name ends."""
    source = np.random.default_rng(0)
    letters, names = list("abc"), []
    while len(names) < 1500:
        name = ""
        while (drawn := source.integers(0, 4)) or not name:
            name += letters[drawn - 1] if drawn else ""
        names.append(name)
    corpus = corpus_of(names)
    base = override(Config(), {**SIZES, "train.steps": 100, "train.eval_every": 50})
    results = runs.run(jaxgen.grid(base, {"model.family": families("ngram", "mlp")}), corpus, width=1, chunk=1, devices=1)
    validation = windows(cut(corpus, "rows", base.data.split_seed)[1], corpus.vocabulary, 8)
    first = (validation.ids[:, -1] == 0).mean()
    known = first * math.log(3) + (1 - first) * math.log(4)
    for row in results.rows:
        (found,) = surprise([results.trained(row.trial)], validation)
        noise = found.std() / math.sqrt(len(found))
        assert row.val_loss > known - 4 * noise, row.values
        assert row.val_loss < known + 0.2, row.values


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hundred_trials_of_a_family_share_a_program(family: str) -> None:
    base = override(Config(), {**SIZES, "model.family": family})
    axes = {
        "optimizer.learning_rate": Uniform(1e-4, 1e-1, log=True),
        "regularizer.dropout": Uniform(0.0, 0.5),
        "regularizer.l2": Uniform(1e-6, 1e-2, log=True),
        "model.init_scale": Uniform(0.5, 2.0),
        "train.steps": Uniform(5, 10),
    }
    sweep = jaxgen.random(jaxgen.grid(base, {"optimizer.name": ["sgd", "adam"]}), axes, 50)
    assert len(sweep) == 100
    assert len(groups(sweep, lambda config: 100)) == 1
