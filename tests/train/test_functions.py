"""Numbers of rows with weights, what selects, and what is not one loss: with tiny tasks whose every number is known."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import same_bits

from jaxgen.config import Config, config_of
from jaxgen.engine import lanes as engine
from jaxgen.engine.lanes import Ended
from jaxgen.engine.plan import Plan
from jaxgen.engine.programs import prepare
from jaxgen.fields import override
from jaxgen.search.sweep import groups
from jaxgen.tasks.rows import Splits
from jaxgen.train import trial
from jaxgen.train.functions import Functions, Weighed, mean, sums, weighed
from jaxgen.train.optimizers import lower
from jaxgen.train.trial import Status, Stream, TrialState, stream

pytestmark = pytest.mark.usefixtures("compiled_quickly")

RATE = 0.25


class Rows(NamedTuple):
    x: Any  # (N, 3)
    y: Any  # (N,)
    weight: Any  # (N,)


def rows(count: int, seed: int = 0) -> Rows:
    """Every third of them counts nothing."""
    source = np.random.default_rng(seed)
    weight = np.where(np.arange(count) % 3 == 1, 0.0, source.uniform(0.5, 3.0, count))
    return Rows(*(x.astype(np.float32) for x in (source.normal(size=(count, 3)), source.normal(size=count), weight)))


def config_with(**values: Any) -> Config:
    """Lowered; `optimizer__name` is the key optimizer.name."""
    given = {"optimizer__name": "sgd", "optimizer__learning_rate": RATE, **values}
    config = override(config_of()(), {key.replace("__", "."): value for key, value in given.items()})
    none = {part.name: None for part in dataclasses.fields(config.regularizer) if f"regularizer__{part.name}" not in given}
    return dataclasses.replace(lower(config, 100), regularizer=dataclasses.replace(config.regularizer, **none))


def begin(task: Functions, config: Config) -> TrialState:
    return trial.init(task, config, stream(0, Stream.START))


# A linear regression by weighted least squares. ----------------------------------------------------------------------------


def init(config: Config, key: jax.Array) -> tuple[Any, Any]:
    return {"w": jax.random.normal(key, (3,))}, {}


def errors(params: Any, batch: Rows) -> Any:
    return (batch.x * params["w"]).sum(-1) - batch.y


def loss(config: Config, params: Any, stats: Any, batch: Rows, key: Any, step: Any) -> tuple[Any, Any]:
    return (errors(params, batch) ** 2, batch.weight), stats


def score(config: Config, params: Any, stats: Any, batch: Rows, keys: Any) -> dict[str, Any]:
    wrong = errors(params, batch)
    places = wrong[:, None] + jnp.arange(4.0)
    return {
        "loss": (wrong**2, batch.weight),
        "plain": wrong**2,
        "near": (jnp.abs(wrong) < 1, batch.weight > 1),  # booleans, both
        "places": places,
        "known": Weighed(places, batch.weight[:, None] * (jnp.arange(4) < 2)[None, :]),
        "noise": jax.vmap(jax.random.uniform)(keys),
        "nothing": (wrong, 0.0 * batch.weight),
    }


SQUARES = Functions(init, loss, score)


def exact(params: Any, split: Rows) -> dict[str, Any]:
    """What `score` comes to over a split, in float64."""
    x, y, weight = (np.asarray(a, np.float64) for a in split)
    wrong = x @ np.asarray(params["w"], np.float64) - y
    key = stream(0, Stream.EVALUATION)
    return {
        "loss": np.average(wrong**2, weights=weight),
        "plain": (wrong**2).mean(),
        "near": (np.abs(wrong) < 1)[weight > 1].mean(),
        "places": (wrong + 1.5).mean(),
        "known": np.average(wrong + 0.5, weights=weight),
        "noise": np.mean([float(jax.random.uniform(jax.random.fold_in(key, place))) for place in range(len(y))]),
        "nothing": np.nan,
    }


evaluate = jax.jit(functools.partial(trial.evaluate, SQUARES), static_argnums=3)


@pytest.mark.parametrize("count", [3, 8, 9, 16, 20])
def test_metrics_are_weighted_means_whatever_the_chunk_and_the_padding(count: int) -> None:
    """Of every row and every place that counts; what stands beyond the rows plays no part, and each row has its own key."""
    config, split = config_with(), rows(count)
    state = begin(SQUARES, config)
    wanted = exact(state.params, split)
    longer = Rows(*(np.concatenate([x, np.full((5, *x.shape[1:]), np.nan, np.float32)]) for x in split))
    found = [evaluate(config, state, split, chunk) for chunk in (8, 1024)]
    found += [evaluate(config, state, longer, chunk, jnp.asarray(count)) for chunk in (8, 1024)]
    for one in found:
        assert {*one} == {*wanted}
        for name, value in wanted.items():
            np.testing.assert_allclose(one[name], value, rtol=2e-6, err_msg=name)


def test_what_is_drawn_in_an_evaluation_is_of_the_place_alone() -> None:
    """No noise between trials, seeds and steps."""
    states = [begin(SQUARES, config_with(seed=seed)) for seed in (0, 1)]
    states.append(states[0]._replace(step=jnp.asarray(30)))
    found = [trial.evaluate(SQUARES, config_with(seed=seed), state, rows(9))["noise"] for seed, state in enumerate(states)]
    assert same_bits(found, [found[0]] * 3)


WEIGHTS = [None, [1.0, 0.0, 2.5, 0.0], [True, False, True, True], [3, 0, 1, 0]]


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_a_mean_is_that_of_what_counts(weights: list[Any] | None) -> None:
    values = jnp.array([[1.0, -2.0], [3.0, 5.0], [0.5, 7.0], [2.0, 2.0]])
    one = Weighed(values, None if weights is None else jnp.asarray(weights)[:, None])
    shares = np.broadcast_to(np.ones(4) if weights is None else np.asarray(weights, float), (2, 4)).T
    np.testing.assert_allclose(mean(one), np.average(values, weights=shares), rtol=1e-6)
    np.testing.assert_allclose(mean(one._replace(penalty=0.5)), np.average(values, weights=shares) + 0.5, rtol=1e-6)
    here = np.array([True, True, False, True])
    total, count = sums(one._replace(values=values.at[2].set(jnp.nan)), jnp.asarray(here))
    np.testing.assert_allclose(total, (np.asarray(values) * shares)[here].sum(), rtol=1e-6)
    np.testing.assert_allclose(count, shares[here].sum(), rtol=1e-6)


def test_values_may_come_in_three_ways() -> None:
    values, weights = jnp.arange(3.0), jnp.array([1.0, 0.0, 2.0])
    assert same_bits(weighed((values, weights)), Weighed(values, weights))
    assert weighed(values).weights is None
    assert weighed(Weighed(values, weights, 2.0)).penalty == 2.0


def test_a_step_descends_along_the_weighted_mean() -> None:
    """By hand in float64; rows of weight 0 change no bit, and where none has a weight nothing moves."""
    config, batch = config_with(), rows(8)
    state = begin(SQUARES, config)
    step = jax.jit(lambda batch: trial.update(SQUARES, config, state, batch))
    new, metrics = step(batch)
    x, weight = (np.asarray(a, np.float64) for a in (batch.x, batch.weight))
    wrong = x @ np.asarray(state.params["w"], np.float64) - batch.y
    slope = 2 * (weight * wrong) @ x / weight.sum()
    np.testing.assert_allclose(new.params["w"], state.params["w"] - RATE * slope, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], np.average(wrong**2, weights=weight), rtol=1e-6)
    hidden = weight == 0
    assert hidden.any()
    other = batch._replace(x=np.where(hidden[:, None], 1e6, batch.x).astype(np.float32))
    assert same_bits(step(other), (new, metrics))
    still, metrics = step(batch._replace(weight=0 * batch.weight))
    assert same_bits(still.params, state.params)
    assert (metrics["loss"], still.status, still.step) == (0, Status.RUNNING, 1)


def test_what_a_step_sees_is_of_the_rows_drawn_and_of_a_key_of_its_own() -> None:
    def batch(config: Config, drawn: Rows, key: jax.Array, step: Any) -> Rows:
        return drawn._replace(x=drawn.x + jax.random.normal(key, drawn.x.shape), y=drawn.y + step)

    config, split, step = config_with(train__batch_size=5, seed=4), rows(20), jnp.asarray(7)
    drawn = trial.draw(SQUARES, split, config, step)
    found = trial.draw(SQUARES._replace(batch=batch), split, config, step)
    assert same_bits(found, batch(config, drawn, stream(4, Stream.SEEN, 7), step))
    keys = [stream(4, which, 7) for which in Stream]
    assert len({jax.random.key_data(key).tobytes() for key in keys}) == len(keys)


# What selects. -------------------------------------------------------------------------------------------------------------


def rising(metric: str, higher_is_better: bool) -> Functions:
    """Its one parameter counts the steps; `accuracy` is highest after 40 and `loss` lowest after 20."""

    def score(config: Config, params: Any, stats: Any, rows: Any, keys: Any) -> dict[str, Any]:
        steps = params["w"] + 0.0 * rows
        return {"accuracy": -((steps - 40) ** 2), "loss": (steps - 20) ** 2}

    def evaluate(config: Config, params: Any, stats: Any, split: Any, key: jax.Array) -> dict[str, Any]:
        return {"rows": jnp.asarray(float(len(split))), "last": split[-1], "drawn": jax.random.uniform(key)}

    return Functions(
        lambda config, key: ({"w": jnp.zeros(())}, {}),
        lambda config, params, stats, batch, key, step: (-params["w"] + 0.0 * batch, stats),
        score,
        evaluate=evaluate,
        metric=metric,
        higher_is_better=higher_is_better,
    )


@pytest.mark.parametrize(
    ("metric", "higher", "best", "steps"), [("accuracy", True, 40, 60), ("loss", False, 20, 40), ("accuracy", False, 10, 30)]
)
def test_the_metric_selects_in_its_direction(metric: str, higher: bool, best: int, steps: int) -> None:
    """The best step, and patience. What `evaluate` sees is a whole part as it is, with a key that is always the same."""
    values = {"optimizer.name": "sgd", "optimizer.learning_rate": 1.0, "train.steps": 80, "train.eval_every": 10}
    config = override(config_of()(), {**values, "train.patience": 2})
    (group,) = groups([config], lambda config: 100)
    split = np.arange(1500, dtype=np.float32)
    data = prepare(Splits(split, split[:1300], split[:13]))  # none of whole chunks
    (end,) = [e for e in engine.train(rising(metric, higher), data, group, Plan(1, 1, 1)) if isinstance(e, Ended)]
    assert (end.best_step, end.steps) == (best, steps)
    assert end.params["w"] == best
    assert (end.losses["val_accuracy"], end.losses["test_loss"]) == (-((best - 40) ** 2), (best - 20) ** 2)
    assert [end.losses[f"{part}_rows"] for part in ("train", "val", "test")] == [1300, 1300, 13]
    assert [end.losses[f"{part}_last"] for part in ("train", "val", "test")] == [1299, 1299, 12]
    assert len({end.losses[f"{part}_drawn"] for part in ("train", "val", "test")}) == 1


def test_a_metric_that_nothing_counts_in_ends_a_trial() -> None:
    task, config = SQUARES._replace(metric="nothing", higher_is_better=True), config_with()
    state = begin(task, config)
    found = trial.cost(task, trial.evaluate(task, config, state, rows(9)))
    ended = trial.track(config, state, found)
    assert ended.status == Status.DIVERGED
    assert trial.flaws(state)[int(ended.flaw)] == "validation loss"


# What is not one loss. -----------------------------------------------------------------------------------------------------

START: Any = {"a": {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]])}, "b": jnp.array([4.0, 5.0, -6.0])}


def slopes(step: Any) -> Any:
    """Of two players, each its own."""
    grow = 1.0 + jnp.asarray(step, jnp.float32)
    return {"a": {"kernel": jnp.array([[3.0, 0.0], [0.0, 4.0]])}, "b": grow * jnp.array([1.0, -2.0, 2.0])}


def players(pace: Any = None, bad: bool = False) -> Functions:
    """`bad`: where the second one rests, its gradient is no number."""

    def gradients(config: Config, params: Any, stats: Any, batch: Any, key: Any, step: Any) -> tuple[Any, Any, Any]:
        found = slopes(step)
        if bad:
            found["b"] = jnp.where(step % 3 == 0, found["b"], jnp.nan)
        return (batch, batch > 1), found, {"seen": stats["seen"] + batch.sum()}

    return Functions(lambda config, key: (START, {"seen": jnp.zeros(())}), gradients=gradients, pace=pace)


BATCH = jnp.array([1.0, 2.0, 6.0])


def test_a_step_descends_along_a_tasks_own_gradients() -> None:
    """With the penalties' added; what is watched is the weighted mean of its values."""
    config = config_with(regularizer__l2=0.1)
    new, metrics = trial.update(players(), config, begin(players(), config), BATCH)
    wanted = START["a"]["kernel"] - RATE * (slopes(0)["a"]["kernel"] + 0.1 * START["a"]["kernel"])
    np.testing.assert_allclose(new.params["a"]["kernel"], wanted, rtol=1e-6)
    np.testing.assert_allclose(new.params["b"], START["b"] - RATE * slopes(0)["b"], rtol=1e-6)
    assert (metrics["loss"], new.stats["seen"]) == (4, 9)
    total = trial.descent(players(), config, begin(players(), config), BATCH)[0]
    np.testing.assert_allclose(total, 4 + 0.05 * (START["a"]["kernel"] ** 2).sum(), rtol=1e-6)


