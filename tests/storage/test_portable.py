"""Trials taken elsewhere."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import optax
import pytest
import safetensors.numpy
from conftest import same_bits
from families import SOME
from tasks.names.test_families import trained

import jaxgen
from jaxgen.fields import UserError
from jaxgen.judge.results import Trained
from jaxgen.reopen import load_all
from jaxgen.storage.card import CARD
from jaxgen.storage.portable import FACTS, MIXTURE, WEIGHTS
from jaxgen.tasks.digits.task import DIGITS
from jaxgen.tasks.names import ngram
from jaxgen.tasks.names.scores import score


@pytest.mark.parametrize("family", SOME)
def test_an_exported_trial_is_the_trial(family: str, tmp_path: Path) -> None:
    member = trained(family)
    folder = jaxgen.export(member, tmp_path / "a" / "trial")
    again = jaxgen.load(folder)
    assert same_bits((again.params, again.stats), (member.params, member.stats))
    assert (again.config, again.task.vocabulary, again.task.longest) == (member.config, member.task.vocabulary, 10)
    assert jaxgen.sample(again, 3, seed=1) == jaxgen.sample(member, 3, seed=1)
    assert jaxgen.load(folder, member.trial).trial == member.trial
    assert {path.name for path in folder.iterdir()} == {FACTS, WEIGHTS, CARD}
    with pytest.raises(UserError, match="there already"):
        jaxgen.export(member, folder)
    with pytest.raises(UserError, match="trial 0 alone"):
        jaxgen.load(folder, 7)


def test_an_export_says_what_was_used_where_nothing_was_given(tmp_path: Path) -> None:
    member = trained("mlp")
    adam = dataclasses.replace(member.config.optimizer, name="adam", learning_rate=None, b1=0.8, b2=None, momentum=None)
    folder = jaxgen.export(
        dataclasses.replace(member, config=dataclasses.replace(member.config, optimizer=adam)), tmp_path / "a"
    )
    said = json.loads((folder / FACTS).read_text())
    assert said["config"]["optimizer.b2"] is None
    assert said["filled_in"]["optimizer.b2"] == 0.999  # Kingma and Ba 2015
    assert not {"optimizer.b1", "optimizer.momentum"} & said["filled_in"].keys()
    assert jaxgen.load(folder).config.optimizer == adam


@pytest.mark.parametrize("family", SOME)
def test_an_export_of_before_there_were_tasks_is_read(family: str, tmp_path: Path) -> None:
    """Format 1, which was of names alone: characters, and statistics by another name."""
    member = trained(family)
    folder = jaxgen.export(member, tmp_path / "trial")
    facts = json.loads((folder / FACTS).read_text())
    rows = facts.pop("task")["rows"]
    del facts["config"]["train.draw"]
    (folder / FACTS).write_text(json.dumps({**facts, "format": 1, **rows}))
    reweighed(folder, lambda arrays: {re.sub("^stats", "batch_stats", name): x for name, x in arrays.items()})
    again = jaxgen.load(folder)
    assert same_bits((again.params, again.stats), (member.params, member.stats))
    assert (again.config, again.task.vocabulary, again.task.longest) == (member.config, member.task.vocabulary, 10)
    assert jaxgen.sample(again, 3, seed=1) == jaxgen.sample(member, 3, seed=1)
    harmed(folder, characters="ba")
    with pytest.raises(UserError, match="no whole trial"):
        jaxgen.load(folder)


def test_an_export_of_before_there_were_cards_is_read(tmp_path: Path) -> None:
    """Of format 2, without what is said of its row and its data."""
    member = trained("mlp")
    folder = jaxgen.export(member, tmp_path / "trial")
    facts = json.loads((folder / FACTS).read_text())
    del facts["row"], facts["data"]
    (folder / FACTS).write_text(json.dumps(facts))
    (folder / CARD).unlink()
    reweighed(folder, lambda arrays: arrays)  # without metadata
    again = jaxgen.load(folder)
    assert same_bits((again.params, again.stats), (member.params, member.stats))
    assert (again.row, again.data) == (None, {})


def reweighed(folder: Path, change: Any) -> None:
    arrays = safetensors.numpy.load((folder / WEIGHTS).read_bytes())
    (folder / WEIGHTS).write_bytes(safetensors.numpy.save(change(arrays)))


def harmed(folder: Path, **values: Any) -> None:
    facts = json.loads((folder / FACTS).read_text())
    (folder / FACTS).write_text(json.dumps(facts | values))


def retold(folder: Path, **values: Any) -> None:
    """Changes what is said of the task's rows."""
    task = json.loads((folder / FACTS).read_text())["task"]
    harmed(folder, task={**task, "rows": {**task["rows"], **values}})


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda folder: harmed(folder, format=9), "format 9"),
        (lambda folder: retold(folder, characters=5), "no whole trial"),
        (lambda folder: harmed(folder, config={"model.hidden": "many"}), "model.hidden"),
        (lambda folder: (folder / FACTS).write_text("{"), "no whole trial"),
        (lambda folder: harmed(folder, row={"trial": 0}), "no whole trial"),
        (lambda folder: harmed(folder, data=[1]), "no whole trial"),
        (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1]), "no whole trial"),
        (lambda folder: (folder / WEIGHTS).unlink(), WEIGHTS),
        (lambda folder: (folder / FACTS).write_text("[" * 100_000), "no whole trial"),
        (lambda folder: retold(folder, characters="abb"), "different ones in order"),
        (lambda folder: retold(folder, characters="\nab"), "different ones in order"),
        (lambda folder: retold(folder, characters="ab"), "does not fit its config at|no counts"),
        (lambda folder: retold(folder, longest=0), "longest 0"),
        (lambda folder: retold(folder, longest=10**30), "longest 1000"),
        (lambda folder: harmed(folder, config={"optimizer.learning_rate": 10**400}), "no whole trial"),
        (lambda folder: harmed(folder, config={"optimizer.chain": [1]}), "no whole trial"),
        (
            lambda folder: harmed(folder, config={"model.hidden": 65536, "model.context": 9}),
            "does not fit its config at",
        ),
        (lambda folder: reweighed(folder, lambda arrays: {**arrays, "params": np.zeros(3, np.float32)}), "does not fit"),
        (
            lambda folder: reweighed(folder, lambda arrays: {**arrays, "more": np.zeros(3, np.float32)}),
            "does not fit.* at more",
        ),
        (lambda folder: reweighed(folder, lambda arrays: dict(list(arrays.items())[1:])), "does not fit"),
        (
            lambda folder: reweighed(folder, lambda arrays: {n: x.astype(np.float16) for n, x in arrays.items()}),
            "not fit|no counts",
        ),
        (
            lambda folder: reweighed(
                folder, lambda arrays: {n: x * np.nan if x.dtype.kind == "f" else x for n, x in arrays.items()}
            ),
            "not finite",
        ),
    ],
)
@pytest.mark.parametrize("family", ["mlp", "ngram"])
def test_a_damaged_folder_is_refused(family: str, harm: Any, says: str, tmp_path: Path) -> None:
    folder = jaxgen.export(trained(family), tmp_path / "trial")
    harm(folder)
    with pytest.raises(UserError, match=says):
        jaxgen.load(folder)


