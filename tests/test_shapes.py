"""Shapes that stand in types are checked here, so that an annotation that lies is found."""

from __future__ import annotations

import importlib

import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError
from shapes import CHECKED

from jaxgen.tasks import measures
from jaxgen.train import functions


@pytest.mark.parametrize("name", CHECKED)
def test_a_module_that_is_to_be_checked_is(name: str) -> None:
    spec = importlib.import_module(name).__spec__
    assert spec is not None
    assert type(spec.loader).__module__.startswith("jaxtyping")


def test_other_shapes_are_refused() -> None:
    with pytest.raises(TypeCheckError):
        measures.squared_error(jnp.zeros((), jnp.int32), jnp.zeros(3))  # whole numbers are no outputs
    with pytest.raises(TypeCheckError):
        functions.sums(functions.Weighed(jnp.zeros(3)), jnp.zeros(3))  # counts are booleans
