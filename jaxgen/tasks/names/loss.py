"""What a network of names minimises: the cross-entropy of the next character."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from jaxgen.config import Config
from jaxgen.tasks.names import models
from jaxgen.tasks.names.data import BOUNDARY, Told
from jaxgen.tasks.names.models.layers import ACTIVATIONS, BEFORE
from jaxgen.tasks.names.models.on_counts import READER
from jaxgen.tasks.names.models.sequence import present
from jaxgen.train.functions import Before, Functions, Weighed
from jaxgen.train.objective import charged


@functools.cache
def next_character(vocabulary: int) -> Functions:
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

    def loss(config: Config, params: Any, stats: Any, batch: Any, key: jax.Array, step: Any) -> tuple[Weighed, Any]:
        regularizer = config.regularizer
        every = batch.targets.ndim > 1
        logits, changed = train(config, params, stats, batch, key)
        found = cross_entropy(logits, jnp.maximum(batch.targets, 0), regularizer.label_smoothing)
        penalty = None
        if regularizer.activity is not None:
            function = ACTIVATIONS[config.model.activation]
            squares = [layer.mean(function(layer.x) ** 2) for layer in _before(changed, batch).values()]
            penalty = charged(regularizer.activity, sum(squares))
        return Weighed(found, batch.targets >= 0 if every else None, penalty), changed.get("batch_stats", {})

    def score(config: Config, params: Any, stats: Any, rows: Any, keys: Any) -> dict[str, jax.Array]:
        variables = {"params": params, "batch_stats": stats}
        said = {"said": rows.said} if isinstance(rows, Told) else {}
        logits = models.build(config.model, vocabulary).apply(variables, rows.ids, **said)
        return {"loss": cross_entropy(logits, rows.targets, None)}  # pyright: ignore[reportArgumentType]

    def before(config: Config, params: Any, stats: Any, batch: Any, key: jax.Array) -> dict[str, Before]:
        _, changed = train(config, params, stats, batch, key)
        function = ACTIVATIONS[config.model.activation]
        return {name: found._replace(function=function) for name, found in _before(changed, batch).items()}

    return Functions(init, loss, score, before=before, layers=layers)


def layers(params: Any) -> list[str]:
    """The layers of a network, in the order in which data goes through them, as far as their names tell."""
    last = ("output", READER)
    return sorted(params, key=lambda name: (name in last and last.index(name) + 1, name != "embedding", len(name), name))


def _before(changed: Any, batch: Any) -> dict[str, Before]:
    sown = changed.get("intermediates", {})
    counts = present(batch.ids)[..., None] if batch.targets.ndim > 1 else None
    return {name.removeprefix(BEFORE): Before(x, counts) for name, (x,) in sown.items() if name.startswith(BEFORE)}


def cross_entropy(logits: Float[Any, "*rows ids"], targets: Int[Any, "*rows"], smoothing: Any) -> Float[Any, "*rows"]:
    """Nats a row, from logits (..., V) and targets (...,); `smoothing` of the target's probability is spread over all V."""
    exact = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    if smoothing is None:
        return exact
    smooth = (1 - smoothing) * exact - smoothing * jax.nn.log_softmax(logits).mean(-1)
    return jnp.where(jnp.asarray(smoothing) > 0, smooth, exact)


def noised(ids: Int[Any, "rows context"], probability: Any, key: Any) -> Int[Any, "rows context"]:
    """Ids (B, T), each with a probability that at its place in the row before: a draw from what stands there in training.

    Unigram noising (Xie et al. 2017, "Data noising as smoothing in neural network language models").
    """
    return jnp.where(jax.random.bernoulli(key, probability, ids.shape), jnp.roll(ids, 1, axis=0), ids)
