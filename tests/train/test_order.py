"""Rows by epochs: each once an epoch, in an order that only the key and the epoch decide."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same_bits
from scipy import stats

from jaxgen import runs
from jaxgen.config import Config, config_of
from jaxgen.engine import lanes as engine
from jaxgen.engine.lanes import Ended
from jaxgen.engine.plan import Plan
from jaxgen.engine.programs import lengths, padded, prepare
from jaxgen.fields import UserError, override
from jaxgen.search.sweep import grid, groups
from jaxgen.tasks.names.data import Corpus
from jaxgen.tasks.rows import Splits
from jaxgen.train import order, trial
from jaxgen.train.functions import Functions
from jaxgen.train.optimizers import lower
from jaxgen.train.order import MOST, check, shuffled
from jaxgen.train.trial import Span, Stream, stream

pytestmark = pytest.mark.usefixtures("compiled_quickly")

KEY = jax.random.key(3)
in_epochs = jax.jit(order.in_epochs, static_argnums=2)  # else each of its operations is a program of its own


@functools.partial(jax.jit, static_argnames=("size", "steps"))
def batches(key: jax.Array, size: int, count: Any, steps: int) -> jax.Array:
    """The rows of the first batches: (steps, size)."""
    return jax.vmap(lambda step: in_epochs(key, step, size, count))(jnp.arange(steps))


@functools.partial(jax.jit, static_argnames=("epochs", "count"))
def orders(key: jax.Array, epochs: int, count: int) -> jax.Array:
    """The order of each of the first epochs: (epochs, count)."""
    places = jnp.arange(count)
    return jax.vmap(lambda epoch: jax.vmap(lambda place: shuffled(key, epoch, place, count))(places))(jnp.arange(epochs))


@pytest.mark.parametrize("size", [1, 3, 16])
@pytest.mark.parametrize("count", [1, 2, 5, 16, 63, 64, 65, 100])
def test_each_row_comes_once_an_epoch(size: int, count: int) -> None:
    """In batches that hold the end of one and the beginning of another, or several whole ones; and `count` may be traced."""
    epochs = 5
    found = np.asarray(batches(KEY, size, count, 500)).ravel()  # one program for all counts
    for epoch in range(epochs):
        assert sorted(found[epoch * count : (epoch + 1) * count]) == list(range(count))
    if count > 16:
        assert len({tuple(found[epoch * count : (epoch + 1) * count]) for epoch in range(epochs)}) == epochs


def test_the_order_is_of_the_key_and_the_step() -> None:
    found = np.asarray(batches(KEY, 4, 50, 30))
    for step in (0, 7, 12, 29):  # 12: the end of one epoch and the beginning of the next
        assert same_bits(in_epochs(KEY, jnp.asarray(step), 4, 50), found[step])
    assert same_bits(orders(KEY, 2, 50).ravel(), found.ravel()[:100])
    assert not same_bits(batches(jax.random.key(4), 4, 50, 30), found)


def test_a_batch_of_all_rows_is_all_rows() -> None:
    """As they stand, however many: their sum is the same in any order."""
    count = 50_285
    check(override(config_of()(), {"train.draw": "epochs", "train.batch_size": count, "train.steps": 100_000}), count)
    assert np.array_equal(order.in_epochs(KEY, jnp.asarray(3), count, count), np.arange(count))


def test_places_beyond_31_bits_are_counted_exactly() -> None:
    """A step's place among all is of more bits than a number of a program has; its epoch and its place there are not."""
    count, size, step = 40_000, 50_000, 3_000_017
    assert count * size < MOST < step * size
    found = in_epochs(KEY, jnp.asarray(step), size, count)
    there = jax.jit(lambda epoch, place: shuffled(KEY, epoch, place, count))
    for i in (0, 1, 12_345, size - 1):
        epoch, place = divmod(step * size + i, count)
        assert found[i] == there(jnp.asarray(epoch), jnp.asarray(place))


def assert_even(counts: np.ndarray, expected: float, freedom: int) -> None:
    """By chi-squared, at its 0.999 quantile."""
    assert counts.sum() == pytest.approx(expected * counts.size)
    assert ((counts - expected) ** 2 / expected).sum() < stats.chi2.ppf(0.999, freedom)


def test_every_order_of_few_rows_is_as_likely() -> None:
    epochs = 9600
    found = [tuple(order) for order in np.asarray(orders(KEY, epochs, 4)).tolist()]
    assert_even(np.array([found.count(order) for order in itertools.permutations(range(4))]), epochs / 24, 23)


def test_orders_are_even_and_odd_permutations_alike() -> None:
    """A Feistel network of the numbers alone, none of which it walks over, gives even ones only."""
    found = np.asarray(orders(KEY, 4000, 16))
    turned = [(found[:, i] > found[:, j]) for i, j in itertools.combinations(range(16), 2)]
    odd = np.sum(turned, axis=0) % 2
    assert_even(np.bincount(odd, minlength=2), 2000, 1)


