"""What losses are worth beside counting, and names beside those of the corpus."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_families import VOCABULARY, T, apply, network

import jaxgen
from jaxgen import runs
from jaxgen.judge.results import Results, Row, Trained
from jaxgen.tasks.names import generate, ngram
from jaxgen.tasks.names.config import FAMILIES, Config
from jaxgen.tasks.names.data import Corpus, cut, windows
from jaxgen.tasks.names.generate import draw
from jaxgen.tasks.names.quality import LONGEST, MEASURES, Reference, divergence
from jaxgen.tasks.names.standing import standings
from jaxgen.tasks.names.task import Names

pytestmark = pytest.mark.usefixtures("compiled_quickly")

BASE = Config()
TWICE = Corpus(("anna", "bob", "cara", "dora") * 10, "names.txt", None, "")
ONCE = Corpus(tuple(f"{a}{b}" for a in "abcdef" for b in "ghijkl"), "names.txt", None, "")


def results(*trials: tuple[Mapping[str, Any], float, str]) -> Results:
    """Trials of these values, validation losses and statuses."""
    found = Results(jaxgen.Sweep(BASE, tuple(values for values, _, _ in trials)))
    for trial, (_, loss, status) in enumerate(trials):
        found.rows.append(
            Row(trial, status, 0, {}, 10, 5, 5, dict.fromkeys(("train_loss", "val_loss", "test_loss"), loss), loss)
        )
    return found


def test_the_best_network_is_held_against_the_best_counts_of_its_split() -> None:
    train, val, test = (windows(part, TWICE.vocabulary, ngram.ORDERS[-1]) for part in cut(TWICE, "rows", 42))
    floor = ngram.floor(train, val, test, len(TWICE.vocabulary))
    low = floor.val_loss
    found = standings(
        results(
            ({}, low - 0.25, "diverged"),
            ({"model.family": "ngram"}, low - 0.5, "completed"),
            ({"seed": 1}, low - 0.125, "completed"),
            ({"seed": 2}, math.nan, "completed"),
        ),
        TWICE,
    )[0]
    assert (found.split, found.floor) == ("rows", floor)
    assert found.best is not None
    assert found.best.trial == 2
    assert found.lead == pytest.approx(0.125)
    assert "trial 2, is 0.1250 below it" in str(found)
    (worse,) = [one for one in standings(results(({}, low + 0.5, "completed")), TWICE) if one.best]
    assert "no network beats it: the best, trial 0, is 0.5000 above it" in str(worse)


def test_both_splits_are_told_where_names_repeat() -> None:
    corpus = Corpus(ONCE.names + ONCE.names[:20], "names.txt", None, "")
    _, validation, _ = cut(corpus, "rows", 42)
    first, second = standings(results(({}, 1.0, "completed")), corpus)
    assert (first.split, first.names) == ("rows", len(validation))
    assert (second.split, second.names, second.repeated, second.best) == ("names", 4, 0, None)
    assert "no network was trained on this split" in str(second)
    gone, _ = standings(results(({}, 1.0, "diverged")), corpus)
    assert "every network diverged" in str(gone)
    two = results(({}, 1.0, "diverged"), ({"seed": 1}, 1.0, "completed"))
    some, none = (standings(replace(two, rows=two.rows[:count]), corpus)[0] for count in (1, 0))
    assert "; every network that has ended (1 of 2) diverged; " in str(some)
    assert "; no network has ended yet; " in str(none)  # of a run that was stopped, nothing has diverged
    (alone,) = standings(results(({}, 1.0, "completed")), TWICE)  # four different names are too few to cut
    assert alone.repeated == alone.names


def test_one_split_is_told_where_none_repeats() -> None:
    (found,) = standings(results(({}, 1.0, "completed")), ONCE)
    assert (found.repeated, found.split) == (0, "rows")
    assert "0 of 4 validation names" in str(found)


def test_splits_that_vary_are_told_apart() -> None:
    corpus = Corpus(ONCE.names + ONCE.names[:20], "names.txt", None, "")
    found = standings(results(({"data.split": "rows"}, 1.0, "completed"), ({"data.split": "names"}, 1.5, "completed")), corpus)
    assert [(one.split, one.best.trial if one.best else None) for one in found] == [("rows", 0), ("names", 1)]
    train, validation, _ = cut(corpus, "rows", 42)
    assert found[0].repeated == sum(name in train for name in validation) > 0
    assert found[1].repeated == 0


def test_splits_by_other_seeds_are_told_apart() -> None:
    found = standings(results(*(({"data.split_seed": seed}, 1.0, "completed") for seed in (1, 2))), ONCE)
    assert [one.split for one in found] == ["rows, split_seed 1", "rows, split_seed 2"]
    (held,) = standings(results(({"data.dev": 50}, 1.0, "completed")), ONCE)
    assert held.split == "rows"
    assert held.floor.val_loss > standings(results(({}, 1.0, "completed")), ONCE)[0].floor.val_loss  # of half as many names


def distance(a: str, b: str) -> int:
    """Levenshtein's, by his recurrence."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


