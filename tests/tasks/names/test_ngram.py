"""Counts without a network, by the formulas with dictionaries; as a family, in a run and out of one."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import bytes_of, same
from hypothesis import given
from hypothesis import strategies as st

import jaxgen
from jaxgen import runs
from jaxgen.fields import UserError
from jaxgen.runs import Interrupted
from jaxgen.tasks.names import ngram
from jaxgen.tasks.names.config import SMOOTHINGS, Config
from jaxgen.tasks.names.data import BOUNDARY, Corpus, Vocabulary, Windows, cut, sequences, windows
from jaxgen.tasks.names.material import FOLDS, on_other_names
from jaxgen.tasks.names.models.ngram import NGram, fits, parameters

pytestmark = pytest.mark.usefixtures("compiled_quickly")

VOCABULARY = Vocabulary("abcd")
V = len(VOCABULARY)
SOURCE = np.random.default_rng(0)
NAMES = tuple("".join(SOURCE.choice(list("aaabbcd"), length)) for length in SOURCE.integers(1, 7, 300))
OTHERS = ("abcd", "dddd", "a", "cabbac", "dcba")


def sightings(names: tuple[str, ...], order: int) -> dict[tuple[int, ...], Counter[int]]:
    """What came after each context of `order` ids, of a name behind one boundary."""
    found: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for name in names:
        ids = [BOUNDARY, *VOCABULARY.encode(name), BOUNDARY]
        for place in range(max(order, 1), len(ids)):
            found[tuple(ids[place - order : place])][ids[place]] += 1
    return found


def witten_bell(order: int, names: tuple[str, ...] = NAMES) -> list[dict[tuple[int, ...], tuple[dict[int, float], float]]]:
    """For each length, context -> (share of each character, share left), of Witten and Bell."""
    return [
        {
            h: ({c: n / (seen.total() + len(seen)) for c, n in seen.items()}, len(seen) / (seen.total() + len(seen)))
            for h, seen in sightings(names, length).items()
        }
        for length in range(order + 1)
    ]


def kneser_ney(order: int, names: tuple[str, ...] = NAMES) -> list[dict[tuple[int, ...], tuple[dict[int, float], float]]]:
    """The same of Chen and Goodman's modified Kneser-Ney."""
    tables, found = [sightings(names, length) for length in range(order + 1)], []
    for length, table in enumerate(tables):
        if length < order:  # kinds of characters in front, except where a name begins
            table = {
                h: seen
                if h and h[0] == BOUNDARY
                else Counter({c: sum(c in more for g, more in tables[length + 1].items() if g[1:] == h) for c in seen})
                for h, seen in table.items()
            }
        n = Counter(count for seen in table.values() for count in seen.values())
        y = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.5
        taken = [k - (k + 1) * y * n[k + 1] / n[k] if n[k] else -1 for k in (1, 2, 3)]
        if not all(0 < d < k for k, d in zip((1, 2, 3), taken, strict=True)):
            taken = [y, y, y]
        part = {}
        for h, seen in table.items():
            off = {c: taken[min(count, 3) - 1] for c, count in seen.items()}
            part[h] = {c: (seen[c] - off[c]) / seen.total() for c in seen}, sum(off.values()) / seen.total()
        found.append(part)
    return found


REFERENCES = {"kneser_ney": kneser_ney, "witten_bell": witten_bell}


def chance(parts: list[dict[tuple[int, ...], tuple[dict[int, float], float]]], ids: list[int], target: int) -> float:
    """The probability of an id after others, of tables from `REFERENCES`."""
    found, seen = 1 / V, ids
    while seen[:2] == [BOUNDARY, BOUNDARY]:
        seen = seen[1:]
    for length, part in enumerate(parts[: len(seen) + 1]):
        shares, left = part.get(tuple(seen[len(seen) - length :]), ({}, 1.0))
        found = shares.get(target, 0.0) + left * found
    return found


@pytest.mark.parametrize("order", ngram.ORDERS)
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_probabilities_are_those_of_the_formulas(smoothing: str, order: int) -> None:
    """Of the targets, and of all that could have come in their place."""
    parts = REFERENCES[smoothing](order)
    model = ngram.fit(windows(NAMES, VOCABULARY, max(order, 1)), V, order, smoothing)
    rows = windows((*OTHERS, *NAMES[:50]), VOCABULARY, max(order, 1))
    wanted = [
        [[chance(parts[: length + 1], ids, target) for target in range(V)] for ids in rows.ids.tolist()]
        for length in range(order + 1)
    ]
    np.testing.assert_allclose(list(ngram.distributions(model, rows.ids)), wanted, rtol=1e-12)
    np.testing.assert_allclose(
        ngram.probabilities(model, rows), np.take_along_axis(np.array(wanted[-1]), rows.targets[:, None], 1)[:, 0], rtol=1e-12
    )


