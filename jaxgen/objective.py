"""What a trial minimises: the names task (cross-entropy of the next character), and penalties and constraints on any task."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgen import models
from jaxgen.config import Config
from jaxgen.corpus import BOUNDARY, Told
from jaxgen.models.layers import ACTIVATIONS, BEFORE
from jaxgen.models.on_counts import READER
from jaxgen.models.sequence import present
from jaxgen.optimizers import matrices


class Before(NamedTuple):
    """What goes into a layer's activation function."""

    x: jax.Array  # (..., H)
    counts: jax.Array | None = None  # (..., 1): at which places there is anything; None: at all

    def mean(self, values: jax.Array) -> jax.Array:
        """The mean of values like x over the places that count."""
        if self.counts is None:
            return values.mean()
        return jnp.where(self.counts, values, 0.0).sum() / (self.counts.sum() * values.shape[-1])


class Task(NamedTuple):
    """All that the trial functions know of a task. A split is any pytree of arrays that share their first axis, the rows.

    init: (config, key) -> (params, stats); the parameters of a layer stand together under its name
    loss: (config, params, stats, batch, key) -> (mean loss in training mode, the task's own regularizers in it, new stats)
    losses: (config, params, stats, rows) -> loss of each row in evaluation mode, (N,)
    before: (config, params, stats, batch, key) -> layer -> what goes into its activation function in training mode
    """

    init: Callable[[Config, jax.Array], tuple[Any, Any]]
    loss: Callable[[Config, Any, Any, Any, jax.Array], tuple[jax.Array, Any]]
    losses: Callable[[Config, Any, Any, Any], jax.Array]
    before: Callable[[Config, Any, Any, Any, jax.Array], dict[str, Before]] = lambda *_: {}