@pytest.mark.parametrize("count", [10, 100])
def test_rows_stand_at_all_places_alike_and_beside_all_others(count: int) -> None:
    """Where a row stands, and which two begin an epoch."""
    epochs = 4000
    found = np.asarray(orders(KEY, epochs, count))
    places = np.stack([np.bincount(found[:, place], minlength=count) for place in range(count)])
    assert_even(places, epochs / count, (count - 1) ** 2)
    tens = found[:, :2] * 10 // count  # of the rows, in ten parts
    pairs = np.zeros((10, 10))
    np.add.at(pairs, (tens[:, 0], tens[:, 1]), 1)
    if count == 10:
        assert not np.diag(pairs).any()
        assert_even(pairs[~np.eye(10, dtype=bool)], epochs / 90, 89)
    else:
        expected = epochs * np.where(np.eye(10, dtype=bool), 10 * 9, 10 * 10) / (100 * 99)
        assert ((pairs - expected) ** 2 / expected).sum() < stats.chi2.ppf(0.999, 99)


def config_with(**values: Any) -> Config:
    return override(config_of()(), {f"train.{key}": value for key, value in values.items()})


@pytest.mark.parametrize(
    ("values", "count", "fits"),
    [
        ({"batch_size": 1_000_000, "steps": 1}, 2147, True),  # rows times batch
        ({"batch_size": 1_000_000, "steps": 1}, 2148, False),
        ({"batch_size": 64, "steps": 100_000_000}, 3, True),  # epochs: 2.133e9
        ({"batch_size": 65, "steps": 100_000_000}, 3, False),
    ],
)
def test_epochs_that_cannot_be_counted_are_refused(values: dict[str, int], count: int, fits: bool) -> None:
    check(config_with(**values), count)  # with replacement nothing is counted
    if fits:
        check(config_with(draw="epochs", **values), count)
    else:
        with pytest.raises(UserError, match=r"train\.draw is 'epochs'.*; give a smaller train\.batch_size"):
            check(config_with(draw="epochs", **values), count)


def test_a_run_of_such_epochs_is_refused_before_anything_is_written(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    values = {"train.draw": "epochs", "train.batch_size": 1_000_000, "train.steps": 1}
    with pytest.raises(UserError, match=r"train\.draw is 'epochs'"):
        runs.run([override(small, values)], corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_trial_draws_by_epochs_first_of_the_source_and_then_of_its_own() -> None:
    """Each by epochs of its own, that begin with the first step; some rows may lie between them, which are not there."""
    own, other, early, size = Span(2, 10), Span(20, 6), 7, 4
    config = lower(config_with(draw="epochs", pretrain=early, batch_size=size, steps=50), 10)
    draw = jax.jit(jax.vmap(lambda step, seed: trial.rows(with_seed(config, seed), own, step, other), (0, None)))
    found = np.asarray(draw(jnp.arange(early + 15), 5))
    for part, span, step in ((found[:early], other, 0), (found[early:], own, early)):
        rows = part.ravel()
        for epoch in range(rows.size // span.count):
            whole = rows[epoch * span.count : (epoch + 1) * span.count]
            assert sorted(whole) == list(range(span.first, span.first + span.count)), (step, epoch)
    key = stream(5, Stream.EPOCHS)
    assert same_bits(found[:early], other.first + batches(key, size, other.count, early))
    assert same_bits(found[early:], own.first + batches(key, size, own.count, 15))
    assert not same_bits(draw(jnp.arange(early + 15), 6), found)
    alone = jax.jit(jax.vmap(lambda step: trial.rows(with_seed(config, 5), own, step)))(jnp.arange(15))
    assert same_bits(alone, found[early:])  # without a source there is nothing to begin with


def with_seed(config: Config, seed: Any) -> Config:
    return dataclasses.replace(config, seed=seed)


ROWS = 10


def noting() -> Functions:
    """Its statistics count how often each row was seen, and its loss falls with every step."""

    def loss(config: Config, params: Any, stats: Any, batch: Any, key: Any, step: Any) -> tuple[Any, Any]:
        return -params["w"] + 0.0 * batch, {"seen": stats["seen"].at[batch].add(1)}

    return Functions(
        lambda config, key: ({"w": jnp.zeros(())}, {"seen": jnp.zeros(ROWS + 5)}),
        loss,
        lambda config, params, stats, rows, keys: {"loss": -params["w"] + 0.0 * rows},
    )


@pytest.mark.parametrize("longer", [False, True])
def test_lanes_see_each_row_as_often(longer: bool) -> None:
    """By the engine's own programs, through strides and segments, and where arrays are longer than their rows are many."""
    base = config_with(draw="epochs", batch_size=4, steps=25, eval_every=10)
    base = override(base, {"optimizer.name": "sgd"})
    (group,) = groups(grid(base, {"seed": [0, 1], "train.steps": [25, 10]}), lambda config: ROWS)
    rows = np.arange(ROWS, dtype=np.int32)
    data = prepare(Splits(rows, rows))
    if longer:
        data = padded(data, {name: count + 5 for name, count in lengths(data).items()})
    ended = [event for event in engine.train(noting(), data, group, Plan(1, 4, 4)) if isinstance(event, Ended)]
    assert sorted((end.trial, end.best_step) for end in ended) == [(0, 25), (1, 10), (2, 25), (3, 10)]
    for end in ended:
        np.testing.assert_array_equal(end.stats["seen"], [end.steps * 4 / ROWS] * ROWS + [0] * 5)
