"""What goes on inside a network: against NumPy in float64, and in a run's folder."""

from __future__ import annotations

import csv
import functools
import math
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from conftest import V, float64, network, only, same_bits

import jaxgen
from jaxgen import folder, trial
from jaxgen.config import ACTIVATIONS, NORMALIZATIONS, Config, UserError, override
from jaxgen.corpus import Corpus, Windows, split
from jaxgen.diagnostics import FLAT, MEASURES, diagnose
from jaxgen.engine import SegmentDone
from jaxgen.logs import DIAGNOSTICS
from jaxgen.objective import layers, next_character
from jaxgen.optimizers import lower
from jaxgen.programs import begin
from jaxgen.results import Diagnostic
from jaxgen.runs import Interrupted
from jaxgen.sweep import Sweep

RATE, DECAY = 0.2, 0.1  # learning rate and L2 of the networks looked at
look = jax.jit(diagnose, static_argnums=0)


def exact_gradient(name: str, kind: str, params: Any, stats: Any, batch: Windows) -> Any:
    """Of the objective, by central differences in float64 for each number."""

    def loss(tree: Any) -> float:
        out = reference.forward(tree, stats, batch.ids, name, kind, train=True)
        l2 = DECAY / 2 * sum((w**2).sum() for w in jax.tree.leaves(tree) if w.ndim >= 2)
        return float(reference.cross_entropy(out.logits, batch.targets).mean() + l2)

    def of(leaf: reference.Array) -> reference.Array:
        slopes, step = np.zeros_like(leaf), 1e-6
        for place in np.ndindex(leaf.shape):
            held, ends = leaf[place], []
            for leaf[place] in (held + step, held - step):
                ends.append(loss(params))
            leaf[place] = held
            slopes[place] = (ends[0] - ends[1]) / (2 * step)
        return slopes

    return {layer: of(next(x for x in jax.tree.leaves(params[layer]) if x.ndim >= 2)) for layer in params}


def length(x: Any) -> float:
    return float(np.sqrt((np.asarray(x, np.float64) ** 2).sum()))


@pytest.mark.parametrize(
    ("name", "kind"), [(name, NORMALIZATIONS[i % len(NORMALIZATIONS)]) for i, name in enumerate(ACTIVATIONS)]
)
def test_measures_are_their_formulas(name: str, kind: str) -> None:
    task = next_character(V)
    config, params, stats, batch = network(activation=name, normalization=kind, hidden=7, embedding=3)
    for layer in ("hidden_0", "hidden_1"):  # wide enough to reach where the activation function is flat
        where, what = ("linear", "kernel") if kind == "none" else ("norm", "scale")
        params[layer][where][what] *= 2.5
    exact, weights = (
        float64(params),
        {layer: jax.tree.leaves(params[layer]["linear"] if "linear" in params[layer] else params[layer]) for layer in params},
    )
    weights = {layer: next(x for x in found if x.ndim >= 2) for layer, found in weights.items()}
    gradient = exact_gradient(name, kind, exact, float64(stats), batch)
    out = reference.forward(exact, float64(stats), batch.ids, name, kind, train=True)
    steepest = np.abs(reference.slope(name, np.linspace(-9, 9, 100_001))).max()
    for optimizer, step in (("sgd", lambda g: RATE * g), ("adam", lambda g: RATE * g / (np.abs(g) + 1e-3))):
        values = {"optimizer.name": optimizer, "optimizer.learning_rate": RATE}
        eps = {"optimizer.eps": 1e-3} if optimizer == "adam" else {}
        lowered = only(lower(override(config, values | eps | {"train.steps": 3}), 100), l2=DECAY)
        state = trial.init(task, lowered, jax.random.key(0))._replace(params=params, stats=stats)
        found = look(task, lowered, state, batch)
        assert set(found) == {"embedding", "hidden_0", "hidden_1", "output"}
        for layer, measures in found.items():
            assert set(measures) == set(MEASURES)
            np.testing.assert_allclose(measures["gradient"], length(gradient[layer]), rtol=2e-5)
            np.testing.assert_allclose(measures["update"], length(step(gradient[layer])) / length(weights[layer]), rtol=2e-5)
            if layer not in out.before:
                assert np.isnan(measures["activation"])
                assert np.isnan(measures["saturation"])
                continue
            x = out.before[layer]
            np.testing.assert_allclose(measures["activation"], reference.activation(name, x).std(), rtol=1e-5)
            share = (np.abs(reference.slope(name, x)) < FLAT * steepest).mean()
            assert 0 < share < 1
            np.testing.assert_allclose(measures["saturation"], share, rtol=1e-6)  # a count
    where = "linear" if kind == "none" else "norm"
    params["hidden_1"][where]["bias"] = jnp.full(7, -60.0)  # all far to the left, where each of them is flat
    found = look(task, lowered, state._replace(params=params), batch)
    assert found["hidden_1"]["saturation"] == 1.0
    assert found["hidden_1"]["activation"] < 1.0 if name == "leaky_relu" else found["hidden_1"]["activation"] == 0.0
    assert 0 < found["hidden_0"]["saturation"] < 1


def test_layers_are_in_the_order_of_the_data() -> None:
    config = override(Config(), {"model.depth": 12, "model.hidden": 2})
    params, _ = jax.eval_shape(lambda: next_character(V).init(config, jax.random.key(0)))
    assert layers(params) == ["embedding", *(f"hidden_{i}" for i in range(12)), "output"]