@functools.cache
def next_character(vocabulary: int) -> Task:
    """Learn the next id from the T before it: cross-entropy in nats a character, over a vocabulary of `vocabulary` ids.

    Rows are `corpus.Windows`: of one target each, or, to learn from, of one at each place (`corpus.sequences`). A batch's loss
    is the mean over its targets. Networks that stand on counts learn from `corpus.Told`; a trained one, whose statistics hold
    the tables, needs none.
    """

    def init(config: Config, key: jax.Array) -> tuple[Any, Any]:
        ids = jnp.zeros((1, config.model.context), jnp.int32)
        variables = models.build(config.model, vocabulary).init(key, ids)
        return variables["params"], variables.get("batch_stats", {})

    def train(config: Config, params: Any, stats: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        family, ids = models.FAMILIES[config.model.family], batch.ids
        if config.regularizer.augmentation is not None:
            other = noised(ids, config.regularizer.augmentation, jax.random.fold_in(key, 1))
            # Where a name begins says to a family of sequences how much of a window is there.
            ids = jnp.where((ids == BOUNDARY) | (other == BOUNDARY), ids, other) if family.sequences else other
        how = {"every": batch.targets.ndim > 1} if family.sequences else {}
        how |= {"said": batch.said} if config.model.counts else {}
        variables = {"params": params, "batch_stats": stats}
        module = models.build(config.model, vocabulary)
        mutable = ["batch_stats", "intermediates"]
        return module.apply(variables, ids, config.regularizer, **how, rngs={"noise": key}, mutable=mutable)

    def loss(config: Config, params: Any, stats: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        regularizer = config.regularizer
        every = batch.targets.ndim > 1
        logits, changed = train(config, params, stats, batch, key)
        found = cross_entropy(logits, jnp.maximum(batch.targets, 0), regularizer.label_smoothing)
        value = jnp.where(batch.targets >= 0, found, 0.0).sum() / (batch.targets >= 0).sum() if every else found.mean()
        if regularizer.activity is not None:
            function = ACTIVATIONS[config.model.activation]
            squares = [layer.mean(function(layer.x) ** 2) for layer in _before(changed, batch).values()]
            value += charged(regularizer.activity, sum(squares))
        return value, changed.get("batch_stats", {})

    def losses(config: Config, params: Any, stats: Any, rows: Any) -> jax.Array:
        variables = {"params": params, "batch_stats": stats}
        said = {"said": rows.said} if isinstance(rows, Told) else {}
        logits = models.build(config.model, vocabulary).apply(variables, rows.ids, **said)
        return cross_entropy(logits, rows.targets, None)  # pyright: ignore[reportArgumentType]

    def before(config: Config, params: Any, stats: Any, batch: Any, key: jax.Array) -> dict[str, Before]:
        _, changed = train(config, params, stats, batch, key)
        return _before(changed, batch)

    return Task(init, loss, losses, before)


def _before(changed: Any, batch: Any) -> dict[str, Before]:
    sown = changed.get("intermediates", {})
    counts = present(batch.ids)[..., None] if batch.targets.ndim > 1 else None
    return {name.removeprefix(BEFORE): Before(x, counts) for name, (x,) in sown.items() if name.startswith(BEFORE)}


def cross_entropy(logits: jax.Array, targets: jax.Array, smoothing: Any) -> jax.Array:
    """Nats a row, from logits (..., V) and targets (...,); `smoothing` of the target's probability is spread over all V."""
    exact = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    if smoothing is None:
        return exact
    smooth = (1 - smoothing) * exact - smoothing * jax.nn.log_softmax(logits).mean(-1)
    return jnp.where(jnp.asarray(smoothing) > 0, smooth, exact)


def noised(ids: jax.Array, probability: Any, key: jax.Array) -> jax.Array:
    """Ids (B, T), each with a probability that at its place in the row before: a draw from what stands there in training.

    Unigram noising (Xie et al. 2017, "Data noising as smoothing in neural network language models").
    """
    return jnp.where(jax.random.bernoulli(key, probability, ids.shape), jnp.roll(ids, 1, axis=0), ids)


def penalty(config: Config, params: Any) -> jax.Array | float:
    """What is added to any task's loss for its weights, the parameters with two axes or more.

    l2 / 2 * the sum of their squares, so that its gradient is l2 * w, as decoupled decay's is; l1 * the sum of their sizes.
    """
    weights = [p for p, used in zip(jax.tree.leaves(params), jax.tree.leaves(matrices(params)), strict=True) if used]
    total: jax.Array | float = 0.0
    if config.regularizer.l2 is not None:
        total += charged(config.regularizer.l2, sum(jnp.sum(w * w) for w in weights) / 2)
    if config.regularizer.l1 is not None:
        total += charged(config.regularizer.l1, sum(jnp.sum(jnp.abs(w)) for w in weights))
    return total


def charged(strength: Any, amount: Any) -> jax.Array:
    """`strength * amount`, and 0 at a strength of 0 even where the amount is infinite."""
    return jnp.where(jnp.asarray(strength) > 0, strength * amount, 0.0)


def constrain(config: Config, params: Any) -> Any:
    """Parameters after a step: a unit's incoming weights (a kernel's column) no longer than max_norm, if that is above 0."""
    most = config.regularizer.max_norm
    if most is None:
        return params

    def shorten(path: Any, p: jax.Array) -> jax.Array:
        if getattr(path[-1], "key", None) != "kernel":
            return p
        # A choice between product and sum keeps the compiler from rounding them together, here and not there.
        squares = jnp.where(jnp.asarray(most) > 0, p * p, 0.0)
        length = jnp.sqrt(jnp.sum(squares, axis=0, keepdims=True))
        return jnp.where((most > 0) & (length > most), p * (most / jnp.where(length > 0, length, 1.0)), p)

    return jax.tree_util.tree_map_with_path(shorten, params)


def layers(params: Any) -> list[str]:
    """The layers of a network, in the order in which data goes through them, as far as their names tell."""
    last = ("output", READER)
    return sorted(params, key=lambda name: (name in last and last.index(name) + 1, name != "embedding", len(name), name))


def hold(config: Config, step: jax.Array, old: Any, new: Any) -> Any:
    """Parameters after a step, the first train.freeze layers as they were before it, once pretraining is over.

    They are chosen after the sum, not their updates before it, which would round otherwise than in a program without this.
    """
    if config.train.freeze is None:
        return new
    begun = 0 if config.train.pretrain is None else config.train.pretrain
    frozen = {name: (step >= begun) & (place < config.train.freeze) for place, name in enumerate(layers(new))}
    return {name: jax.tree.map(lambda a, b, off=frozen[name]: jnp.where(off, a, b), old[name], new[name]) for name in new}
