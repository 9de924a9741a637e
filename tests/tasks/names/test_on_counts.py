"""Networks that stand on counts: by the formula, beside the counts alone, in a run and out of one."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy
import saved
from conftest import bytes_of, losses_of, same, same_bits
from families import SOME

import jaxgen
from jaxgen import runs
from jaxgen.fields import UserError, override
from jaxgen.runs import Interrupted
from jaxgen.storage.portable import WEIGHTS
from jaxgen.tasks.names import models, ngram
from jaxgen.tasks.names.config import FAMILIES, Config, RegularizerConfig
from jaxgen.tasks.names.data import BOUNDARY, Corpus, Vocabulary, Windows, cut, windows
from jaxgen.tasks.names.generate import opened, told
from jaxgen.tasks.names.loss import next_character
from jaxgen.tasks.names.material import told as with_counts
from jaxgen.tasks.names.models.ngram import parameters
from jaxgen.tasks.names.models.on_counts import COUNTS, READER, Reader
from jaxgen.tasks.names.scores import surprise

pytestmark = pytest.mark.usefixtures("compiled_quickly")

VOCABULARY = Vocabulary("abcd")
V, T, ORDER = len(VOCABULARY), 8, 3
SOURCE = np.random.default_rng(0)
NAMES = tuple("".join(SOURCE.choice(list("aaabbcd"), length)) for length in SOURCE.integers(1, 7, 200))
COUNTED = ngram.fit(windows(NAMES, VOCABULARY, ORDER), V, ORDER)
NETWORKS, SOME_NETWORKS = ([family for family in families if family != "ngram"] for families in (FAMILIES, SOME))
SMALL = {"model.context": T, "model.embedding": 5, "model.hidden": 8, "model.depth": 2, "model.counts": ORDER}


def network(family: str, **values: Any) -> tuple[Config, Any, Any]:
    """A small network of a family, away from its start, with its parameters and statistics."""
    config = override(Config(), {**SMALL, "model.family": family, **values})
    params, stats = jax.jit(next_character(V).init, static_argnums=0)(config, jax.random.key(0))
    source = np.random.default_rng(1)
    if not values:
        params = jax.tree.map(lambda p: p + 0.3 * source.normal(size=p.shape).astype(np.float32), params)
    return config, params, stats


@pytest.mark.parametrize("family", NETWORKS)
def test_a_network_that_says_nothing_says_what_the_counts_say(family: str) -> None:
    """At its start, whatever its reader's hidden units are."""
    config, params, stats = network(family, **{"model.init": "zero"})
    hidden = jax.tree.map(lambda p: p + 0.5, params[READER]["hidden"])
    params = {**params, READER: {**params[READER], "hidden": hidden}}
    rows = with_counts(windows(NAMES[:20], VOCABULARY, T), COUNTED)
    found = jax.jit(functools.partial(losses_of, next_character(V), config))(params, stats, rows)
    np.testing.assert_allclose(found, -np.log(ngram.probabilities(COUNTED, Windows(*rows[:2]))), rtol=1e-4, atol=1e-5)


def read(reader: Any, outputs: Any, by_length: list[Any]) -> Any:
    """The logits, in float64, from a network's outputs and the probabilities by contexts of 0 to 3 characters."""
    reader = jax.tree.map(lambda p: np.asarray(p, np.float64), reader)
    q = [by_length[3], by_length[2], by_length[1]]
    sure = [np.stack([-(p * np.log(p)).sum(1) for p in q], 1), np.stack([p.max(1) for p in q], 1)]
    x = np.concatenate([outputs, *q, *sure], 1)
    z = np.maximum(x @ reader["hidden"]["kernel"] + reader["hidden"]["bias"], 0)
    weights = z @ reader["weights"]["kernel"] + reader["weights"]["bias"] + np.array([1, 0, 0])
    more = z @ reader["output"]["kernel"] + reader["output"]["bias"]
    return outputs + more + sum(weights[:, k, None] * np.log(p) for k, p in enumerate(q))


@pytest.mark.parametrize("family", SOME_NETWORKS)
def test_logits_are_those_of_the_formula(family: str) -> None:
    """From what the network alone gives and the counts in float64; the same where a trained trial looks the counts up."""
    config, params, stats = network(family)
    rows = with_counts(windows((*NAMES[:10], "dcbadcbadcba"), VOCABULARY, T), COUNTED)
    alone = jax.jit(models.FAMILIES[family].build(config.model, V).apply)
    given = alone({"params": {k: v for k, v in params.items() if k != READER}, "batch_stats": stats}, rows.ids)
    logits = read(params[READER], np.asarray(given, np.float64), list(ngram.distributions(COUNTED, rows.ids)))
    wanted = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(logits)), rows.targets]
    losses = jax.jit(functools.partial(losses_of, next_character(V), config))
    np.testing.assert_allclose(losses(params, stats, rows), wanted, rtol=1e-4)
    looked_up = losses(params, {**stats, COUNTS: parameters(COUNTED)}, Windows(rows.ids, rows.targets))
    np.testing.assert_allclose(looked_up, wanted, rtol=1e-4)


