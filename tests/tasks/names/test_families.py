"""Every family of models: parameter counts, formulas in float64, what it may see, and what it remembers."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import float64, loss_of, losses_of, only
from families import REFERENCES, SOME
from hypothesis import given
from hypothesis import strategies as st
from reference import EPS

import jaxgen
from jaxgen.config import validate
from jaxgen.fields import UserError, override
from jaxgen.judge.results import Trained
from jaxgen.tasks.names import models, ngram
from jaxgen.tasks.names.config import FAMILIES, NORMALIZATIONS, Config, ModelConfig
from jaxgen.tasks.names.data import BOUNDARY, Vocabulary, sequences, windows
from jaxgen.tasks.names.loss import next_character
from jaxgen.tasks.names.models.ngram import parameters
from jaxgen.tasks.names.task import Names

SEQUENCES = [name for name, family in models.FAMILIES.items() if family.sequences]
VOCABULARY = Vocabulary("abcdefg")
V, T = len(VOCABULARY), 8
SHORT = ("abc", "gfedcba", "a", "cabbage")  # fit a window
LONG = ("abcdefgfedcba", *SHORT)  # do not


@functools.cache
def network(family: str, **values: Any) -> tuple[ModelConfig, Any, Any]:
    """A small network away from its start, where all is random; its config, parameters and statistics."""
    small = {"family": family, "context": T, "embedding": 6, "hidden": 12, "depth": 4, "heads": 3, **values}
    config = override(Config(), {f"model.{key}": value for key, value in small.items()})
    if family == "ngram":
        return config.model, parameters(ngram.fit(windows(LONG, VOCABULARY, T), V, T)), {}
    params, stats = jax.jit(next_character(V).init, static_argnums=0)(config, jax.random.key(1))
    source = np.random.default_rng(0)
    params = jax.tree.map(lambda p: p + 0.3 * source.normal(size=p.shape).astype(np.float32), params)
    return config.model, params, jax.tree.map(lambda s: s + 0.5 * source.random(s.shape).astype(np.float32), stats)


def apply(config: ModelConfig, params: Any, stats: Any) -> Any:
    """The module on ids (B, T), with the options of a family of sequences."""
    module = models.build(config, V)
    return lambda ids, **how: module.apply({"params": params, "batch_stats": stats}, jnp.asarray(ids), **how)


def size(vocabulary: int, **values: Any) -> int:
    config = override(Config(), {f"model.{key}": value for key, value in values.items()})
    params, _ = jax.eval_shape(lambda: next_character(vocabulary).init(config, jax.random.key(0)))
    return sum(int(np.prod(p.shape)) for p in jax.tree.leaves(params))


MAKEMORE = {"context": 16, "embedding": 64, "hidden": 64, "depth": 4, "heads": 4}
LECTURES = {"context": 8, "embedding": 24, "hidden": 128}


@pytest.mark.parametrize(
    ("family", "count", "sizes"),
    [
        ("bigram", 729, MAKEMORE),
        ("rnn", 11_803, MAKEMORE),
        ("gru", 28_315, MAKEMORE),
        ("lstm", 2 * 64 + 27 * 64 + 4 * (128 * 64 + 64) + 64 * 27 + 27, MAKEMORE),
        ("bow", 12_827, MAKEMORE),
        ("transformer", 204_544, MAKEMORE),
        ("wavenet", 76_579, LECTURES),
    ],
)
def test_parameters_are_those_of_makemore_and_the_lectures(family: str, count: int, sizes: dict[str, int]) -> None:
    assert size(27, family=family, **sizes) == count


def test_every_family_is_known_and_has_a_reference() -> None:
    assert tuple(models.FAMILIES) == FAMILIES
    assert {*REFERENCES, "mlp", "ngram"} == set(FAMILIES)  # of these test_models.py and test_ngram.py have one


CASES = [(family, {}) for family in REFERENCES]
CASES += [("wavenet", {"normalization": kind}) for kind in NORMALIZATIONS]
CASES += [(family, {"activation": "gelu"}) for family in ("transformer", "bow", "rnn")]


@pytest.mark.parametrize(("family", "values"), CASES, ids=str)
def test_logits_are_those_of_the_formulas(family: str, values: dict[str, Any]) -> None:
    config, params, stats = network(family, **values)
    found = jax.jit(apply(config, params, stats))(windows(LONG, VOCABULARY, T).ids)
    streams = [[BOUNDARY, *VOCABULARY.encode(name)[:length]][-T:] for name in LONG for length in range(len(name) + 1)]
    if family == "wavenet":
        streams = [[BOUNDARY] * (T - len(ids)) + ids for ids in streams]
    exact = float64(params), float64(stats)
    wanted = [REFERENCES[family](*exact, config, ids) for ids in streams]
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("family", SEQUENCES)
def test_no_place_sees_what_comes_after_it(family: str) -> None:
    """Each character of the row is another one, so that its embedding's gradient is that of its place."""
    config, params, stats = network(family)
    ids = jnp.asarray([[BOUNDARY, *range(1, T)]])
    table = "output" if family == "bigram" else "embedding"

    def logits(embeddings: jax.Array) -> jax.Array:
        changed = {**params, table: {**params[table], "embedding": embeddings}}
        return apply(config, changed, stats)(ids, every=True)[0].sum(-1)  # (T,)

    slopes = jax.jit(jax.jacobian(logits))(params[table]["embedding"])[:, ids[0]]  # (T, T, E)
    seen = np.abs(slopes).sum(-1) > 0
    assert not np.triu(seen, 1).any()
    reach = np.eye(T, dtype=bool) if family == "bigram" else np.tri(T, dtype=bool)
    np.testing.assert_array_equal(seen, reach)


