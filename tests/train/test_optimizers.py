from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import loss_of

from jaxgen.config import OPTIMIZERS, SCHEDULES, resolve
from jaxgen.fields import UserError, override
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus, Splits, split
from jaxgen.tasks.names.loss import next_character
from jaxgen.train.optimizers import clip_by_global_norm, lower, matrices, schedule, transformation
from jaxgen.train.trial import Stream, draw, init, stream, update

STEPS = 1000


def optax_chain(name: str, rate: Any) -> optax.GradientTransformation:
    """optax's own optimizer, at the coefficients that its author would write."""
    return {
        "sgd": lambda: optax.sgd(rate),
        "momentum": lambda: optax.sgd(rate, momentum=0.9),
        "nesterov": lambda: optax.sgd(rate, momentum=0.9, nesterov=True),
        "adagrad": lambda: optax.adagrad(rate),
        "rmsprop": lambda: optax.rmsprop(rate),
        "adam": lambda: optax.adam(rate),
        "adamw": lambda: optax.adamw(rate, weight_decay=0.01, mask=lambda params: jax.tree.map(lambda p: p.ndim >= 2, params)),
    }[name]()


@pytest.fixture(scope="module")
def splits(corpus: Corpus) -> Splits:
    return split(corpus, "rows", 42, 3)


@pytest.mark.parametrize(  # those whose rules have all there is: a look ahead, a sum of squares, both moments with decay
    "name", [pytest.param(n, marks=[pytest.mark.long] * (n not in ("nesterov", "adagrad", "adamw"))) for n in OPTIMIZERS]
)
def test_rule_follows_optax_on_a_training_run(name: str, splits: Splits, corpus: Corpus) -> None:
    """1,000 steps of a small network on real names, at the optimizer's own learning rate.

    Training is chaotic: a last bit grows. So the losses along both paths are compared over the first 100 steps to float32
    rounding, and each of the 1,000 steps is compared on its own: the rule's step from a state of optax's path is optax's.
    """
    values = {"optimizer.name": name, "model.hidden": 16, "model.depth": 1, "train.steps": STEPS}
    config = lower(override(Config(), values), len(splits.train.targets))
    task = next_character(len(corpus.vocabulary))
    theirs = optax_chain(name, OPTIMIZERS[name]["learning_rate"])
    start = init(task, config, stream(0, Stream.START))
    data = jax.tree.map(jnp.asarray, splits.train)

    def both(carry: Any, step: jax.Array) -> tuple[Any, Any]:
        ours, (params, stats, opened), own = carry
        batch, key = draw(task, data, config, step), stream(0, Stream.NOISE, step)
        ours, metrics = update(task, config, ours, batch)
        (loss, stats), grads = jax.value_and_grad(lambda p: loss_of(task, config, p, stats, batch, key), has_aux=True)(params)
        step_of_theirs, opened = theirs.update(grads, opened, params)
        step_of_ours, own = transformation(config.optimizer, step).update(grads, own, params)  # pyright: ignore[reportArgumentType]
        off = jax.tree.map(lambda a, b: jnp.abs(a - b).max() / jnp.abs(b).max(), step_of_ours, step_of_theirs)
        params = optax.apply_updates(params, step_of_theirs)
        return (ours, (params, stats, opened), own), (metrics["loss"], loss, jnp.stack(jax.tree.leaves(off)).max())

    carry = (start, (start.params, start.stats, theirs.init(start.params)), start.optimizer)
    (end, _, _), (ours, reference, off) = jax.jit(lambda c: jax.lax.scan(both, c, jnp.arange(STEPS)))(carry)
    assert int(end.step) == STEPS
    np.testing.assert_allclose(ours[:100], reference[:100], rtol=1e-4)
    # float32 rounds at 6e-8. optax's bias correction of Adam, 1 - b^t, is off by 2e-5 at first, and ours is not (below).
    assert float(off.max()) < (2e-5 if name.startswith("adam") else 5e-6)
    np.testing.assert_allclose(ours[-100:].mean(), reference[-100:].mean(), rtol=2e-3)
    assert float(ours[-100:].mean()) < float(ours[:10].mean()) - 0.2  # it did train


