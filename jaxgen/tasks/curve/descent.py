"""What curves are fitted by: objectives of what they are off, and directions that the bend of these says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxgen.config import Config
from jaxgen.train.functions import mean, weighed


def huber(off: jax.Array, delta: Any) -> jax.Array:
    """Half the square within `delta`, and beyond it a line of the same slope (Huber 1964): of each number (N,)."""
    size = jnp.abs(off)
    return jnp.where(size <= delta, off**2 / 2, delta * (size - delta / 2))


OBJECTIVES: Mapping[str, Callable[[jax.Array, Any], jax.Array]] = {
    "squared_error": lambda off, delta: off**2,
    "absolute_error": lambda off, delta: jnp.abs(off),
    "huber": huber,
}


def second_order(task: Any, config: Config, params: Any, stats: Any, batch: Any, key: Any, step: Any) -> tuple[Any, Any, Any]:
    """What a step goes along in place of the gradient: (the batch's losses, like params, new stats).

    newton: what the Hessian of the batch's mean loss makes the gradient of.
    gauss_newton: what 2 J^T J / B does, with J the Jacobian of the batch's outputs, in place of the Hessian of the mean squared
    error (Levenberg 1944).
    """
    flat, back = ravel_pytree(params)

    def of(flat: jax.Array) -> tuple[Any, Any]:
        return task.loss(config, back(flat), stats, batch, key, step)

    def total(flat: jax.Array) -> jax.Array:
        return mean(weighed(of(flat)[0]))

    def outputs(flat: jax.Array) -> jax.Array:
        return task.apply(config, back(flat), stats, batch[0], True, key)[0] / task.height[1]

    def product(along: jax.Array) -> jax.Array:
        if config.train.method == "newton":
            bent = jax.jvp(jax.grad(total), (flat,), (along,))[1]
        else:
            said, moved = jax.jvp(outputs, (flat,), (along,))
            bent = jax.vjp(outputs, flat)[1](2 * moved / len(said))[0]
        return bent + config.train.damping * along

    found, new = of(flat)
    return found, back(conjugate(product, jax.grad(total)(flat), config.train.inner)), new


def conjugate(product: Callable[[jax.Array], jax.Array], slope: jax.Array, count: int) -> jax.Array:
    """The slope (P,) divided by a symmetric matrix that is given by its products, (P,) -> (P,): `count` conjugate gradients.

    It ends before a direction along which the matrix bends down, so that what it gives leads down where the slope does; if that
    is the first one it is the slope itself (Nocedal and Wright 2006, algorithm 7.1). No matrix is made, and no library of
    linear algebra is called, which on a CPU several lanes' threads would wait for.
    """

    def further(place: Any, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        x, rest, along, going = carry
        bent, left = product(along), rest @ rest
        curve = along @ bent
        going = going & (curve > 0) & (left > 0)
        rate = jnp.where(going, left / jnp.where(curve > 0, curve, 1.0), 0.0)
        after = rest - rate * bent
        turned = after + after @ after / jnp.where(left > 0, left, 1.0) * along
        first = jnp.where(place == 0, slope, x)
        return jnp.where(going, x + rate * along, first), after, jnp.where(going, turned, along), going

    start = (jnp.zeros_like(slope), slope, slope, jnp.asarray(True))
    return jax.lax.fori_loop(0, count, further, start)[0]
