"""Pretraining on other names, frozen layers, and names held out of training."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import final, losses_of, same_bits

import jaxgen
from jaxgen import runs
from jaxgen.fields import UserError, override
from jaxgen.job import prepared
from jaxgen.search.sweep import Sweep
from jaxgen.tasks import task_of
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus, cut, hold_out, load_corpus, windows
from jaxgen.tasks.names.loss import layers, next_character
from jaxgen.train import trial
from jaxgen.train.trial import Span

pytestmark = pytest.mark.usefixtures("compiled_quickly")

SOURCE = ["zoe", "zelda", "quentin", "xerxes", "ωmega"] * 4


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    path = tmp_path_factory.mktemp("source") / "others.txt"
    path.write_text("\n".join(SOURCE), encoding="utf-8")
    return load_corpus(path)


def test_early_batches_are_of_the_source_and_later_ones_are_not(small: Config) -> None:
    config = override(small, {"train.pretrain": 7})
    for step in range(14):
        rows = np.asarray(trial.rows(config, Span(0, 1000), jax.numpy.asarray(step), Span(1000, 50)))
        assert ((rows >= 1000) & (rows < 1050)).all() if step < 7 else ((rows >= 0) & (rows < 1000)).all()


def test_what_is_trained_on_first_are_the_names_that_the_vocabulary_can_write(
    small: Config, corpus: Corpus, source: Corpus
) -> None:
    config = override(small, {"train.pretrain": 7})
    job = prepared(Sweep(config), task_of(corpus), source)
    wanted = windows(tuple(name for name in source.names if "ω" not in name), corpus.vocabulary, config.model.context)
    found = job.data(job.groups[0]).source
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.targets, wanted.targets)


@pytest.mark.parametrize("freeze", [1, 3])
def test_frozen_layers_stay_and_the_others_learn(freeze: int, small: Config, corpus: Corpus) -> None:
    """What is frozen is after many steps as after one."""
    config = override(small, {"model.depth": 2, "train.freeze": freeze, "optimizer.name": "adamw"})
    results = runs.run(Sweep(config, ({"train.steps": 1}, {"train.steps": 40})), corpus, width=2, chunk=2)
    (begun, _), (params, _) = final(results, 0), final(results, 1)
    names = layers(params)
    assert names == ["embedding", "hidden_0", "hidden_1", "output"]
    assert [same_bits(params[name], begun[name]) for name in names] == [place < freeze for place in range(4)]


def test_held_out_names_have_a_loss_of_their_own(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    config = override(small, {"data.dev": 20})
    results = runs.run(Sweep(config), corpus, tmp_path / "run", width=1, chunk=1)
    (row,) = results.rows
    train, held = hold_out(cut(corpus, "rows", 42)[0], 20)
    part = windows(held, corpus.vocabulary, config.model.context)
    wanted = losses_of(next_character(len(corpus.vocabulary)), config, *final(results, 0), part).mean()
    assert "dev_loss" in row.metrics
    np.testing.assert_allclose(row.metrics["dev_loss"], wanted, rtol=1e-5)
    head, line = (tmp_path / "run" / "results.csv").read_text().splitlines()
    assert head.endswith("test_loss,dev_loss")
    assert float(line.rpartition(",")[2]) == row.metrics["dev_loss"]
    assert jaxgen.load_results(tmp_path / "run").rows == results.rows
    assert len(train) + len(held) == len(cut(corpus, "rows", 42)[0])


def test_pretraining_without_names_to_train_on_is_refused(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--data\.source"):
        runs.run(Sweep(override(small, {"train.pretrain": 5})), corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()