def adam_config(**values: Any) -> Config:
    keys = {f"optimizer.{key}": value for key, value in values.items()}
    return override(Config(), {"train.steps": 50, "train.batch_size": 10, **keys})


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_those_of_their_formula(name: str) -> None:
    config = resolve(adam_config(schedule=name, learning_rate=0.4, decay=0.5, drops=4, decay_rate=2.0))
    t = np.arange(50)
    steps: Any = optax.piecewise_constant_schedule(0.4, {10: 0.5, 20: 0.5, 30: 0.5, 40: 0.5})
    wanted = {
        "constant": np.full(50, 0.4),
        "steps": np.array([float(steps(i)) for i in range(50)]),
        "exponential": np.array(optax.exponential_decay(0.4, 50, 0.5)(t)),
        "inverse_time": 0.4 / (1 + 2.0 * (t * 10 / 200)),  # an epoch is 200 windows
        "cosine": np.array(optax.cosine_decay_schedule(0.4, 50)(t)),
    }[name]
    found = schedule(config, 200)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_cosine_with_warmup() -> None:
    config = resolve(adam_config(schedule="cosine", learning_rate=0.4, warmup=0.2))
    found = schedule(config, 200)
    np.testing.assert_allclose(found[:10], 0.4 * np.arange(1, 11) / 11, rtol=1e-6)
    np.testing.assert_allclose(found[10:], np.array(optax.cosine_decay_schedule(0.4, 40)(np.arange(40))), rtol=1e-5, atol=1e-7)


PARAMS = {"kernel": jnp.array([[1.0, -2.0], [3.0, 4.0]]), "scale": jnp.array([5.0, 6.0])}
GRADS = {"kernel": jnp.array([[3.0, 0.0], [0.0, 4.0]]), "scale": jnp.array([0.0, 12.0])}  # norm 13


def one_step(config: Config) -> Any:
    optimizer: Any = lower(config, 100).optimizer
    chain = transformation(optimizer, jnp.zeros((), jnp.int32))
    return chain.update(GRADS, chain.init(PARAMS), PARAMS)[0]


@pytest.mark.parametrize(("clip", "factor"), [(0.0, 1.0), (26.0, 1.0), (6.5, 0.5)])
def test_clipping_is_by_the_global_norm(clip: float, factor: float) -> None:
    step = one_step(adam_config(name="sgd", learning_rate=1.0, clip_norm=clip))
    jax.tree.map(lambda s, g: np.testing.assert_allclose(s, -factor * g, rtol=1e-6), step, GRADS)


def test_no_clipping_hands_on_even_what_has_an_infinite_norm() -> None:
    grads = jax.tree.map(lambda g: 1e30 * g, GRADS)
    link = clip_by_global_norm(0.0)
    jax.tree.map(np.testing.assert_array_equal, link.update(grads, link.init(PARAMS), PARAMS)[0], grads)


def test_decoupled_weight_decay_pulls_on_matrices_alone() -> None:
    step = one_step(adam_config(name="sgd", learning_rate=0.5, weight_decay=0.1))
    np.testing.assert_allclose(step["kernel"], -0.5 * (GRADS["kernel"] + 0.1 * PARAMS["kernel"]), rtol=1e-6)
    np.testing.assert_allclose(step["scale"], -0.5 * GRADS["scale"], rtol=1e-6)
    assert matrices(PARAMS) == {"kernel": True, "scale": False}