@pytest.fixture(scope="module")
def sweep(small: Config) -> Sweep:
    """Three groups: one that is not looked at, the same looked at, and a deeper network."""
    base = override(small, {"model.hidden": 8, "model.depth": 1, "optimizer.name": "sgd", "optimizer.learning_rate": 0.1})
    groups = [{"train.diagnostics": False}, {"train.diagnostics": True}, {"train.diagnostics": True, "model.depth": 2}]
    return Sweep(base, tuple({**group, "seed": seed} for group in groups for seed in range(3)))


LANES: Any = {"width": 2, "chunk": 1}


@pytest.fixture(scope="module")
def done(sweep: Sweep, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("diagnostics") / "run"
    jaxgen.run(sweep, corpus, out, **LANES)
    return out


def test_looking_changes_nothing(done: Path) -> None:
    results = jaxgen.load_results(done)
    rows = {row.trial: row for row in results.rows}
    for seed in range(3):
        unseen, seen = results.trained(seed), results.trained(3 + seed)
        assert same_bits((unseen.params, unseen.stats), (seen.params, seen.stats))
        assert [rows[seed].val_loss, rows[seed].test_loss] == [rows[3 + seed].val_loss, rows[3 + seed].test_loss]


def test_a_row_is_a_layer_of_a_trial_as_a_segment_begins(done: Path, sweep: Sweep, corpus: Corpus) -> None:
    with open(done / DIAGNOSTICS, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["trial", "step", "layer", *MEASURES]
    depths = {number: config.model.depth for number, config in enumerate(sweep) if config.train.diagnostics}
    wanted = {
        (number, step): ["embedding", *(f"hidden_{i}" for i in range(depth)), "output"]
        for number, depth in depths.items()
        for step in (0, 20)
    }
    found: dict[tuple[int, int], list[str]] = {}
    for row in rows:
        found.setdefault((int(row["trial"]), int(row["step"])), []).append(row["layer"])
    assert found == wanted
    splits, task = split(corpus, "rows", 42, 3), next_character(len(corpus.vocabulary))
    config = lower(list(sweep)[8], len(splits.train.targets))  # the last trial, which took a lane that was free again
    batch = Windows(*(x[: config.train.batch_size] for x in splits.train))
    measures = look(task, config, begin(task, config), batch)
    for row in rows:
        if (row["trial"], row["step"]) == ("8", "0"):
            for name in MEASURES:
                np.testing.assert_allclose(float(row[name]), measures[row["layer"]][name], rtol=1e-4)


def test_what_is_read_is_what_was_seen(done: Path, sweep: Sweep, corpus: Corpus) -> None:
    memory, disk = jaxgen.run(sweep, corpus, **LANES), jaxgen.load_results(done)
    assert all(isinstance(row, Diagnostic) for row in disk.diagnostics)
    assert list(map(repr, memory.diagnostics)) == list(map(repr, disk.diagnostics))  # repr: no nan is equal to another
    assert memory.curves == disk.curves


def go(sweep: Sweep, corpus: Corpus, out: Path, segments: int) -> bool:
    """Goes on with a run for some segments, a save after each; whether it is done."""
    left = segments

    def listener(event: object, results: object) -> None:
        nonlocal left
        left -= isinstance(event, SegmentDone)

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(folder, "SHARE", math.inf)
            jaxgen.run(sweep, corpus, out, resume=True, listener=listener, stop=lambda: left <= 0, **LANES)
    except Interrupted:
        return False
    return True


def test_interrupted_at_every_segment_it_comes_to_the_same_bytes(
    done: Path, sweep: Sweep, corpus: Corpus, tmp_path: Path
) -> None:
    """With lines behind what a save knows of, as a crash leaves them, and a table that no save knows of."""
    out, began = tmp_path / "run", []
    while not go(sweep, corpus, out, 1):
        began.append((out / DIAGNOSTICS).exists())
        with open(out / DIAGNOSTICS, "a") as file:
            file.write("3,0,embedding,nan,n")
    assert not began[0]
    assert began[-1]
    for name in (DIAGNOSTICS, "metrics.csv", "results.csv"):
        assert (out / name).read_bytes() == (done / name).read_bytes()


@pytest.mark.parametrize("harm", ["gone", "cut", "changed"])
def test_damage_is_refused_by_name(harm: str, done: Path, sweep: Sweep, corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(done, out)
    path = out / DIAGNOSTICS
    content = path.read_bytes()
    path.unlink() if harm == "gone" else path.write_bytes(content[:200] if harm == "cut" else content.replace(b"nan", b"inf"))
    for use in (functools.partial(jaxgen.load_results, out), functools.partial(go, sweep, corpus, out, 99)):
        with pytest.raises(UserError, match=r"diagnostics\.csv"):
            use()


def test_where_nobody_looks_there_is_no_table(done: Path, sweep: Sweep, corpus: Corpus, tmp_path: Path) -> None:
    unseen = Sweep(sweep.base, sweep.points[:3])
    jaxgen.run(unseen, corpus, tmp_path / "run", **LANES)
    assert not (tmp_path / "run" / DIAGNOSTICS).exists()
    assert jaxgen.load_results(tmp_path / "run").diagnostics == []
