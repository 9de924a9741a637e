from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from jaxgen import models
from jaxgen.config import ACTIVATIONS, INITIALIZATIONS, NORMALIZATIONS, Config, ModelConfig, override
from jaxgen.corpus import Windows
from jaxgen.models.layers import drop
from jaxgen.objective import next_character

V, B = 11, 24


def make(seed: int = 0, **values: Any) -> tuple[Config, Any, Any, Windows]:
    small = {"embedding": 5, "hidden": 13, "depth": 2, **values}
    config = override(Config(), {f"model.{key}": value for key, value in small.items()} | {"seed": seed})
    params, stats = next_character(V).init(config, jax.random.key(seed))
    source = np.random.default_rng(seed)
    # Away from the start, where scales are 1, biases 0 and running statistics 0 and 1: those would hide mistakes.
    params = jax.tree.map(lambda p: p + 0.3 * source.normal(size=p.shape).astype(np.float32), params)
    stats = jax.tree.map(lambda s: jnp.abs(s + 0.5 * source.normal(size=s.shape).astype(np.float32)) + 0.1, stats)
    ids = source.integers(0, V, (B, config.model.context)).astype(np.int32)
    return config, params, stats, Windows(ids, source.integers(0, V, B).astype(np.int32))


def float64(tree: Any) -> Any:
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def without_noise(config: Config) -> Config:
    import dataclasses

    regularizer: Any = dataclasses.replace(config.regularizer, dropout=None, l2=None)  # pyright: ignore[reportArgumentType]
    return dataclasses.replace(config, regularizer=regularizer)


@pytest.mark.parametrize(("vocabulary", "count"), [(88, 53_856), (27, 47_024)])
def test_parameters_of_the_course_network(vocabulary: int, count: int) -> None:
    params, _ = next_character(vocabulary).init(Config(), jax.random.key(0))
    assert sum(p.size for p in jax.tree.leaves(params)) == count


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_forward_agrees_with_numpy(name: str, kind: str) -> None:
    config, params, stats, batch = make(activation=name, normalization=kind)
    config, task = without_noise(config), next_character(V)
    loss, new = task.loss(config, params, stats, batch, jax.random.key(0))
    logits, seen = reference.forward(float64(params), float64(stats), batch.ids, name, kind, train=True)
    np.testing.assert_allclose(loss, reference.cross_entropy(logits, batch.targets).mean(), rtol=2e-6)
    for layer, batch_stats in seen.items():
        for which, value in batch_stats.items():  # running = 0.9 running + 0.1 batch
            wanted = 0.9 * float64(stats)[layer]["norm"][which] + 0.1 * value
            np.testing.assert_allclose(new[layer]["norm"][which], wanted, rtol=1e-5, atol=1e-6)
    losses = task.losses(config, params, stats, batch)
    logits, _ = reference.forward(float64(params), float64(stats), batch.ids, name, kind, train=False)
    np.testing.assert_allclose(losses, reference.cross_entropy(logits, batch.targets), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_gradients_agree_with_finite_differences_in_float64(name: str, kind: str) -> None:
    config, params, stats, batch = make(activation=name, normalization=kind)
    config, task = without_noise(config), next_character(V)
    grads: Any = jax.grad(lambda p: task.loss(config, p, stats, batch, jax.random.key(0))[0])(params)
    exact, source, step = float64(params), np.random.default_rng(1), 1e-6

    def loss(tree: Any) -> float:
        logits, _ = reference.forward(tree, float64(stats), batch.ids, name, kind, train=True)
        return float(reference.cross_entropy(logits, batch.targets).mean())

    # Central differences along random directions in every leaf; relu's corner is 1e-6 wide and is not met here.
    leaves, tree = jax.tree.flatten(exact)
    for i, leaf in enumerate(leaves):
        direction = source.normal(size=leaf.shape)
        ends = [loss(jax.tree.unflatten(tree, [*leaves[:i], leaf + s * step * direction, *leaves[i + 1 :]])) for s in (1, -1)]
        wanted = (ends[0] - ends[1]) / (2 * step)
        found = float((np.asarray(jax.tree.leaves(grads)[i], np.float64) * direction).sum())
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("kind", NORMALIZATIONS)
@pytest.mark.parametrize("init", INITIALIZATIONS)
def test_loss_at_the_start_is_near_that_of_a_guess(name: str, kind: str, init: str) -> None:
    if kind == "none" and init == "normal":
        return  # weights of N(0, 1) and nothing that normalizes: the exploding case that the course shows
    values = {"model.activation": name, "model.normalization": kind, "model.init": init, "model.hidden": 50}
    config, task = override(Config(), values), next_character(27)
    params, stats = task.init(config, jax.random.key(3))
    source = np.random.default_rng(0)
    batch = Windows(source.integers(0, 27, (256, 3)).astype(np.int32), source.integers(0, 27, 256).astype(np.int32))
    loss, _ = task.loss(without_noise(config), params, stats, batch, jax.random.key(0))
    assert abs(float(loss) - math.log(27)) < 0.05


@pytest.mark.parametrize(("init", "variance"), [("zero", 0.0), ("normal", 1.0), ("xavier", 2 / (300 + 200)), ("he", 2 / 300)])
def test_initializations_have_the_variance_of_their_formula(init: str, variance: float) -> None:
    model = models.build(ModelConfig(context=30, embedding=10, hidden=200, depth=1, init=init), 5)
    variables: Any = model.init(jax.random.key(0), jnp.zeros((1, 30), jnp.int32))
    kernel = variables["params"]["hidden_0"]["linear"]["kernel"]
    assert kernel.shape == (300, 200)
    np.testing.assert_allclose(kernel.var(), variance, rtol=0.02)  # 60,000 draws: standard error 0.6 %


def test_dropout_keeps_the_mean_and_the_rate() -> None:
    x = jnp.full((1000, 100), 2.0)
    dropped = drop(x, 0.3, jax.random.key(0))
    kept = np.asarray(dropped) != 0
    np.testing.assert_allclose(kept.mean(), 0.7, atol=0.005)  # standard error 0.0014
    np.testing.assert_allclose(np.asarray(dropped)[kept], 2.0 / 0.7, rtol=1e-6)
    np.testing.assert_array_equal(drop(x, 0.0, jax.random.key(0)), x)


def test_dropout_acts_in_training_only() -> None:
    config, params, stats, batch = make()
    task = next_character(V)
    losses = [
        float(task.loss(override(config, {"regularizer.dropout": p}), params, stats, batch, jax.random.key(0))[0])
        for p in (0.0, 0.5)
    ]
    assert losses[0] != losses[1]
    evaluated = [task.losses(override(config, {"regularizer.dropout": p}), params, stats, batch) for p in (0.0, 0.5)]
    np.testing.assert_array_equal(evaluated[0], evaluated[1])