@pytest.mark.parametrize("context", [4, 8])
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_a_network_learns_from_counts_of_other_names(smoothing: str, context: int) -> None:
    """At each place that has a target, from tables of the names in the other parts; a context of 4 cuts long names in two."""
    order, names = 3, (*NAMES[:40], "abcdabcdabcd")
    rows = sequences(names, VOCABULARY, context)
    found = on_other_names(rows, names, VOCABULARY, order, smoothing)
    assert found[:2] == rows[:2]
    tables = [REFERENCES[smoothing](order, tuple(n for i, n in enumerate(names) if i % FOLDS != part)) for part in range(FOLDS)]
    every = windows(names, VOCABULARY, order).ids.tolist()
    owners = [number for number, name in enumerate(names) for _ in range(len(name) + 1)]
    for place, length in enumerate((3, 2, 1)):
        parts = [tables[owner % FOLDS][: length + 1] for owner in owners]
        wanted = [[chance(part, ids, c) for c in range(V)] for part, ids in zip(parts, every, strict=True)]
        np.testing.assert_allclose(np.exp(found.said[rows.targets >= 0][:, place]), wanted, rtol=1e-5)
    plain = windows(names, VOCABULARY, context)
    np.testing.assert_array_equal(
        on_other_names(plain, names, VOCABULARY, order, smoothing).said, found.said[rows.targets >= 0]
    )


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@given(names=st.lists(st.text("abcd", min_size=1, max_size=9), min_size=1, max_size=8), order=st.integers(0, 6))
def test_probabilities_sum_to_one_after_any_context(smoothing: str, names: list[str], order: int) -> None:
    model = ngram.fit(windows(tuple(names), VOCABULARY, max(order, 1)), V, order, smoothing)
    contexts = windows((*names, *OTHERS), VOCABULARY, max(order, 1)).ids
    every = Windows(np.repeat(contexts, V, axis=0), np.tile(np.arange(V, dtype=np.int32), len(contexts)))
    found = ngram.probabilities(model, every).reshape(-1, V)
    assert (found > 0).all()
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)


@pytest.mark.parametrize("order", [0, 1, 4, 6])
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_the_family_says_what_the_counts_say(smoothing: str, order: int) -> None:
    """In float32, and for a window that is longer than the longest context."""
    model, wide = ngram.fit(windows(NAMES, VOCABULARY, max(order, 1)), V, order, smoothing), windows(OTHERS, VOCABULARY, 8)
    found = jax.jit(NGram(V).apply)({"params": parameters(model)}, wide.ids)
    np.testing.assert_allclose(
        np.exp(np.take_along_axis(np.asarray(found), wide.targets[:, None], 1)[:, 0]),
        ngram.probabilities(model, wide),
        rtol=1e-5,
    )
    np.testing.assert_allclose(np.exp(found).sum(1), 1, rtol=1e-5)


def test_the_floor_is_the_best_of_all(corpus: Corpus) -> None:
    parts = [windows(corpus.names[a:b], corpus.vocabulary, ngram.ORDERS[-1]) for a, b in ((0, 320), (320, 360), (360, 400))]
    found = ngram.floor(parts[0], parts[1], parts[2], len(corpus.vocabulary))
    losses = {}
    for smoothing, order in itertools.product(SMOOTHINGS, ngram.ORDERS):
        model = ngram.fit(parts[0], len(corpus.vocabulary), order, smoothing)
        losses[smoothing, order] = [-np.log(ngram.probabilities(model, part)).mean() for part in parts[1:]]
    best = min(losses, key=lambda which: losses[which][0])
    assert (found.smoothing, found.order) == best
    np.testing.assert_allclose((found.val_loss, found.test_loss), losses[best])


def test_counts_are_a_family_like_any_other(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """Beside networks, at several seeds; its losses those of the counts; loaded, exported, and sampled from alike."""
    base = jaxgen.override(small, {"train.names": 16})
    sweep = jaxgen.seeds(jaxgen.zipped(base, {"model.family": ["mlp", "ngram", "ngram"], "model.context": [3, 2, 3]}), 2)
    results = runs.run(sweep, corpus, out=tmp_path / "run")
    rows = {row.trial: row for row in results.rows}
    train, validation, test = cut(corpus, "rows", base.data.split_seed)
    for trial in range(2, 6):
        order = 2 if trial < 4 else 3
        model = ngram.fit(windows(train, corpus.vocabulary, order), len(corpus.vocabulary), order)
        for loss, part in (("val_loss", validation), ("test_loss", test)):
            exact = -np.log(ngram.probabilities(model, windows(part, corpus.vocabulary, order))).mean()
            np.testing.assert_allclose(getattr(rows[trial], loss), exact, rtol=1e-12)
        assert (rows[trial].steps, rows[trial].status) == (0, "completed")
        assert rows[trial].params == sum(len(x) for part in model.orders for x in (part.share, part.left))
    assert results.programs == 1  # counting compiles none
    loaded, kept = jaxgen.load(tmp_path / "run", 4), results.trained(4)
    assert fits(loaded.params, 3, len(corpus.vocabulary))
    exported = jaxgen.load(jaxgen.export(loaded, tmp_path / "trial"))
    assert jaxgen.sample(kept, 4) == jaxgen.sample(loaded, 4) == jaxgen.sample(exported, 4)


def test_a_run_with_counts_goes_on_to_the_same_bytes(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """Stopped after each of its segments."""
    sweep = jaxgen.grid(jaxgen.override(small, {"train.names": 8}), {"model.family": ["ngram", "mlp"], "seed": range(2)})
    runs.run(sweep, corpus, out=tmp_path / "whole")
    for _ in range(10):
        try:
            runs.run(sweep, corpus, out=tmp_path / "parts", resume=True, stop=lambda: True)
        except Interrupted:
            continue
        break
    assert same(bytes_of(tmp_path / "whole"), bytes_of(tmp_path / "parts"))


def test_counts_of_another_order_are_refused(corpus: Corpus) -> None:
    found = parameters(ngram.fit(windows(NAMES, VOCABULARY, 2), V, 2))
    assert fits(found, 2, V)
    assert not fits(found, 3, V)
    assert not fits(found, 2, V - 1)
    assert not fits({**found, "order_1": {**found["order_1"], "left": found["order_1"]["left"][1:]}}, 2, V)
    with pytest.raises(UserError, match="expected a value"):
        runs.run([jaxgen.override(Config(), {"model.family": "ngram", "model.context": 99})], corpus)
