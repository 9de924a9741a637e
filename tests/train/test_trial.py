from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import loss_of, losses_of, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxgen.fields import override
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Windows
from jaxgen.tasks.names.loss import next_character
from jaxgen.train import trial
from jaxgen.train.functions import Functions
from jaxgen.train.objective import penalty
from jaxgen.train.optimizers import lower
from jaxgen.train.trial import Best, Status, TrialState

V = 7
TASK = next_character(V)


def rows(count: int, seed: int = 0) -> Any:
    source = np.random.default_rng(seed)
    windows = Windows(source.integers(0, V, (count, 3)).astype(np.int32), source.integers(0, V, count).astype(np.int32))
    return jax.tree.map(jnp.asarray, windows)


def start(config: Config) -> TrialState:
    return trial.init(TASK, config, trial.stream(config.seed, trial.Stream.START))


@pytest.fixture(scope="module")
def config(small: Config) -> Config:
    return lower(small, 1000)


def test_update_needs_a_lowered_config(small: Config) -> None:
    with pytest.raises(TypeError, match="lower"):
        start(small)


@pytest.mark.parametrize("count", [1, 3, 8, 9, 16, 20])
def test_evaluate_is_the_mean_over_every_row(count: int, config: Config) -> None:
    state, split = start(config), rows(count)
    wanted = np.asarray(losses_of(TASK, config, state.params, state.stats, split), np.float64).mean()
    np.testing.assert_allclose(trial.evaluate(TASK, config, state, split, chunk=8)["loss"], wanted, rtol=1e-6)


def test_batches_are_of_the_seed_and_the_step(config: Config) -> None:
    numbers = Windows(np.arange(3000, dtype=np.int32).reshape(1000, 3), np.arange(1000, dtype=np.int32))
    split = jax.tree.map(jnp.asarray, numbers)

    def batch(seed: int, step: int) -> Windows:
        return trial.draw(TASK, split, dataclasses.replace(config, seed=seed), jnp.asarray(step))

    first = batch(0, 0)
    assert first.ids.shape == (16, 3)
    np.testing.assert_array_equal(first.ids[:, 0], 3 * first.targets)  # ids and targets stay together
    assert same_bits(first, batch(0, 0))
    assert not same_bits(first, batch(0, 1))
    assert not same_bits(first, batch(1, 0))
    other = override(Config(), {"optimizer.learning_rate": 9.0, "train.batch_size": 16})
    assert same_bits(first, trial.draw(TASK, split, other, jnp.asarray(0)))  # common random numbers


def test_batches_reach_every_row_evenly(config: Config) -> None:
    split = jnp.arange(10)
    counts = sum(np.bincount(trial.draw(TASK, split, config, jnp.asarray(step)), minlength=10) for step in range(500))
    expected = 500 * 16 / 10
    chi_squared = ((np.asarray(counts) - expected) ** 2 / expected).sum()
    assert chi_squared < 27.9  # the 0.999 quantile at 9 degrees of freedom


@pytest.mark.parametrize("where", ["loss", "gradient", "stats"])
def test_a_step_that_is_not_finite_restores_everything(where: str, config: Config) -> None:
    poison = jnp.nan if where != "gradient" else 0.0

    def loss(config: Config, params: Any, stats: Any, batch: Any, key: jax.Array, step: Any) -> tuple[jax.Array, Any]:
        value, stats = loss_of(TASK, config, params, stats, batch, key)
        if where == "loss":
            value = value + poison
        if where == "gradient":  # a finite loss, 0, whose gradient is infinite
            value = value + jnp.sqrt(0.0 * jnp.sum(params["embedding"]["embedding"] ** 2))
        if where == "stats":
            stats = jax.tree.map(lambda x: x + poison, stats)
        return value[None], stats

    state = start(config)
    state = trial.update(TASK, config, state, rows(16))[0]  # so that there is something to lose
    bad, _ = trial.update(Functions(TASK.init, loss, TASK.score), config, state, rows(16, 1))
    assert int(bad.status) == Status.DIVERGED
    assert same_bits(bad._replace(status=state.status, flaw=state.flaw), state)
    name = trial.flaws(state)[int(bad.flaw)]
    first = {"loss": "loss", "gradient": "optimizer.", "stats": "stats."}[where]
    assert name.startswith(first), name
    again, _ = trial.update(TASK, config, bad, rows(16, 2))
    assert same_bits(again, bad)  # frozen for good


