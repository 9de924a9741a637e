"""Pieces of networks: rows of a table, whose gradient is a sum on one device and a product on others."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from jaxgen.nn import SMALL, Embed, looked_up, multiplied, scattered


def rows(seed: int) -> tuple[Any, Any, Any]:
    source = np.random.default_rng(seed)
    table, ids = source.normal(size=(27, 5)), source.integers(0, 27, (32, 3))
    return table.astype(np.float32), ids.astype(np.int32), source.normal(size=(32, 3, 5)).astype(np.float32)


@pytest.mark.parametrize("gradient", [scattered, multiplied])
def test_slopes_of_a_row_are_summed(gradient: Any) -> None:
    table, ids, slope = rows(0)
    expected = np.zeros(table.shape)
    np.add.at(expected, ids, slope.astype(np.float64))
    np.testing.assert_allclose(gradient(*map(jnp.asarray, (table, ids, slope))), expected, rtol=1e-5, atol=1e-6)


def test_on_a_cpu_it_is_flaxs_to_the_bit() -> None:
    table, ids, slope = rows(1)
    params = {"params": {"embedding": jnp.asarray(table)}}

    def gradient(module: Any) -> Any:
        return jax.jit(jax.grad(lambda p: jnp.vdot(module.apply(p, ids), slope)))(params)["params"]["embedding"]

    ours, theirs = (gradient(kind(27, 5)) for kind in (Embed, linen.Embed))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("platform", "vocabulary", "scatters"), [("cpu", 27, True), ("cuda", 27, False), ("cuda", SMALL + 1, True)]
)
def test_a_gpu_adds_nothing_in_the_order_in_which_it_comes(platform: str, vocabulary: int, scatters: bool) -> None:
    """By the program for that platform, in a lane among others and in a branch, as the engine has it."""

    def gradient(table: Any, ids: Any) -> Any:
        return jax.grad(lambda t: jnp.sin(looked_up(t, ids)).sum())(table)

    def lanes(table: Any, ids: Any) -> Any:
        return jax.lax.cond(ids.any(), lambda: jax.vmap(gradient)(table, ids), lambda: table)

    shapes = jax.ShapeDtypeStruct((4, vocabulary, 5), jnp.float32), jax.ShapeDtypeStruct((4, 32), jnp.int32)
    text = jax.jit(lanes).trace(*shapes).lower(lowering_platforms=(platform,)).as_text()
    assert ("scatter" in text) == scatters
