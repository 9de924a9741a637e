from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from conftest import V, float64, loss_of, losses_of, network, only, same_bits
from flax import linen as nn

from jaxgen.fields import override
from jaxgen.search.sweep import grid
from jaxgen.tasks.names import models
from jaxgen.tasks.names.config import ACTIVATIONS, INITIALIZATIONS, NORMALIZATIONS, Config, Initialization, ModelConfig
from jaxgen.tasks.names.data import Windows
from jaxgen.tasks.names.loss import next_character
from jaxgen.tasks.names.models.layers import EPSILON, LayerNorm, drop
from jaxgen.train.optimizers import lower


@pytest.mark.parametrize(("vocabulary", "count"), [(88, 53_856), (27, 47_024)])
def test_parameters_of_the_course_network(vocabulary: int, count: int) -> None:
    params, _ = next_character(vocabulary).init(Config(), jax.random.key(0))
    assert sum(p.size for p in jax.tree.leaves(params)) == count


PLAIN = [(kind, name, {}) for kind in NORMALIZATIONS for name in ACTIVATIONS]
NARROW, EVEN = {"residual": True}, {"residual": True, "depth": 3, "hidden": 15}  # 15: as wide as what goes in
CASES = [*PLAIN, *((kind, "tanh", shape) for kind in NORMALIZATIONS for shape in (NARROW, EVEN))]


@pytest.mark.parametrize(("kind", "name", "shape"), CASES, ids=str)
def test_forward_agrees_with_numpy(kind: str, name: str, shape: dict[str, Any]) -> None:
    config, params, stats, batch = network(activation=name, normalization=kind, batch_momentum=0.7, **shape)
    config, task, residual = only(config), next_character(V), config.model.residual
    loss, new = loss_of(task, config, params, stats, batch)
    out = reference.forward(float64(params), float64(stats), batch.ids, name, kind, train=True, residual=residual)
    np.testing.assert_allclose(loss, reference.cross_entropy(out.logits, batch.targets).mean(), rtol=2e-6)
    for layer, batch_stats in out.seen.items():
        for which, value in batch_stats.items():  # running = 0.7 running + 0.3 batch
            wanted = 0.7 * float64(stats)[layer]["norm"][which] + 0.3 * value
            np.testing.assert_allclose(new[layer]["norm"][which], wanted, rtol=1e-5, atol=1e-6)
    losses = losses_of(task, config, params, stats, batch)
    out = reference.forward(float64(params), float64(stats), batch.ids, name, kind, train=False, residual=residual)
    np.testing.assert_allclose(losses, reference.cross_entropy(out.logits, batch.targets), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "name", "shape"), CASES, ids=str)
def test_gradients_agree_with_finite_differences_in_float64(kind: str, name: str, shape: dict[str, Any]) -> None:
    config, params, stats, batch = network(activation=name, normalization=kind, **shape)
    task, residual = next_character(V), config.model.residual
    grads: Any = jax.grad(lambda p: loss_of(task, only(config), p, stats, batch)[0])(params)

    def loss(tree: Any) -> float:
        out = reference.forward(tree, float64(stats), batch.ids, name, kind, train=True, residual=residual)
        return float(reference.cross_entropy(out.logits, batch.targets).mean())

    reference.assert_gradient(loss, float64(params), grads, rtol=2e-4, atol=2e-6)


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
    loss, _ = loss_of(task, only(config), params, stats, batch)
    assert abs(float(loss) - math.log(27)) < 0.05


@pytest.mark.parametrize(("init", "variance"), [("zero", 0.0), ("normal", 1.0), ("xavier", 2 / (300 + 200)), ("he", 2 / 300)])
def test_initializations_have_the_variance_of_their_formula(init: Initialization, variance: float) -> None:
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
    config, params, stats, batch = network()
    task = next_character(V)
    losses = [float(loss_of(task, override(config, {"regularizer.dropout": p}), params, stats, batch)[0]) for p in (0.0, 0.5)]
    assert losses[0] != losses[1]
    evaluated = [losses_of(task, override(config, {"regularizer.dropout": p}), params, stats, batch) for p in (0.0, 0.5)]
    np.testing.assert_array_equal(evaluated[0], evaluated[1])


@pytest.mark.parametrize("shape", [(6, 13), (2, 3, 13)])
def test_layer_normalization_is_flaxs_to_the_gradient(shape: tuple[int, ...]) -> None:
    """Values and gradients, of rows whose mean is far from 0 and whose scales differ."""
    source = np.random.default_rng(0)
    x = (5 + source.normal(size=shape) * source.uniform(0.1, 9, shape)).astype(np.float32)
    weights, slope = source.normal(size=(2, 13)).astype(np.float32), source.normal(size=shape).astype(np.float32)
    names = nn.LayerNorm(epsilon=EPSILON, use_fast_variance=False), LayerNorm()

    def total(which: Any, params: Any, x: jax.Array) -> jax.Array:
        return (which.apply({"params": dict(zip(("scale", "bias"), params, strict=True))}, x) * slope).sum()

    wanted, found = (jax.value_and_grad(functools.partial(total, which), (0, 1))(weights, x) for which in names)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_running_statistics_are_an_average_that_forgets(momentum: float) -> None:
    """Over several steps, whose batches differ; at 0 they are the last batch's, to the bit."""
    config, params, stats, batch = network(batch_momentum=momentum, depth=1)
    task, wanted = next_character(V), float64(stats)["hidden_0"]["norm"]
    for step in range(4):
        ids = np.roll(batch.ids, step, axis=1)
        _, stats = loss_of(task, only(config), params, stats, batch._replace(ids=ids))
        out = reference.forward(float64(params), None, ids, "tanh", "batchnorm", train=True)
        wanted = {which: momentum * wanted[which] + (1 - momentum) * value for which, value in out.seen["hidden_0"].items()}
    for which, value in wanted.items():
        np.testing.assert_allclose(stats["hidden_0"]["norm"][which], value, rtol=2e-6, atol=1e-6)


def test_init_scale_multiplies_the_weights_of_the_hidden_layers() -> None:
    params = [network(normalization="none", init_scale=scale, away=0.0)[1] for scale in (1.0, 0.3)]
    for name in ("hidden_0", "hidden_1"):
        kernels = [p[name]["linear"].pop("kernel") for p in params]
        np.testing.assert_array_equal(kernels[1], np.float32(0.3) * kernels[0])
    assert same_bits(*params)


def test_options_that_are_numbers_share_a_program(small: Config) -> None:
    axes = {"model.init_scale": [0.5, 2.0], "model.batch_momentum": [0.5, 0.9], "optimizer.name": ["adam"]}
    configs = [lower(config, 100) for config in grid(small, axes | {"optimizer.debias": [0.0, 1.0]})]
    configs += [lower(override(small, {"optimizer.name": "adagrad", "optimizer.accumulator": 0.5}), 100)]
    assert len({jax.tree.structure(config) for config in configs}) == 1
    assert jax.tree.structure(lower(override(small, {"model.residual": True}), 100)) != jax.tree.structure(configs[0])
