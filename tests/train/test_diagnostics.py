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
from jaxgen import runs
from jaxgen.engine import lanes as engine
from jaxgen.engine.lanes import Looked, SegmentDone
from jaxgen.engine.plan import Plan, compiler_options
from jaxgen.engine.programs import begin, prepare
from jaxgen.fields import UserError, override
from jaxgen.judge.results import Diagnostic
from jaxgen.runs import Interrupted
from jaxgen.search.sweep import Sweep, groups
from jaxgen.storage import folder
from jaxgen.storage.logs import DIAGNOSTICS
from jaxgen.tasks.names.config import ACTIVATIONS, NORMALIZATIONS, Config
from jaxgen.tasks.names.data import Corpus, Windows, split
from jaxgen.tasks.names.loss import layers, next_character
from jaxgen.tasks.rows import Splits
from jaxgen.train import trial
from jaxgen.train.diagnostics import FLAT, MEASURES, diagnose
from jaxgen.train.functions import Functions
from jaxgen.train.optimizers import lower

pytestmark = pytest.mark.usefixtures("compiled_quickly")

RATE, DECAY, EPS = 0.2, 0.1, 1e-3  # learning rate, L2 and Adam's eps of the networks looked at
STEPS = {"sgd": lambda g: RATE * g, "adam": lambda g: RATE * g / (np.abs(g) + EPS)}  # from a gradient, Adam's first one
look = jax.jit(diagnose, static_argnums=0, compiler_options=compiler_options(rare=True))


def matrix(layer: Any) -> Any:
    """The weights of a layer, from its parameters."""
    (found,) = (x for x in jax.tree.leaves(layer) if x.ndim >= 2)
    return found


def exact_gradient(name: str, kind: str, params: Any, stats: Any, batch: Windows) -> dict[str, reference.Array]:
    """Layer -> the objective's gradient with respect to its weights, by central differences in float64 for each of them."""

    def loss() -> float:
        out = reference.forward(params, stats, batch.ids, name, kind, train=True)
        l2 = DECAY / 2 * sum((matrix(params[layer]) ** 2).sum() for layer in params)
        return float(reference.cross_entropy(out.logits, batch.targets).mean() + l2)

    def of(weights: reference.Array) -> reference.Array:
        slopes, step = np.zeros_like(weights), 1e-6
        for place in np.ndindex(weights.shape):
            held, ends = weights[place], []
            for moved in (held + step, held - step):
                weights[place] = moved
                ends.append(loss())
            weights[place] = held
            slopes[place] = (ends[0] - ends[1]) / (2 * step)
        return slopes

    return {layer: of(matrix(params[layer])) for layer in params}


def length(x: Any) -> float:
    return float(np.sqrt((np.asarray(x, np.float64) ** 2).sum()))


# Every activation function; one network is deeper.
LOOKED_AT = [(name, NORMALIZATIONS[i % len(NORMALIZATIONS)], 1 + (i == 0)) for i, name in enumerate(ACTIVATIONS)]


@pytest.mark.parametrize(("name", "kind", "depth"), LOOKED_AT)
def test_measures_are_their_formulas(name: str, kind: str, depth: int) -> None:
    task, hidden = next_character(V), [f"hidden_{layer}" for layer in range(depth)]
    config, params, stats, batch = network(activation=name, normalization=kind, hidden=7, embedding=3, depth=depth)
    for layer in hidden:  # wide enough to reach where the activation function is flat
        where, what = ("linear", "kernel") if kind == "none" else ("norm", "scale")
        params[layer][where][what] *= 2.5
    exact = float64(params)
    gradient = exact_gradient(name, kind, exact, float64(stats), batch)
    before = reference.forward(exact, float64(stats), batch.ids, name, kind, train=True).before
    steepest = np.abs(reference.slope(name, np.linspace(-9, 9, 100_001))).max()

    def looked_at(optimizer: str, params: Any) -> Any:
        values = {"optimizer.name": optimizer, "optimizer.learning_rate": RATE, "train.steps": 3}
        values |= {"optimizer.eps": EPS} if optimizer == "adam" else {}
        lowered = only(lower(override(config, values), 100), l2=DECAY)
        state = trial.init(task, lowered, jax.random.key(0))
        return look(task, lowered, state._replace(params=params, stats=stats), batch)

    for optimizer, step in STEPS.items():
        found = looked_at(optimizer, params)
        assert set(found) == {"embedding", *hidden, "output"}
        for layer, measures in found.items():
            assert set(measures) == set(MEASURES)
            np.testing.assert_allclose(measures["gradient"], length(gradient[layer]), rtol=2e-5)
            update = length(step(gradient[layer])) / length(matrix(exact[layer]))
            np.testing.assert_allclose(measures["update"], update, rtol=2e-5)
            if layer in hidden:
                given = reference.activation(name, before[layer])
                np.testing.assert_allclose(measures["activation"], given.std(), rtol=1e-5)
                share = (np.abs(reference.slope(name, before[layer])) < FLAT * steepest).mean()
                assert 0 < share < 1
                np.testing.assert_allclose(measures["saturation"], share, rtol=1e-6)  # a count
            else:
                assert np.isnan([measures["activation"], measures["saturation"]]).all()
    params[hidden[-1]]["linear" if kind == "none" else "norm"]["bias"] = jnp.full(7, -60.0)  # flat, wherever a unit is
    assert looked_at("sgd", params)[hidden[-1]]["saturation"] == 1.0
    assert all(looked_at("sgd", params)[layer]["saturation"] < 1 for layer in hidden[:-1])