@pytest.mark.parametrize("family", SEQUENCES)
def test_every_place_of_a_window_says_what_a_window_that_ends_there_says(family: str) -> None:
    model = jax.jit(apply(*network(family)), static_argnames="every")
    whole, single = sequences(SHORT, VOCABULARY, T), windows(SHORT, VOCABULARY, T)
    found = model(whole.ids, every=True)[whole.targets >= 0]
    np.testing.assert_array_equal(whole.targets[whole.targets >= 0], single.targets)
    np.testing.assert_allclose(found, model(single.ids), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", SEQUENCES)
def test_every_place_of_a_window_in_the_middle_of_a_name_is_that_of_the_formulas(family: str) -> None:
    config, params, stats = network(family)
    rows = sequences(LONG[:1], VOCABULARY, T)
    found = np.asarray(jax.jit(apply(config, params, stats), static_argnames="every")(rows.ids, every=True))
    exact, middle = (float64(params), float64(stats)), [place for place, ids in enumerate(rows.ids) if ids[0] != BOUNDARY]
    assert middle
    for row in middle:
        wanted = [REFERENCES[family](*exact, config, rows.ids[row, : place + 1].tolist()) for place in range(T)]
        np.testing.assert_allclose(found[row], wanted, rtol=2e-4, atol=2e-5)


def test_wavenet_normalizes_over_the_batch_and_all_places_of_a_level() -> None:
    """All axes but the channels'; and so its running statistics are kept."""
    config, params, stats = network("wavenet", normalization="batchnorm", batch_momentum=0.8)
    ids, regularizer = windows(LONG, VOCABULARY, T).ids, only(override(Config(), {})).regularizer
    module = models.build(config, V)
    variables, key = {"params": params, "batch_stats": stats}, {"noise": jax.random.key(0)}

    @jax.jit
    def trained(variables: Any) -> Any:
        return module.apply(variables, ids, regularizer, rngs=key, mutable=["batch_stats", "intermediates"])

    found, changed = trained(variables)
    exact, kept = float64(params), float64(stats)
    x, level = exact["embedding"]["embedding"][ids], 0
    while x.shape[1] > 1:
        name, x = f"hidden_{level}", np.concatenate([x[:, ::2], x[:, 1::2]], axis=-1)
        x = x @ exact[name]["linear"]["kernel"]
        mean, var = x.mean((0, 1)), x.var((0, 1))
        for what, value in (("mean", mean), ("var", var)):
            wanted = 0.8 * kept[name]["norm"][what] + 0.2 * value
            np.testing.assert_allclose(changed["batch_stats"][name]["norm"][what], wanted, rtol=1e-4, atol=1e-5)
        norm = exact[name]["norm"]
        x, level = np.tanh((x - mean) / np.sqrt(var + EPS) * norm["scale"] + norm["bias"]), level + 1
    wanted = x[:, 0] @ exact["output"]["linear"]["kernel"] + exact["output"]["linear"]["bias"]
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)


