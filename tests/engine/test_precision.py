"""Products are full ones on every device, unless JAX was told otherwise; on a CPU programs are as they were."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from jaxgen.engine import precision
from jaxgen.engine.precision import chosen, precisely

ONE = jnp.ones((2, 2))


@pytest.fixture(autouse=True)
def untold() -> Any:
    with jax.default_matmul_precision(None):  # pyright: ignore[reportArgumentType]  (as it is by itself)
        yield


def product(x: Any) -> Any:
    return x @ x


@pytest.mark.parametrize(("platform", "told"), [("cpu", "None"), ("gpu", "HIGHEST"), ("tpu", "HIGHEST")])
def test_accelerators_multiply_in_full(platform: str, told: str) -> None:
    text = str(jax.make_jaxpr(precisely(product, platform))(ONE))
    assert ("HIGHEST" in text) == (told == "HIGHEST")
    if platform == "cpu":
        assert text == str(jax.make_jaxpr(product)(ONE))


def test_what_jax_was_told_is_kept() -> None:
    assert chosen() == precision.FULL
    with jax.default_matmul_precision("bfloat16"):
        assert chosen() == "bfloat16"
        assert str(jax.make_jaxpr(precisely(product, "gpu"))(ONE)) == str(jax.make_jaxpr(product)(ONE))


def test_a_function_keeps_its_signature() -> None:
    """By which `jit` finds what is static and what is given away."""

    @functools.partial(jax.jit, static_argnames="times", donate_argnames="x")
    @precisely
    def scaled(x: Any, times: int) -> Any:
        return times * x

    assert float(scaled(jnp.ones(()), times=3)) == 3