@pytest.mark.parametrize("part", ngram.Order._fields)
@pytest.mark.parametrize("wrong", [lambda x: x - 5, lambda x: x + 1000, lambda x: x[1:], lambda x: x[::-1]])
def test_counts_that_would_be_looked_up_outside_are_refused(part: str, wrong: Any, tmp_path: Path) -> None:
    """Of every array of an order; those of characters may stand in another order, which harms no look-up."""
    folder = jaxgen.export(trained("ngram"), tmp_path / "trial")
    reweighed(
        folder,
        lambda arrays: arrays | {f"params.order_2.{part}": np.ascontiguousarray(wrong(arrays[f"params.order_2.{part}"]))},
    )
    if len(wrong(np.arange(9))) == 9 and wrong(np.arange(9))[0] == 8 and part not in ("begins", "follows"):
        return
    with pytest.raises(UserError, match="no counts"):
        jaxgen.load(folder)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the writes in turn; the folder before it is not made for it."""
    real, left = os.fsync, [0]

    def fails(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fails)
    for writes in range(7):
        left[0] = writes
        with pytest.raises(UserError, match="nothing was written"):
            jaxgen.export(trained("mlp"), tmp_path / "trial")
        assert list(tmp_path.iterdir()) == []


def test_of_two_exports_at_once_one_is_whole_and_the_other_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, replace = trained("mlp"), os.replace
    other = dataclasses.replace(one, trial=7)

    def late(source: Any, target: Any) -> None:
        if target == tmp_path / "out" and not target.exists():
            with monkeypatch.context() as patch:
                patch.setattr(os, "replace", replace)
                patch.setattr(os, "getpid", lambda: 1)
                jaxgen.export(one, target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    with pytest.raises(UserError, match="is there already; give the name of a new folder"):
        jaxgen.export(other, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert jaxgen.load(tmp_path / "out").trial == one.trial


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_folder_without_a_name_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is no name of a folder; give the name of a new one"):
        jaxgen.export(trained("mlp"), name)
    assert [*tmp_path.iterdir()] == []


def test_a_chain_of_ones_own_is_named(tmp_path: Path) -> None:
    member = trained("mlp")
    config = jaxgen.override(member.config, {"optimizer.chain": optax.lion})
    folder = jaxgen.export(dataclasses.replace(member, config=config), tmp_path / "trial")
    assert "lion" in str(jaxgen.load(folder).config.optimizer.chain)


def mixture() -> list[Any]:
    """Three trials of one task."""
    return [
        dataclasses.replace(trained(family), trial=number) for number, family in ((5, "gru"), (2, "mlp"), (7, "transformer"))
    ]


def test_an_exported_mixture_is_the_mixture(tmp_path: Path) -> None:
    members = mixture()
    folder = jaxgen.export(members, tmp_path / "mixture")
    assert {path.name for path in folder.iterdir()} == {MIXTURE, CARD, "trial-5", "trial-2", "trial-7"}
    again = load_all(folder)
    assert [one.trial for one in again] == [5, 2, 7]
    assert jaxgen.sample(again, 5, seed=1) == jaxgen.sample(members, 5, seed=1)
    assert np.array_equal(score(again, ["abc", "ga"]), score(members, ["abc", "ga"]))
    assert [one.trial for one in load_all(folder, "7,5")] == [7, 5]
    assert [one.trial for one in load_all(folder, "best-2")] == [5, 2]
    assert jaxgen.load(folder, trial=2).trial == 2
    assert jaxgen.load(folder / "trial-2").trial == 2
    with pytest.raises(UserError, match="holds the mixture of the trials 5, 2, 7; load each by its number"):
        jaxgen.load(folder)
    for trials in ("3", "2,3", "best-4", "best-0", "worst"):
        with pytest.raises(UserError, match=f"holds the trials 5, 2, 7, and not {trials}"):
            load_all(folder, trials)
    with pytest.raises(UserError, match="there already"):
        jaxgen.export(members, folder)
    other = jaxgen.export(load_all(folder), tmp_path / "other")
    for path in folder.rglob("*.*"):
        assert path.is_dir() or path.read_bytes() == (other / path.relative_to(folder)).read_bytes()


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"format": 2, "trials": []}', '{"format": 9, "trials": [5]}', '{"format": 2, "trials": ["../x"]}']
)
def test_a_damaged_mixture_is_refused(content: str, tmp_path: Path) -> None:
    folder = jaxgen.export(mixture()[:2], tmp_path / "mixture")
    (folder / MIXTURE).write_text(content)
    with pytest.raises(UserError, match="holds no whole mixture"):
        load_all(folder)


def test_what_is_no_mixture_is_refused(tmp_path: Path) -> None:
    member = trained("mlp")
    for members, says in (
        ([], "given for a trained trial"),
        ([member, member], "expected one, or several different"),
    ):
        with pytest.raises(UserError, match=says):
            jaxgen.export(members, tmp_path / "mixture")
    digits = [Trained(number, DIGITS.config(), DIGITS, {}, {}) for number in (0, 1)]
    with pytest.raises(UserError, match="'digits' has no mixtures; export one trial"):
        jaxgen.export(digits, tmp_path / "mixture")
    assert [*tmp_path.iterdir()] == []
    assert jaxgen.load(jaxgen.export([member], tmp_path / "one")).trial == member.trial
