"""What regularizers add to the loss, draw by chance or hold back: against NumPy in float64, or counted."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from conftest import V, float64, loss_of, losses_of, network, only, same_bits

from jaxgen.config import resolve
from jaxgen.fields import override
from jaxgen.tasks.names import models
from jaxgen.tasks.names.config import NORMALIZATIONS, Config, RegularizerConfig
from jaxgen.tasks.names.data import Windows
from jaxgen.tasks.names.loss import cross_entropy, next_character, noised
from jaxgen.tasks.names.models.layers import jitter
from jaxgen.train import trial
from jaxgen.train.objective import constrain, penalty
from jaxgen.train.optimizers import lower

TASK = next_character(V)
FIELDS = [part.name for part in dataclasses.fields(RegularizerConfig)]

Term = Callable[[float, Any, str, reference.Network, Any], float]


def weights(params: Any) -> list[reference.Array]:
    return [p for p in jax.tree.leaves(params) if p.ndim >= 2]


def smoothing(strength: float, _: Any, __: str, out: reference.Network, targets: Any) -> float:
    """The cross-entropy to targets that share out some of their probability, less that to the targets."""
    log_p = out.logits - np.log(np.exp(out.logits).sum(1, keepdims=True))
    share = (1 - strength) * np.eye(V)[targets] + strength / V
    return float((reference.cross_entropy(out.logits, targets) * -1 - (share * log_p).sum(1)).mean())


# What a strength adds to the objective, from the parameters, the activation's name, the forward pass and the targets.
TERMS: Mapping[str, Term] = {
    "l2": lambda s, params, name, out, targets: s / 2 * sum(float((w**2).sum()) for w in weights(params)),
    "l1": lambda s, params, name, out, targets: s * sum(float(np.abs(w).sum()) for w in weights(params)),
    "activity": lambda s, params, name, out, targets: (
        s * sum(float((reference.activation(name, x) ** 2).mean()) for x in out.before.values())
    ),
    "label_smoothing": smoothing,
}
CHANCE = ("dropout", "dropout_last", "dropout_input", "noise", "augmentation")
CONSTRAINTS = ("max_norm",)


def test_every_regularizer_is_tested_here() -> None:
    assert sorted([*TERMS, *CHANCE, *CONSTRAINTS]) == sorted(FIELDS)


def objective(config: Config, params: Any, stats: Any, batch: Windows) -> jax.Array:
    return loss_of(TASK, config, params, stats, batch)[0] + penalty(config, params)


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize(("kind", "activation"), list(zip(NORMALIZATIONS, ["tanh", "relu", "gelu"], strict=True)))
def test_a_term_is_its_formula(name: str, kind: str, activation: str) -> None:
    """Its value, and its gradient by central differences in float64."""
    config, params, stats, batch = network(normalization=kind, activation=activation)
    strength = 0.3

    def added(tree: Any) -> float:
        out = reference.forward(tree, float64(stats), batch.ids, activation, kind, train=True)
        return TERMS[name](strength, tree, activation, out, batch.targets)

    def whole(values: Mapping[str, float]) -> Any:
        return jax.value_and_grad(lambda p: objective(only(config, **values), p, stats, batch))(params)

    (plain, slope), (total, slope_with) = whole({}), whole({name: strength})
    np.testing.assert_allclose(total - plain, added(float64(params)), rtol=2e-5, atol=1e-6)
    difference = jax.tree.map(lambda a, b: np.asarray(a, np.float64) - np.asarray(b, np.float64), slope_with, slope)
    reference.assert_gradient(added, float64(params), difference, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("name", FIELDS)
def test_nothing_acts_in_evaluation(name: str) -> None:
    config, params, stats, batch = network()
    plain = losses_of(TASK, only(config), params, stats, batch)
    assert same_bits(losses_of(TASK, only(config, **{name: 0.5}), params, stats, batch), plain)


@pytest.mark.parametrize("name", ["l2", "l1", "activity", "label_smoothing"])
def test_a_strength_of_zero_is_nothing_where_the_term_is_infinite(name: str) -> None:
    config, params, stats, batch = network(normalization="none", activation="relu")
    params["embedding"]["embedding"] *= 0.0  # so that the large weights and values, whose sums overflow, go no further
    params["hidden_0"]["linear"] = {"kernel": jnp.full((15, 13), 1e38), "bias": jnp.full(13, 1e20)}
    params["hidden_1"]["linear"]["kernel"] *= 0.0
    if name == "label_smoothing":
        params["output"]["linear"]["bias"] = jnp.where(jnp.arange(V) > 0, -3e38, 0.0)
        batch = batch._replace(targets=0 * batch.targets)

    def both(values: Mapping[str, float]) -> Any:
        return jax.value_and_grad(lambda p: objective(only(config, **values), p, stats, batch))(params)

    assert not np.isfinite(both({name: 0.5})[0])
    assert np.isfinite(both({})[0])
    assert same_bits(both({name: 0.0}), both({}))


def assert_share(events: Any, share: float) -> None:
    """Within four standard errors of how often something happens."""
    events = np.asarray(events)
    assert abs(events.mean() - share) <= 4 * np.sqrt(share * (1 - share) / events.size), (events.mean(), share)


ROWS, WIDTH = 3000, 12


def seen_through(depth: int, regularizer: RegularizerConfig) -> list[np.ndarray]:
    """What stands at each place in training: the embeddings, what goes into the first layer, what comes out of each.

    All of (ROWS, WIDTH), from a network of identities, so that each can be read off what the next layer gives.
    """
    shape = {"context": 3, "embedding": 4, "hidden": WIDTH, "depth": depth, "activation": "sigmoid", "normalization": "none"}
    config = override(Config(), {f"model.{key}": value for key, value in shape.items()})
    module = models.build(config.model, WIDTH)
    ids = jax.random.randint(jax.random.key(1), (ROWS, 3), 0, WIDTH)
    params: Any = module.init(jax.random.key(2), ids)["params"]
    for name in reference.order(params):
        params[name]["linear"] = {"kernel": jnp.eye(WIDTH), "bias": jnp.zeros(WIDTH)}
    streams, mutable = {"noise": jax.random.key(3)}, ["intermediates"]
    logits, changed = module.apply({"params": params}, ids, regularizer, rngs=streams, mutable=mutable)
    before = [changed["intermediates"][f"before_hidden_{layer}"][0] for layer in range(depth)]
    embedded = params["embedding"]["embedding"][ids].reshape(ROWS, WIDTH)
    return [np.asarray(x, np.float64) for x in (embedded, *before, logits)]


@pytest.mark.parametrize(
    ("first", "last", "rates"),
    [
        (0.1, 0.5, [0.1, 0.3, 0.5]),
        (0.4, 0.0, [0.4, 0.0]),
        (0.0, 0.6, [0.0, 0.2, 0.4, 0.6]),
        (0.3, 0.9, [0.3]),  # the first and the last hidden layer in one
        (0.2, None, [0.2, 0.2]),
    ],
)
def test_dropout_rates_lie_evenly_between_the_first_layer_and_the_last(
    first: float, last: float | None, rates: list[float]
) -> None:
    config = resolve(override(Config(), {"regularizer.dropout": first, "regularizer.dropout_last": last}))
    strengths = {"dropout": config.regularizer.dropout, "dropout_last": config.regularizer.dropout_last}
    _, *places = seen_through(len(rates), only(config, **strengths).regularizer)
    for rate, before, after in zip(rates, places[:-1], places[1:], strict=True):
        assert_share(after == 0, rate)
        kept = after != 0  # a sigmoid gives no zero of its own
        np.testing.assert_allclose(after[kept], reference.activation("sigmoid", before)[kept] / (1 - rate), rtol=1e-5)


def test_what_is_dropped_in_one_place_says_nothing_of_another() -> None:
    _, *places = seen_through(3, only(Config(), dropout=0.4, dropout_input=0.5).regularizer)
    rates = [0.5, 0.4, 0.2, 0.0]
    for (a, rate_a), (b, rate_b) in itertools.combinations(zip(places, rates, strict=True), 2):
        assert_share((a == 0) & (b == 0), rate_a * rate_b)


def test_dropout_of_the_embeddings() -> None:
    embedded, dropped = seen_through(0, only(Config(), dropout_input=0.3).regularizer)
    assert_share(dropped == 0, 0.3)
    np.testing.assert_allclose(dropped[dropped != 0], embedded[dropped != 0] / 0.7, rtol=1e-5)


def test_noise_is_normal_and_independent() -> None:
    deviation = 0.5
    embedded, noisy = seen_through(0, only(Config(), noise=deviation).regularizer)
    added = ((noisy - embedded) / deviation).ravel()
    error = 1 / np.sqrt(added.size)
    assert abs(added.mean()) < 4 * error
    assert abs(added.var() - 1) < 4 * np.sqrt(2) * error
    assert abs((added[1:] * added[:-1]).mean()) < 4 * error
    for reach, share in ((1, 0.6827), (2, 0.9545)):
        assert_share(np.abs(added) < reach, share)
    x = jnp.asarray([1.5, -0.0, 3e38])
    np.testing.assert_array_equal(jitter(x, 0.0, jax.random.key(0)), x)


@pytest.mark.parametrize("probability", [0.0, 0.2, 1.0])
def test_augmentation_takes_from_the_row_before_at_the_same_place(probability: float) -> None:
    ids = jnp.arange(4000 * 3).reshape(4000, 3)  # each names its row and its place
    found = np.asarray(noised(ids, probability, jax.random.key(0)))
    taken = found != ids
    np.testing.assert_array_equal(found, np.where(taken, np.roll(ids, 1, axis=0), ids))
    for place in range(3):
        assert_share(taken[:, place], probability)
    assert_share(taken[:, 0] & taken[:, 1], probability**2)  # character by character, not row by row


def test_augmentation_keeps_what_stands_at_each_place() -> None:
    """Every place has an alphabet of its own, with shares of its own, before and after."""
    source = np.random.default_rng(0)
    shares = source.dirichlet(np.ones(5), 3)
    ids = np.stack([5 * place + source.choice(5, 6000, p=p) for place, p in enumerate(shares)], axis=1)
    found = noised(jnp.asarray(ids), 0.5, jax.random.key(1))
    for place, p in enumerate(shares):
        for letter in range(5):
            assert_share(found[:, place] == 5 * place + letter, p[letter])


def test_augmentation_leaves_the_targets_alone() -> None:
    config, params, stats, batch = network()
    key = jax.random.key(0)
    found = loss_of(TASK, only(config, augmentation=1.0), params, stats, batch, key)
    rolled = Windows(np.roll(batch.ids, 1, axis=0), batch.targets)
    assert same_bits(found, loss_of(TASK, only(config), params, stats, rolled, key))
    assert same_bits(
        loss_of(TASK, only(config, augmentation=0.0), params, stats, batch, key),
        loss_of(TASK, only(config), params, stats, batch, key),
    )


def test_max_norm_shortens_the_columns_that_are_too_long() -> None:
    config, params, _, _ = network()
    most = 1.5
    kernel = np.array(params["hidden_0"]["linear"]["kernel"])
    lengths = np.linspace(0.0, 3.0, kernel.shape[1])
    kernel = (kernel / np.sqrt((kernel.astype(np.float64) ** 2).sum(0)) * lengths).astype(np.float32)
    params["hidden_0"]["linear"]["kernel"] = jnp.asarray(kernel)
    found: Any = constrain(only(config, max_norm=most), params)
    shortened = found["hidden_0"]["linear"]["kernel"]
    long = lengths > most + 1e-6
    assert 0 < long.sum() < len(long)
    np.testing.assert_array_equal(shortened[:, ~long], kernel[:, ~long])
    np.testing.assert_allclose(shortened[:, long], kernel[:, long].astype(np.float64) / lengths[long] * most, rtol=1e-6)
    for name in ("embedding", "hidden_0", "hidden_1", "output"):
        others = {key: value for key, value in found[name].items() if key != "linear"}
        assert same_bits(others, {key: value for key, value in params[name].items() if key != "linear"})
    assert same_bits(constrain(only(config, max_norm=0.0), params), params)


def test_max_norm_comes_after_the_step_and_leaves_the_optimizer_alone(small: Config) -> None:
    config = lower(override(small, {"optimizer.learning_rate": 0.3}), 100)
    _, _, _, batch = network()
    start = trial.init(TASK, config, jax.random.key(0))
    step = jax.jit(lambda most: trial.advance(TASK, only(config, max_norm=most), start, batch)[0])
    free, held = step(0.0), step(0.5)
    assert same_bits(held.optimizer, free.optimizer)
    assert not same_bits(held.params, free.params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        held.params,
        constrain(only(config, max_norm=0.5), free.params),
    )


def test_smoothing_spreads_over_the_whole_vocabulary() -> None:
    """By hand: three ids, the logits' softmax 1/2, 1/4, 1/4, 0.3 spread over all three."""
    logits = jnp.log(jnp.array([[2.0, 1.0, 1.0]]))
    wanted = 0.8 * np.log(2) + 2 * 0.1 * np.log(4)
    np.testing.assert_allclose(cross_entropy(logits, jnp.array([0]), 0.3), [wanted], rtol=1e-6)
