"""What goes on inside a network as it trains: each layer's activations, gradients and updates."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxgen.config import Config
from jaxgen.train.functions import WHOLE, Functions
from jaxgen.train.optimizers import matrices
from jaxgen.train.trial import Stream, TrialState, descent, stream, updates

FLAT = 0.05  # of the activation function's steepest slope: below it a unit hardly learns
MEASURES = ("activation", "saturation", "gradient", "update")


def diagnose(task: Functions, config: Config, state: TrialState, batch: Any) -> dict[str, dict[str, jax.Array]]:
    """Layer -> measures of a state and its next step, on one batch in training mode.

    activation: standard deviation of what the layer gives, over batch, places and units; nan where it has no such function
    saturation: share of it where the activation function's slope is less than FLAT of its steepest; nan likewise
    gradient: Euclidean norm of the objective's gradient with respect to the layer's weights (two axes or more)
    update: root mean square of the update of the weights over that of the weights themselves
    """
    grads: Any = descent(task, config, state, batch)[2]
    added: Any = updates(task, config, state, grads)[0]
    before = task.before(config, state.params, state.stats, batch, stream(config.seed, Stream.NOISE, state.step))
    nothing = jnp.full((), jnp.nan)

    def of(layer: str) -> dict[str, jax.Array]:
        parts = (state.params, grads, added)
        weights, gradient, update = (_weights(tree if layer == WHOLE else tree[layer]) for tree in parts)
        size = jnp.maximum(_norm(weights), jnp.finfo(jnp.float32).tiny)
        found = {"activation": nothing, "saturation": nothing, "gradient": _norm(gradient), "update": _norm(update) / size}
        if layer in before:
            function, mean = before[layer].function, before[layer].mean
            given, steepest = function(before[layer].x), jnp.abs(slope(function, jnp.linspace(-4.0, 4.0, 4001))).max()
            flat = jnp.abs(slope(function, before[layer].x)) < FLAT * steepest
            found |= {"activation": jnp.sqrt(mean((given - mean(given)) ** 2)), "saturation": mean(flat.astype(jnp.float32))}
        return found

    return {layer: of(layer) for layer in task.layers(state.params)}


def slope(function: Any, x: jax.Array) -> jax.Array:
    """The derivative of a function of one number at each of `x`."""
    return jax.jvp(function, (x,), (jnp.ones_like(x),))[1]


def _weights(tree: Any) -> list[jax.Array]:
    return [w for w, used in zip(jax.tree.leaves(tree), jax.tree.leaves(matrices(tree)), strict=True) if used]


def _norm(weights: list[jax.Array]) -> jax.Array:
    return jnp.sqrt(sum((jnp.sum(w * w) for w in weights), jnp.zeros(())))
