from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import losses_of
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxgen
from jaxgen import runs
from jaxgen.fields import UserError
from jaxgen.judge.results import Results, Trained
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus
from jaxgen.tasks.names.generate import choose, labels, novelty
from jaxgen.tasks.names.loss import next_character

pytestmark = pytest.mark.usefixtures("compiled_quickly")


@pytest.fixture(scope="module")
def results(small: Config, corpus: Corpus) -> Results:
    base = jaxgen.override(small, {"train.steps": 300, "train.eval_every": 100})
    return runs.run(jaxgen.grid(base, {"optimizer.learning_rate": [1e-3, 1e-2], "seed": range(2)}), corpus)


@pytest.fixture(scope="module")
def best(results: Results) -> Trained:
    return results.best()


def reference(logits: list[float], temperature: float, top_k: int, top_p: float) -> np.ndarray:
    """The probabilities after temperature, top-k and top-p, one step after the other, in float64."""
    scaled = np.array(logits, np.float64) / temperature
    p = np.exp(scaled - scaled.max())
    order = sorted(range(len(p)), key=lambda i: (-scaled[i], i))
    kept = order[:top_k]
    total, reached, nucleus = sum(p[i] for i in kept), 0.0, []
    for i in kept:
        if reached < top_p or top_p >= 1:
            nucleus.append(i)
        reached += p[i] / total
    out = np.zeros(len(p))
    out[nucleus] = p[nucleus] / p[nucleus].sum()
    return out


LOGITS = [0.3, 2.0, -1.0, 1.2, 0.0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [1, 2, 5])
@pytest.mark.parametrize("top_p", [0.3, 0.75, 1.0])
def test_choose_draws_from_the_reference(temperature: float, top_k: int, top_p: float) -> None:
    draws = 20_000
    logits = jnp.tile(jnp.asarray(LOGITS), (draws, 1))
    ids = choose(logits, jnp.asarray(temperature), top_k, jnp.asarray(top_p), jax.random.key(0))
    found = np.bincount(ids, minlength=5) / draws
    wanted = reference(LOGITS, temperature, top_k, top_p)
    assert set(np.flatnonzero(found)) <= set(np.flatnonzero(wanted))
    np.testing.assert_allclose(found, wanted, atol=4 * np.sqrt(0.25 / draws))  # four standard errors


def test_temperature_zero_takes_the_likeliest() -> None:
    ids = choose(jnp.tile(jnp.asarray(LOGITS), (50, 1)), jnp.asarray(0.0), 5, jnp.asarray(1.0), jax.random.key(0))
    assert set(np.asarray(ids).tolist()) == {1}


def test_the_same_seed_gives_the_same_names(best: Trained) -> None:
    names = jaxgen.sample(best, count=30, temperature=0.8)
    assert names == jaxgen.sample(best, count=30, temperature=0.8)
    assert names != jaxgen.sample(best, count=30, temperature=0.8, seed=1)
    assert len(names) == 30
    assert all(names)  # none is empty


@settings(max_examples=10, deadline=None)
@given(st.text("abcdefghijklmnopqrstuvwxyz", max_size=6), st.integers(0, 9))
def test_every_name_starts_with_the_prefix(best: Trained, prefix: str, seed: int) -> None:
    assert all(name.startswith(prefix) for name in jaxgen.sample(best, 5, prefix=prefix, seed=seed))


def test_names_of_a_kind_are_drawn_until_there_are_enough(best: Trained, corpus: Corpus) -> None:
    drawn = jaxgen.sample(best, 40, max_length=3)
    once = jaxgen.sample(best, 40, max_length=3, unique=True)
    assert len(set(drawn)) < 40 == len(set(once))
    different = list(dict.fromkeys(drawn))
    assert once[: len(different)] == different
    new = jaxgen.sample(best, 40, without=once)
    assert len(new) == 40
    assert not {*new} & {*once}


def test_there_are_fewer_names_where_there_are_no_more(best: Trained) -> None:
    assert len(jaxgen.sample(best, 5, temperature=0.0, unique=True)) == 1
    assert jaxgen.sample(best, 5, temperature=0.0, without=jaxgen.sample(best, 1, temperature=0.0)) == []


def test_names_are_cut_at_the_longest_length(best: Trained) -> None:
    assert all(len(name) <= 4 for name in jaxgen.sample(best, 20, max_length=4))
    assert jaxgen.sample(best, 2, prefix="maria", max_length=3) == ["maria", "maria"]
    assert jaxgen.sample(best, 0) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"count": -1},
        {"seed": -1},
        {"prefix": "ma!"},
        {"max_length": 0},
    ],
)
def test_wrong_values_are_refused(best: Trained, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"expected|corpus"):
        jaxgen.sample(best, **wrong)


def test_greedy_names_are_those_of_a_plain_loop(best: Trained) -> None:
    vocabulary = best.task.vocabulary
    task, ids = next_character(len(vocabulary)), [0] * best.config.model.context
    name = ""
    while True:
        losses = [
            float(losses_of(task, best.config, best.params, best.stats, Rows(jnp.asarray([ids]), jnp.asarray([i])))[0])
            for i in range(len(vocabulary))
        ]
        if not name:
            losses[0] = np.inf  # no name is empty
        chosen = int(np.argmin(losses))
        if chosen == 0 or len(name) == 2 * best.task.longest:
            break
        name += vocabulary.characters[chosen - 1]
        ids = [*ids[1:], chosen]
    assert jaxgen.sample(best, 2, temperature=0.0) == [name, name]


@dataclasses.dataclass
class Rows:
    ids: jax.Array
    targets: jax.Array


def test_labels_and_counts(corpus: Corpus) -> None:
    names = ["zzyzx", corpus.names[0], "zzyzx", corpus.names[0], "qqq"]
    assert labels(names, corpus) == ["new", "corpus", "repeated", "repeated", "new"]
    assert str(novelty(names, corpus)) == "2 new, 2 repeated, 1 in the corpus"


def test_the_leaderboard_while_it_runs_has_the_running_trials_at_their_best(results: Results) -> None:
    halfway = Results(results.sweep, results.rows[:1], results.curves)
    ended = results.rows[0]
    assert [row.trial for arm in halfway.leaderboard() for row in arm.rows] == [ended.trial]
    rows = {row.trial: row for arm in halfway.leaderboard(running=True) for row in arm.rows}
    assert rows.pop(ended.trial) == ended
    assert sorted(rows) == sorted(row.trial for row in results.rows[1:])
    for trial, row in rows.items():
        assert row.status == "running"
        assert row.val_loss == min(curve.val_loss for curve in results.curves if curve.trial == trial)
        assert (row.seed, row.values) == next((r.seed, r.values) for r in results.rows if r.trial == trial)


def test_the_best_trial_has_the_lowest_validation_loss(results: Results, best: Trained) -> None:
    lowest = min(results.rows, key=lambda row: row.val_loss)
    assert best.trial == lowest.trial
    arms = results.leaderboard()
    rates = {arm.values["optimizer.learning_rate"]: arm for arm in arms}
    for rate, arm in rates.items():
        losses = [row.val_loss for row in results.rows if row.values["optimizer.learning_rate"] == rate]
        np.testing.assert_allclose(arm.mean("val_loss"), np.mean(losses), rtol=1e-12)
        np.testing.assert_allclose(arm.spread("val_loss"), np.std(losses, ddof=1), rtol=1e-12)
    assert [arm.mean("val_loss") for arm in arms] == sorted(arm.mean("val_loss") for arm in arms)