@given(
    names=st.lists(st.text("abcé", min_size=1, max_size=6), min_size=1, max_size=12),
    corpus=st.lists(st.text("abcé", min_size=1, max_size=6), min_size=1, max_size=12),
)
def test_measures_are_those_of_the_formulas(names: list[str], corpus: list[str]) -> None:
    found = Reference(tuple(corpus)).measure(names)
    assert list(found) == list(MEASURES)
    assert found["novelty"] == np.mean([name not in corpus for name in names])
    assert found["uniqueness"] == len({*names}) / len(names)
    np.testing.assert_allclose(found["distance"], np.mean([min(distance(a, b) for b in corpus) for a in names]))
    shapes = {
        "length_divergence": lambda some: Counter(map(len, some)),
        "bigram_divergence": lambda some: Counter(pair for n in some for pair in zip(f"^{n}", f"{n}$", strict=True)),
    }
    for name, shape in shapes.items():
        p, q = shape(names), shape(corpus)
        total = 0.0
        for one in (p, q):
            for kind, count in one.items():
                mean = (p[kind] / p.total() + q[kind] / q.total()) / 2
                total += count / one.total() * math.log(count / one.total() / mean) / 2
        np.testing.assert_allclose(found[name], total, atol=1e-7)


def test_a_name_is_looked_at_as_far_as_it_is_drawn() -> None:
    long = "a" * (LONGEST + 10)
    found = Reference((long, "b")).measure([long[:LONGEST]])
    assert (found["novelty"], found["distance"]) == (0, 0)


def test_names_of_the_corpus_are_near_to_it_as_they_become_many(corpus: Corpus) -> None:
    few, many = (Reference(corpus.names).itself(count) for count in (20, 2000))
    assert set(few) == {"length_divergence", "bigram_divergence"}
    assert all(many[name] < few[name] / 5 for name in few)
    assert Reference(corpus.names).itself(0) == {}
    assert divergence(Counter("aab"), Counter("cd")) == pytest.approx(math.log(2))


@pytest.mark.parametrize("family", [pytest.param(f, marks=[pytest.mark.long] * (f != "mlp")) for f in FAMILIES])
def test_every_trial_draws_for_itself(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial's names are those that it draws alone, and follow its probabilities."""
    monkeypatch.setattr(generate, "DRAWS", 3)  # seats of a program, of which side by side each takes its time
    config, params, stats = network(family)
    other = jax.tree.map(lambda p: p if np.issubdtype(p.dtype, np.integer) else p[::-1].copy(), jax.device_get(params))
    states = [(params, stats), (other, stats), (params, stats)]
    found = draw(config, VOCABULARY, jax.device_get(states), 2000, T)
    alone = draw(config, VOCABULARY, jax.device_get(states[1:2]), 2000, T)
    assert draw(config, VOCABULARY, jax.device_get(states), 2000, T, abreast=True) == found  # as on an accelerator
    assert found[0] == found[2]
    assert found[1] == alone[0]
    for (params, stats), names in zip(states, found[:2], strict=False):
        member = Trained(0, dataclasses.replace(Config(), model=config), Names(None, None, VOCABULARY, 9), params, stats)
        letters = list(VOCABULARY.characters)
        longer = jaxgen.score(member, letters)  # with the end; the share of those that end at once among all is what we see
        seen = np.array([names.count(letter) for letter in letters]) / len(names)
        empty = 1 - np.exp(-jaxgen.score(member, [""]))  # names are not empty
        wanted = np.exp(-longer) / empty
        assert (np.abs(seen - wanted) <= 4.5 * np.sqrt(wanted * (1 - wanted) / len(names)) + 1 / len(names)).all()
        begun = np.array([sum(name[0] == letter for name in names) for letter in letters]) / len(names)
        first = np.asarray(jax.jit(apply(config, params, stats))(np.zeros((1, T), np.int32))[0], np.float64)[1:]
        wanted = np.exp(first - np.logaddexp.reduce(first))
        assert (np.abs(begun - wanted) <= 4.5 * np.sqrt(wanted * (1 - wanted) / len(names)) + 1 / len(names)).all()


def test_the_results_say_how_good_names_are(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    sweep = jaxgen.grid(jaxgen.override(small, {"train.names": 16}), {"optimizer.learning_rate": [1e-3, 1e-2]})
    found = runs.run(sweep, corpus, out=tmp_path / "run")
    longest = max(map(len, corpus.names))
    for row in found.rows:
        trained = found.trained(row.trial)
        (names,) = draw(trained.config.model, corpus.vocabulary, [(trained.params, trained.stats)], 16, longest)
        assert row.measured == Reference(corpus.names).measure(names)
    head, *_ = (tmp_path / "run" / "results.csv").read_text().splitlines()
    assert head.endswith(",test_loss," + ",".join(MEASURES))
    again = jaxgen.load_results(tmp_path / "run")
    assert [row.measured for row in again.rows] == [row.measured for row in found.rows]
    assert again.leaderboard()[0].measured() == min(found.rows, key=lambda row: row.val_loss).measured