DEEP = ("mlp", "wavenet", "dilated", "transformer")


@pytest.mark.parametrize("key", ["dropout", "dropout_last"])
@pytest.mark.parametrize("family", sorted({*FAMILIES} - {"ngram", "bigram"}))
def test_dropout_reaches_every_family(family: str, key: str) -> None:
    """`dropout_last` those of more than one layer."""
    model, params, stats = network(family)
    whole = models.FAMILIES[family].sequences
    batch = jax.tree.map(jnp.asarray, (sequences if whole else windows)(SHORT, VOCABULARY, T))

    @jax.jit
    def loss(rate: float) -> jax.Array:
        config = only(dataclasses.replace(Config(), model=model), **{key: rate})
        return loss_of(next_character(V), config, params, stats, batch)[0]

    assert (loss(0.5) != loss(0.0)) == (key == "dropout" or family in DEEP)


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("family", ["mlp", "dilated", "transformer"])
def test_a_network_may_be_of_one_layer_or_none(family: str, depth: int) -> None:
    config, params, stats = network(family, depth=depth)
    logits = jax.jit(apply(config, params, stats))(windows(SHORT, VOCABULARY, T).ids)
    assert logits.shape[1] == V
    assert np.isfinite(logits).all()
    assert len([name for name in params if name.startswith("hidden_")]) == depth


@pytest.mark.parametrize("family", ["bow", "rnn", "transformer"])
def test_activity_is_of_the_places_of_a_name_alone(family: str) -> None:
    """As of rows that are no longer than their names: what stands before a name makes no difference."""
    config = only(
        override(Config(), {f"model.{k}": v for k, v in dataclasses.asdict(network(family)[0]).items()}), activity=0.5
    )
    _, params, stats = network(family)
    task = next_character(V)

    @functools.partial(jax.jit, static_argnums=0)
    def loss(context: int, activity: float) -> jax.Array:
        batch = jax.tree.map(jnp.asarray, sequences(("abc",), VOCABULARY, context))
        wanted = dataclasses.replace(config, regularizer=dataclasses.replace(config.regularizer, activity=activity))
        return loss_of(task, wanted, params, stats, batch)[0]

    penalties = [loss(context, 0.5) - loss(context, 0.0) for context in (len("abc") + 1, T)]
    assert penalties[0] > 0.01
    np.testing.assert_allclose(*penalties, rtol=1e-4)


@pytest.mark.parametrize("family", SEQUENCES)
def test_one_id_after_the_other_is_all_of_them_at_once(family: str) -> None:
    """With the cache of a name that came before, and of another in the batch."""
    config, params, stats = network(family)
    model = apply(config, params, stats)
    step, cache, whole = jax.jit(lambda ids, cache: model(ids, cache=cache)), models.build(config, V).empty(2), jax.jit(model)
    for pair in itertools.pairwise([*SHORT, SHORT[0]]):
        length = min(map(len, pair))
        streams = np.array([[BOUNDARY, *VOCABULARY.encode(name)[:length]] for name in pair])
        for place in range(length + 1):
            logits, cache = step(streams[:, place : place + 1], cache)
            padded = np.pad(streams[:, : place + 1], ((0, 0), (T - place - 1, 0)))
            np.testing.assert_allclose(logits, whole(padded), rtol=1e-4, atol=1e-5)