def several_steps(config: Config) -> list[Any]:
    """The steps of a chain whose gradient grows, (1, 2, 3) times GRADS."""
    optimizer: Any = lower(config, 100).optimizer
    chain = transformation(optimizer, jnp.zeros((), jnp.int32))
    state, steps = chain.init(PARAMS), []
    for times in (1.0, 2.0, 3.0):
        step, state = chain.update(jax.tree.map(lambda g, times=times: times * g, GRADS), state, PARAMS)
        steps.append(step)
    return steps


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("debias", [0.0, 1.0])
def test_moments_start_at_zero_and_are_corrected_for_it_or_not(name: str, debias: float) -> None:
    """Adam by its formulas (Kingma and Ba 2015, algorithm 1), with and without its lines 9 and 10."""
    values = {"learning_rate": 0.1, "b1": 0.8, "b2": 0.9, "eps": 1e-3, "debias": debias, "weight_decay": 0.0}
    found = several_steps(adam_config(name=name, **values))
    for leaf, gradient in GRADS.items():
        m = v = np.zeros(gradient.shape)
        for t, step in enumerate(found, 1):
            g = t * np.asarray(gradient, np.float64)
            m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
            first, second = (m / (1 - 0.8**t), v / (1 - 0.9**t)) if debias else (m, v)
            np.testing.assert_allclose(step[leaf], -0.1 * first / (np.sqrt(second) + 1e-3), rtol=2e-6)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_thousand_steps_are_those_of_double_precision(name: str) -> None:
    """Adam in float64 by its formulas (Kingma and Ba 2015, algorithm 1), on gradients that do not depend on where it is."""
    source = np.random.default_rng(0)
    grads = source.normal(size=(1000, 50)) + source.normal(size=50)
    optimizer: Any = lower(adam_config(name=name, learning_rate=1.0, weight_decay=0.0), 100).optimizer
    chain = transformation(optimizer, jnp.zeros((), jnp.int32))
    start = {"w": jnp.zeros(50)}

    def step(state: Any, grad: jax.Array) -> tuple[Any, jax.Array]:
        added: Any
        added, state = chain.update({"w": grad}, state, start)
        return state, added["w"]

    _, found = jax.jit(lambda g: jax.lax.scan(step, chain.init(start), g))(jnp.asarray(grads, jnp.float32))
    m = v = np.zeros(50)
    for t, grad in enumerate(np.asarray(grads, np.float32).astype(np.float64), 1):
        m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2
        wanted = -m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        # The float32 next to 0.999 is off by 1.3e-8, to the power of t by t times that, of which a root shows half.
        np.testing.assert_allclose(found[t - 1], wanted, rtol=1e-6 + 6.5e-9 * t, atol=1e-6)


@pytest.mark.parametrize("start", [0.0, 0.1, 5.0])
def test_the_sum_of_squares_starts_where_it_is_told(start: float) -> None:
    theirs = optax.adagrad(0.1, initial_accumulator_value=start)
    state = theirs.init(PARAMS)
    ours = several_steps(adam_config(name="adagrad", learning_rate=0.1, accumulator=start))
    for times, found in zip((1.0, 2.0, 3.0), ours, strict=True):
        wanted, state = theirs.update(jax.tree.map(lambda g, times=times: times * g, GRADS), state, PARAMS)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6), found, wanted)


def test_any_optax_optimizer_by_name_and_as_an_object() -> None:
    wanted = optax.lion(0.25).update(GRADS, optax.lion(0.25).init(PARAMS), PARAMS)[0]
    by_name = one_step(adam_config(name="optax.lion", learning_rate=0.25))
    config = adam_config(learning_rate=0.25)
    as_function = dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, chain=optax.lion))
    as_object = dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, chain=optax.lion(0.25)))
    for found in (by_name, one_step(as_function), one_step(as_object)):
        jax.tree.map(np.testing.assert_array_equal, found, wanted)


@pytest.mark.parametrize(
    "name", ["optax.lino", "optax.chain", "optax.clip", "optax.polyak_sgd", "optax.dpsgd", "optax.scale_by_learning_rate"]
)
def test_what_is_no_optimizer_of_optax_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"optax\.lion"):
        lower(adam_config(name=name), 100)


def test_rule_is_one_structure() -> None:
    lowered = [lower(adam_config(name=name, schedule=how), 100) for name in OPTIMIZERS for how in SCHEDULES]
    assert len({jax.tree.structure(config) for config in lowered}) == 1