def test_an_update_past_the_budget_changes_nothing(small: Config) -> None:
    config = lower(override(small, {"train.steps": 2}), 1000)
    states = [start(config)]
    for step in range(3):
        states.append(trial.update(TASK, config, states[-1], rows(16, step))[0])
    assert not same_bits(states[1].params, states[2].params)
    assert same_bits(states[2], states[3])


def test_l2_adds_its_formula_and_its_gradient(config: Config) -> None:
    regularizer = dataclasses.replace(config.regularizer, l2=0.3)
    with_l2 = dataclasses.replace(config, regularizer=regularizer)
    params = start(config).params
    weights = [np.asarray(p, np.float64) for p in jax.tree.leaves(params) if p.ndim >= 2]
    np.testing.assert_allclose(penalty(with_l2, params), 0.15 * sum((w**2).sum() for w in weights), rtol=1e-6)
    grads = jax.grad(lambda p: jnp.asarray(penalty(with_l2, p)))(params)
    jax.tree.map(lambda g, p: np.testing.assert_allclose(g, 0.3 * p if p.ndim >= 2 else 0 * p, rtol=1e-6), grads, params)


def test_l2_and_decoupled_decay_agree_for_sgd_alone(small: Config) -> None:
    """For SGD they are one thing (Loshchilov and Hutter 2019, proposition 1), for Adam they are not (proposition 2)."""
    for name, equal in (("sgd", True), ("adam", False)):
        ends = []
        for key in ("regularizer.l2", "optimizer.weight_decay"):
            config = lower(override(small, {"optimizer.name": name, "optimizer.learning_rate": 0.1, key: 0.05}), 1000)
            state = start(config)
            for step in range(5):
                state = trial.update(TASK, config, state, rows(16, step))[0]
            ends.append(jax.tree.leaves(state.params))
        off = max(float(jnp.abs(a - b).max()) for a, b in zip(*ends, strict=True))
        assert (off < 1e-5) == equal


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0, float("nan"), float("inf")]), min_size=1, max_size=12),
    st.integers(0, 4),
    st.integers(1, 12),
)
def test_track_is_a_plain_loop_of_early_stopping(losses: list[float], patience: int, budget: int) -> None:
    config = override(Config(), {"train.patience": patience, "train.steps": budget})
    zero = jnp.zeros((), jnp.int32)
    best = Best(zero, jnp.asarray(jnp.inf), {"w": jnp.zeros(1)}, {}, zero)
    state = TrialState(zero, zero, {"w": jnp.zeros(1)}, {}, (), best, zero)
    status, best_step, lowest, waited = Status.RUNNING, 0, float("inf"), 0
    for step, loss in enumerate(losses, 1):
        if status == Status.RUNNING:
            state = state._replace(step=jnp.asarray(step, jnp.int32), params={"w": jnp.full(1, float(step))})
            waited += 1
            if loss < lowest:
                best_step, lowest, waited = step, loss, 0
            if not np.isfinite(loss):
                status = Status.DIVERGED
            elif patience and waited >= patience:
                status = Status.STOPPED  # with its last evaluation, too: a larger budget would change nothing
            elif step >= budget:
                status = Status.COMPLETED
        state = trial.track(config, state, jnp.asarray(loss, jnp.float32))
        assert int(state.status) == status
        assert int(state.best.step) == best_step
        assert float(state.best.params["w"][0]) == best_step