@pytest.mark.parametrize("bad", [False, True])
def test_a_part_rests_with_its_optimizer_while_another_moves(bad: bool) -> None:
    """To the bit, at a pace of 0; and it then goes on as if the others' steps had not been."""
    every_third = players(lambda config, step: {"a": 1.0, "b": jnp.where(step % 3 == 0, 1.0, 0.0)}, bad)
    config = config_with(optimizer__name="adam", optimizer__learning_rate=0.1)
    step = jax.jit(lambda state: trial.update(every_third, config, state, BATCH)[0])
    states = [begin(every_third, config)]
    for _ in range(7):
        states.append(step(states[-1]))
    assert int(states[-1].status) == Status.RUNNING
    adam: Any = optax.adam(0.1)
    params: Any = START["b"]
    kept = adam.init(params)
    for number, (before, after) in enumerate(itertools.pairwise(states)):
        rests = number % 3 != 0
        assert same_bits((before.params["b"], before.optimizer[1]), (after.params["b"], after.optimizer[1])) == rests
        assert not same_bits(before.params["a"], after.params["a"])
        assert not same_bits(before.optimizer[0], after.optimizer[0])
        if not rests:
            added, kept = adam.update(slopes(number)["b"], kept, params)
            params = optax.apply_updates(params, added)
        np.testing.assert_allclose(after.params["b"], params, rtol=2e-6)


def test_a_pace_multiplies_the_rate_and_each_part_is_clipped_alone() -> None:
    task, config = players(lambda config, step: {"a": 0.5, "b": 2.0}), config_with(optimizer__clip_norm=2.5)
    new = trial.update(task, config, begin(task, config), BATCH)[0]
    # The first one's gradient has a norm of 5, the other's one of 3.
    np.testing.assert_allclose(new.params["a"]["kernel"], START["a"]["kernel"] - 0.5 * RATE * slopes(0)["a"]["kernel"] / 2)
    np.testing.assert_allclose(new.params["b"], START["b"] - 2 * RATE * slopes(0)["b"] * 2.5 / 3, rtol=1e-6)


def test_one_pace_may_be_of_all() -> None:
    task, config = players(lambda config, step: jnp.where(step < 1, 0.0, 1.0)), config_with()
    states = [begin(task, config)]
    for _ in range(2):
        states.append(trial.update(task, config, states[-1], BATCH)[0])
    assert same_bits((states[0].params, states[0].optimizer), (states[1].params, states[1].optimizer))
    jax.tree.map(
        lambda new, old, slope: np.testing.assert_allclose(new, old - RATE * slope, rtol=1e-6),
        states[2].params,
        START,
        slopes(1),
    )
