"""Scores of names, and trials taken elsewhere."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import math
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
import safetensors.numpy
from conftest import same_bits
from families import SOME
from test_families import VOCABULARY, T, apply, network, trained

import jaxgen
from jaxgen.config import UserError
from jaxgen.judge.results import Trained
from jaxgen.storage.portable import FACTS, WEIGHTS
from jaxgen.tasks.names import ngram

NAMES = ["abc", "a", "gfedcbagfedcba", "cab", "a"]


@pytest.mark.parametrize("family", SOME)
def test_a_score_is_the_sum_of_a_names_surprises(family: str) -> None:
    """By a plain loop over windows; infinite where a character is unknown."""
    member = trained(family)
    found = jaxgen.score(member, [*NAMES, "xyz", "ax"])
    assert np.isinf(found[-2:]).all()
    model = jax.jit(apply(*network(family)))
    for name, nats in zip(NAMES, found, strict=False):
        total, ids = 0.0, [0] * T
        for target in [*VOCABULARY.encode(name), 0]:
            logits = np.asarray(model(np.array([ids]))[0], np.float64)
            total += np.log(np.exp(logits).sum()) - logits[target]
            ids = [*ids[1:], target]
        np.testing.assert_allclose(nats, total, rtol=1e-4)


@pytest.mark.parametrize("family", SOME)
def test_the_probabilities_of_all_names_up_to_a_length_are_all_but_the_tail(family: str) -> None:
    """P(names of up to n characters) + P(a name begins with n + 1 characters) = 1, whatever the network."""
    member, most = trained(family), 3
    names = ["".join(letters) for n in range(most + 1) for letters in itertools.product("abcdefg", repeat=n)]
    ended = np.exp(-jaxgen.score(member, names)).sum()
    # What the first n characters have, without the end: the surprise of a name less that of its end, times no end there.
    model, tail = jax.jit(apply(*network(family))), 0.0
    for letters in itertools.product("abcdefg", repeat=most):
        chance, ids = 1.0, [0] * T
        for target in [*VOCABULARY.encode("".join(letters)), None]:
            logits = np.asarray(model(np.array([ids]))[0], np.float64)
            shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            chance *= 1 - shares[0] if target is None else shares[target]
            ids = [*ids[1:], target or 0]
        tail += chance
    np.testing.assert_allclose(ended + tail, 1, rtol=1e-5)


def test_a_mixture_scores_by_the_mean_of_probabilities() -> None:
    members = [trained("gru"), trained("mlp")]
    models = [jax.jit(apply(*network(family))) for family in ("gru", "mlp")]
    total, ids = 0.0, [0] * T
    for target in [*VOCABULARY.encode("abc"), 0]:
        logits = [np.asarray(model(np.array([ids]))[0], np.float64) for model in models]
        total -= math.log(np.mean([np.exp(x[target]) / np.exp(x).sum() for x in logits]))
        ids = [*ids[1:], target]
    np.testing.assert_allclose(jaxgen.score(members, ["abc"]), [total], rtol=1e-4)


@pytest.mark.parametrize("family", SOME)
def test_an_exported_trial_is_the_trial(family: str, tmp_path: Path) -> None:
    member = trained(family)
    folder = jaxgen.export(member, tmp_path / "a" / "trial")
    again = jaxgen.load(folder)
    assert same_bits((again.params, again.stats), (member.params, member.stats))
    assert (again.config, again.vocabulary, again.longest) == (member.config, member.vocabulary, member.longest)
    assert jaxgen.sample(again, 3, seed=1) == jaxgen.sample(member, 3, seed=1)
    assert jaxgen.load(folder, member.trial).trial == member.trial
    assert {path.name for path in folder.iterdir()} == {FACTS, WEIGHTS}
    with pytest.raises(UserError, match="there already"):
        jaxgen.export(member, folder)
    with pytest.raises(UserError, match="trial 0 alone"):
        jaxgen.load(folder, 7)


def reweighed(folder: Path, change: Any) -> None:
    arrays = safetensors.numpy.load((folder / WEIGHTS).read_bytes())
    (folder / WEIGHTS).write_bytes(safetensors.numpy.save(change(arrays)))


def harmed(folder: Path, name: str, **values: Any) -> None:
    facts = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(facts | values))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda folder: harmed(folder, FACTS, format=9), "format 9"),
        (lambda folder: harmed(folder, FACTS, characters=5), "no whole trial"),
        (lambda folder: harmed(folder, FACTS, config={"model.hidden": "many"}), "model.hidden"),
        (lambda folder: (folder / FACTS).write_text("{"), "no whole trial"),
        (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1]), "no whole trial"),
        (lambda folder: (folder / WEIGHTS).unlink(), WEIGHTS),
        (lambda folder: (folder / FACTS).write_text("[" * 100_000), "no whole trial"),
        (lambda folder: harmed(folder, FACTS, characters="abb"), "different ones in order"),
        (lambda folder: harmed(folder, FACTS, characters="\nab"), "different ones in order"),
        (lambda folder: harmed(folder, FACTS, characters="ab"), "does not fit its config at|no counts"),
        (lambda folder: harmed(folder, FACTS, longest=0), "longest 0"),
        (lambda folder: harmed(folder, FACTS, longest=10**30), "longest 1000"),
        (lambda folder: harmed(folder, FACTS, config={"optimizer.learning_rate": 10**400}), "no whole trial"),
        (lambda folder: harmed(folder, FACTS, config={"optimizer.chain": [1]}), "no whole trial"),
        (
            lambda folder: harmed(folder, FACTS, config={"model.hidden": 65536, "model.context": 9}),
            "does not fit its config at",
        ),
        (lambda folder: reweighed(folder, lambda arrays: {**arrays, "params": np.zeros(3, np.float32)}), "does not fit"),
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
    for writes in range(5):
        left[0] = writes
        with pytest.raises(UserError, match="nothing was written"):
            jaxgen.export(trained("mlp"), tmp_path / "trial")
        assert list(tmp_path.iterdir()) == []


def test_a_chain_of_ones_own_is_named(tmp_path: Path) -> None:
    member = trained("mlp")
    config = jaxgen.override(member.config, {"optimizer.chain": optax.lion})
    folder = jaxgen.export(dataclasses.replace(member, config=config), tmp_path / "trial")
    assert "lion" in str(jaxgen.load(folder).config.optimizer.chain)


def test_trials_of_other_vocabularies_are_not_mixed() -> None:
    member = trained("mlp")
    other = Trained(1, member.config, jaxgen.corpus.Vocabulary("xyz"), 3, member.params, member.stats)
    with pytest.raises(UserError, match="one corpus"):
        jaxgen.score([member, other], ["abc"])
