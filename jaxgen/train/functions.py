"""What one trial knows of its task: pure functions of one lane, and numbers of rows with their weights.

A split is any pytree of arrays that share their first axis, the rows. What is said of rows is said of each, with a weight:
means are taken in one place, so that padding, a short last chunk or another chunk changes no figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Num, Shaped

WHOLE = "all"  # the one layer of parameters that are no dictionary


class Weighed(NamedTuple):
    """A number of each row, and what each counts.

    values: (N, ...), of each row, or of each of its places
    weights: like `values`, numbers or booleans; None: all count alike
    penalty: (), what a loss adds to the mean of its rows, such as a regularizer of the task's own
    root: whether a metric is the root of the mean, as that of squares is

    Examples:
      >>> def loss(self, config, params, stats, batch, key, step):
      ...     misses, counts = (batch["x"] - params["guess"]) ** 2, batch["there"]
      ...     return jaxgen.Weighed(misses, counts), stats
    """

    values: Num[Array, "rows ..."]
    weights: Shaped[Array, "rows ..."] | None = None
    penalty: Num[Array, ""] | float | None = None
    root: bool = False


def weighed(found: Any) -> Weighed:
    """What a task's function said of rows: `Weighed`, a pair of values and weights, or values alone."""
    if isinstance(found, Weighed):
        return found
    return Weighed(*found) if isinstance(found, tuple) else Weighed(found)


def sums(found: Weighed, counts: Bool[Array, " rows"] | None = None) -> tuple[Num[Array, ""], Num[Array, ""] | int]:
    """The weighted sum of the values and the sum of the weights.

    Args:
      counts: (N,), which rows are there; None: all. What the others hold changes nothing, be it infinite.
    """
    values, weights = found.values, found.weights
    if counts is not None:
        here = counts.reshape(-1, *(1,) * (values.ndim - 1))
        weights = here if weights is None else jnp.where(here, weights, jnp.zeros((), weights.dtype))
    if weights is None:
        return values.sum(), values.size
    held = jnp.where(weights if weights.dtype == bool else weights != 0, values, 0.0)
    if weights.dtype == bool:
        return held.sum(), jnp.broadcast_to(weights, values.shape).sum()
    return (held * weights).sum(), jnp.broadcast_to(weights, values.shape).sum()


def mean(found: Weighed) -> Num[Array, ""]:
    """The weighted mean of a batch's values, and the penalty; 0 where nothing has a weight."""
    if found.weights is None:
        average = found.values.mean()
    else:
        total, count = sums(found)
        average = total / jnp.where(count != 0, count, 1)
    return average if found.penalty is None else average + found.penalty


class Before(NamedTuple):
    """What goes into a layer's activation function."""

    x: Num[Array, "*places units"]
    counts: Bool[Array, "*places 1"] | None = None  # at which places there is anything; None: at all
    function: Callable[[jax.Array], jax.Array] = jnp.tanh  # the activation function

    def mean(self, values: Num[Array, "*places units"]) -> Num[Array, ""]:
        """The mean of values like x over the places that count."""
        if self.counts is None:
            return values.mean()
        return jnp.where(self.counts, values, 0.0).sum() / (self.counts.sum() * values.shape[-1])


def by_name(params: Any) -> list[str]:
    """The layers of a network in the order of their names; where parameters are no dictionary, there is one."""
    if not isinstance(params, Mapping):
        return [WHOLE]
    return sorted(params, key=lambda name: (len(name), name))


class Lookup(NamedTuple):
    """Tables, such as embeddings, of which a step reads few rows.

    Where an optimizer leaves alone what has no gradient (sgd and adagrad, without penalties and decay), a step then costs what
    those rows cost, however large the table.

    tables: (params) -> a tree like params: of each leaf the name of the table whose rows its first axis counts, or ""
    places: (batch) -> table -> (n,), the rows that a batch reads
    moved: (batch, table -> (n,)) -> the batch, reading these places in the tables that are named
    """

    tables: Callable[[Any], Any]
    places: Callable[[Any], Mapping[str, jax.Array]]
    moved: Callable[[Any, Mapping[str, jax.Array]], Any]


class Functions(NamedTuple):
    """All that the trial functions know of a task. Each is pure and sees one lane; equal ones compile once.

    `config` is lowered (`optimizers.lower`): its floats are of the lane; a strength that no trial of the group uses is None,
    and so is `config.data`, of which programs know nothing.

    `init`, one of `loss` and `gradients`, and one of `score` and `evaluate` are needed. `Weighed` may be given as a pair of
    values and weights, or as values alone.

    init: (config, key) -> (params, stats): what is trained, and every collection that is not
    loss: (config, params, stats, batch, key, step) -> (`Weighed` of the batch's rows in training mode, new stats)
    score: (config, params, stats, rows, keys) -> metric -> `Weighed` of the rows (N,) in evaluation mode; a key a row
    gradients: (config, params, stats, batch, key, step) -> (`Weighed` to watch, what is descended along, like params, new
      stats): in place of `loss` where no one number is minimized (two players, contrastive divergence, stages); None for a
      config of which those of `loss` are meant
    evaluate: (config, params, stats, split, key) -> metric -> (), over a whole split: what no sum over rows can say
    batch: (config, rows, key, step) -> batch: what a step sees of the rows that were drawn (augmentation, negative samples)
    pace: (config, step) -> what multiplies each part's learning rate, 0: it rests with its optimizer; a tree whose leaves stand
      where parts of the parameters begin. Each part then has an optimizer of its own, with its own clipping
    before: (config, params, stats, batch, key) -> layer -> what goes into its activation function in training mode
    layers: (params) -> the names of the layers, in the order in which data goes through them
    lookup: the tables of which a step reads few rows
    metric: the one that selects the best step
    higher_is_better: whether more of it is better
    """

    init: Callable[..., tuple[Any, Any]]
    loss: Callable[..., tuple[Any, Any]] | None = None
    score: Callable[..., Mapping[str, Any]] | None = None
    gradients: Callable[..., tuple[Any, Any, Any] | None] | None = None
    evaluate: Callable[..., Mapping[str, jax.Array]] | None = None
    batch: Callable[..., Any] | None = None
    pace: Callable[..., Any] | None = None
    before: Callable[..., Mapping[str, Before]] = lambda *_: {}
    layers: Callable[[Any], list[str]] = by_name
    lookup: Lookup | None = None
    metric: str = "loss"
    higher_is_better: bool = False