def test_layers_are_in_the_order_of_the_data() -> None:
    names = ["embedding", "hidden_2", "hidden_10", "output"]

    def loss(config: Config, params: Any, *_: Any) -> tuple[jax.Array, Any]:
        return sum((jnp.sum(w) for w in jax.tree.leaves(params)), jnp.zeros(1)), {}

    task = Functions(
        lambda config, key: ({name: {"kernel": jnp.ones((1, 1))} for name in reversed(names)}, {}),
        loss,
        lambda config, params, stats, rows, keys: {"loss": jnp.ones(len(rows))},
        layers=layers,
    )
    config = override(Config(), {"train.steps": 1, "train.diagnostics": True})
    (group,) = groups([config], lambda config: 10)
    rows = np.zeros(20, np.float32)
    events = engine.train(task, prepare(Splits(rows, rows, rows)), group, Plan(1, 1, 1))
    assert [list(event.layers) for event in events if isinstance(event, Looked)] == [names]


@pytest.fixture(scope="module")
def sweep(small: Config) -> Sweep:
    """Three groups: one that is not looked at, the same looked at, and one of another depth; more trials than lanes."""
    base = override(small, {"optimizer.name": "sgd", "optimizer.learning_rate": 0.1})
    values = [{"train.diagnostics": False}, {"train.diagnostics": True}, {"train.diagnostics": True, "model.depth": 0}]
    return Sweep(base, tuple({**group, "seed": seed} for group in values for seed in range(SEEDS)))


SEEDS = 5
LANES: Any = {"width": 4, "chunk": 2}


@pytest.fixture(scope="module")
def done(sweep: Sweep, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("diagnostics") / "run"
    runs.run(sweep, corpus, out, **LANES)
    return out


def test_looking_changes_nothing(done: Path) -> None:
    results = jaxgen.load_results(done)
    rows = {row.trial: row for row in results.rows}
    for seed in range(SEEDS):
        unseen, seen = (results.trained(number) for number in (seed, SEEDS + seed))
        assert same_bits((unseen.params, unseen.stats), (seen.params, seen.stats))
        losses = [(row.train_loss, row.val_loss, row.test_loss) for row in (rows[seed], rows[SEEDS + seed])]
        assert losses[0] == losses[1]


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
    number = 2 * SEEDS - 1  # it took a lane that was free again
    splits, task = split(corpus, "rows", 42, 3), next_character(len(corpus.vocabulary))
    config = lower(list(sweep)[number], len(splits.train.targets))
    batch = Windows(*(x[: config.train.batch_size] for x in splits.train))
    measures = look(task, config, begin(task, config), batch)
    for row in rows:
        if (row["trial"], row["step"]) == (str(number), "0"):
            for name in MEASURES:
                np.testing.assert_allclose(float(row[name]), measures[row["layer"]][name], rtol=1e-4)


def test_what_is_read_is_what_was_seen(done: Path, sweep: Sweep, corpus: Corpus) -> None:
    memory, disk = runs.run(sweep, corpus, **LANES), jaxgen.load_results(done)
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
            runs.run(sweep, corpus, out, resume=True, listener=listener, stop=lambda: left <= 0, **LANES)
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
            file.write("5,0,embedding,nan,n")
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
    unseen = Sweep(sweep.base, sweep.points[:SEEDS])
    runs.run(unseen, corpus, tmp_path / "run", **LANES)
    assert not (tmp_path / "run" / DIAGNOSTICS).exists()
    assert jaxgen.load_results(tmp_path / "run").diagnostics == []