def likeliest(members: list[Trained], most: int) -> str:
    """A name by a plain loop over windows, always the likeliest character of the mean of the members' probabilities."""
    ids, name = [BOUNDARY] * T, ""
    models = [jax.jit(apply(m.config.model, m.params, m.stats)) for m in members]
    while len(name) < most:
        chances = sum(jax.nn.softmax(model(np.array([ids]))[0]) for model in models)
        chosen = int(np.argmax(np.asarray(chances)[1 if not name else 0 :])) + (not name)  # no name is empty
        if chosen == BOUNDARY:
            break
        name += VOCABULARY.characters[chosen - 1]
        ids = [*ids[1:], chosen]
    return name


def trained(family: str) -> Trained:
    model, params, stats = network(family)
    return Trained(0, dataclasses.replace(Config(), model=model), Names(None, None, VOCABULARY, 10), params, stats)


@pytest.mark.parametrize("family", SOME)
def test_names_grow_as_a_plain_loop_makes_them(family: str) -> None:
    """Beyond the context too, and from a prefix."""
    member = trained(family)
    name = likeliest([member], 2 * T)
    assert jaxgen.sample(member, 2, temperature=0.0, max_length=2 * T) == [name, name]
    assert jaxgen.sample(member, 1, temperature=0.0, max_length=2 * T, prefix=name[:2]) == [name]


def test_a_mixture_is_the_mean_of_probabilities() -> None:
    members = [trained(family) for family in ("gru", "mlp", "transformer")]
    assert jaxgen.sample(members, 1, temperature=0.0, max_length=T) == [likeliest(members, T)]
    other = dataclasses.replace(members[0], task=Names(None, None, Vocabulary("xyz"), 10))
    with pytest.raises(UserError, match="one corpus"):
        jaxgen.sample([members[0], other])


@given(st.lists(st.text("abcdefg", max_size=30), min_size=1, max_size=5), st.integers(1, 12))
def test_every_character_is_a_target_once(names: list[str], context: int) -> None:
    found = sequences(tuple(names), VOCABULARY, context)
    streams = [[BOUNDARY, *VOCABULARY.encode(name), BOUNDARY] for name in names]
    assert sorted(found.targets[found.targets >= 0]) == sorted(i for stream in streams for i in stream[1:])
    wanted = iter(stream[: place + 2] for stream in streams for place in range(len(stream) - 1))
    for ids, targets in zip(found.ids, found.targets, strict=True):
        for place in np.flatnonzero(targets >= 0):
            *before, target = next(wanted)
            known = min(len(before), place + 1)
            assert targets[place] == target
            assert list(ids[place + 1 - known : place + 1]) == before[-known:]
            assert len(before) <= place + 1 or place + 1 >= max(context // 2, 1)  # what came before, or half a window of it


def test_the_loss_of_a_window_of_many_targets_is_their_mean() -> None:
    config = only(override(Config(), {"model.family": "gru", "model.context": T, "model.hidden": 12, "model.embedding": 6}))
    task, (_, params, stats) = next_character(V), network("gru")
    whole, single = sequences(SHORT, VOCABULARY, T), windows(SHORT, VOCABULARY, T)
    losses = losses_of(task, config, params, stats, single)
    found, _ = loss_of(task, config, params, stats, jax.tree.map(jnp.asarray, whole))
    np.testing.assert_allclose(found, np.mean(losses), rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"model.family": "wavenet", "model.context": 6}, "power of two"),
        ({"model.family": "wavenet", "model.context": 1}, "power of two"),
        ({"model.family": "transformer", "model.hidden": 10, "model.heads": 4}, "multiple of model.heads"),
        ({"model.context": 0}, "only an ngram"),
        ({"model.family": "ngram", "model.context": 17}, "for an ngram"),
        ({"model.family": "ngram", "train.pretrain": 5}, "not trained"),
        ({"model.family": "lstm", "regularizer.activity": 0.1}, "no part of lstm"),
    ],
)
def test_sizes_that_a_family_cannot_have_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        validate(override(Config(), values))