def test_dropout_acts_on_what_is_read() -> None:
    """Of the last hidden layer's rate: where it drops all, nothing is read, and half of it leaves the mean as it is."""
    source = np.random.default_rng(0)
    outputs, said = source.normal(size=(4, V)), np.log(source.dirichlet(np.ones(V), size=(4, 3)))
    reader = Reader(V, 64, "he")
    start: Any = reader.init(jax.random.key(0), outputs, said)["params"]
    params = jax.tree.map(lambda p: source.normal(size=p.shape).astype(np.float32) / 8, start)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, 0))
    def read_with(rate: jax.Array, key: jax.Array) -> Any:
        noise = RegularizerConfig(dropout=0.0, dropout_last=rate)  # pyright: ignore[reportArgumentType]  (traced)
        return reader.apply({"params": params}, outputs, said, noise, rngs={"noise": key})

    keys = jax.random.split(jax.random.key(0), 400)
    weights = params["weights"]["bias"] + np.array([1, 0, 0])
    nothing = outputs + params["output"]["bias"] + (weights[:, None] * said).sum(1)
    np.testing.assert_allclose(read_with(1 - 1e-7, keys)[0], nothing, rtol=1e-4, atol=1e-4)
    whole: Any = reader.apply({"params": params}, outputs, said)
    np.testing.assert_allclose(read_with(0.0, keys)[0], whole, rtol=1e-5)
    halves = np.asarray(read_with(0.5, keys))
    spread = halves.std(0)
    assert spread.min() > 0.01
    assert np.abs((halves.mean(0) - whole) / spread).max() < 5 / np.sqrt(len(keys))  # standard errors


@pytest.mark.parametrize("family", SOME_NETWORKS)
def test_one_id_after_the_other_is_the_whole_window(family: str) -> None:
    """As names are made: with what the network remembers and the ids that the counts look back to, past the context too."""
    config, params, stats = network(family)
    variables = {"params": params, "batch_stats": {**stats, COUNTS: parameters(COUNTED)}}
    module, state = models.build(config.model, V), opened(config.model, V, 1)
    step, whole = (
        jax.jit(functools.partial(told, config.model, V, variables)),
        jax.jit(functools.partial(module.apply, variables)),
    )
    ids = [BOUNDARY, *VOCABULARY.encode("abcdabbacad")]
    for place, one in enumerate(ids):
        state, logits = step(state, np.array([one]), place)
        window = ([BOUNDARY] * T + ids[: place + 1])[-T:]
        np.testing.assert_allclose(logits, whole(np.array([window])), rtol=1e-4, atol=1e-5)


def sweep_of(small: Config, **values: Any) -> jaxgen.Sweep:
    base = override(small, {"model.context": 4, "model.counts": 3, **values})
    return jaxgen.seeds(base, 2)


def test_a_trial_takes_its_counts_along(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """What the results say is what the trial comes to that is loaded, and what is exported."""
    results = runs.run(sweep_of(small), corpus, tmp_path / "run")
    part = windows(cut(corpus, "rows", 42)[1], corpus.vocabulary, 4)
    loaded = [jaxgen.load(tmp_path / "run", row.trial) for row in results.rows]
    np.testing.assert_allclose(surprise(loaded, part).mean(1), [row.val_loss for row in results.rows], rtol=1e-5)
    (line,) = saved.lines(tmp_path / "run")
    assert len({*line["shared"].values()}) == 1  # what was counted is stored once for all trials
    assert f"1.{COUNTS}.order_3.share" in line["shared"]
    one, kept = loaded[0], results.trained(results.rows[0].trial)
    assert results.rows[0].params == sum(x.size for x in jax.tree.leaves(one.params))
    exported = jaxgen.load(jaxgen.export(one, tmp_path / "trial"))
    assert same_bits((exported.params, exported.stats), (one.params, one.stats))
    assert jaxgen.sample(exported, 4) == jaxgen.sample(one, 4) == jaxgen.sample(kept, 4)
    np.testing.assert_array_equal(jaxgen.score(exported, ["anna"]), jaxgen.score(one, ["anna"]))
    for name, change in (
        (f"stats.{COUNTS}.order_2.begins", lambda x: x + 5),
        (f"stats.{COUNTS}.order_3.share", lambda x: x[1:]),
        ("params.embedding.embedding", lambda x: x[1:]),
    ):
        arrays = safetensors.numpy.load((tmp_path / "trial" / WEIGHTS).read_bytes())
        folder = jaxgen.export(one, tmp_path / name)
        (folder / WEIGHTS).write_bytes(safetensors.numpy.save({**arrays, name: np.ascontiguousarray(change(arrays[name]))}))
        with pytest.raises(UserError, match=r"no counts|does not fit"):
            jaxgen.load(folder)


def test_a_run_on_counts_goes_on_to_the_same_bytes(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """Stopped after each of its segments."""
    values = {"train.names": 8, "model.family": "bigram", "train.batch_size": 8}
    runs.run(sweep_of(small, **values), corpus, tmp_path / "whole")
    for _ in range(20):
        try:
            runs.run(sweep_of(small, **values), corpus, tmp_path / "parts", resume=True, stop=lambda: True)
        except Interrupted:
            continue
        break
    assert same(bytes_of(tmp_path / "whole"), bytes_of(tmp_path / "parts"))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"model.family": "ngram", "model.counts": 2}, "counts already"),
        ({"model.context": 3, "model.counts": 4}, r"expected a value in \[0, 3\]"),
        ({"model.counts": 2, "train.pretrain": 5}, "of the corpus alone"),
        ({"model.counts": 17, "model.context": 20}, "expected a value in"),
        ({"model.counts": 2, "data.dev": 90, "data.split": "order"}, "10 training names or more"),
        ({"model.counts": 2, "model.family": "gru", "model.context": 1024}, "GB for what counts say"),
    ],
)
def test_counts_that_cannot_be_are_refused(
    values: dict[str, Any], says: str, small: Config, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jaxgen.tasks.names.material.MOST", 1_000_000)
    few = Corpus(corpus.names[:80], "few.txt", None, "")
    with pytest.raises(UserError, match=says):
        runs.run([override(small, values)], few, tmp_path / "run")
    assert not (tmp_path / "run").exists()
