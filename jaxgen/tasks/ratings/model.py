"""Networks that say a rating: the places of users and items (B, 2) to (B,)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.nn import Dropout
from jaxgen.tasks.modules import Network, choice, network_of

USERS, ITEMS, BOTH = "users", "items", "users_and_items"  # tables


class Table(nn.Module):
    """Embeddings (rows, width), and a bias of each row if there are to be any: places (B,) to (B, width) and (B,)."""

    rows: int
    width: int
    spread: float
    biases: bool
    trained: bool

    @nn.compact
    def __call__(self, places: jax.Array) -> tuple[jax.Array, jax.Array | float]:
        found = self.kept("embedding", nn.initializers.normal(self.spread), (self.rows, self.width))[places]
        bias = self.kept("bias", nn.initializers.zeros, (self.rows,))[places] if self.biases else 0.0
        return found if self.trained else jax.lax.stop_gradient(found), bias

    def kept(self, name: str, start: Any, shape: tuple[int, ...]) -> jax.Array:
        """A parameter that may be there with fewer rows than it began with: in a step, those that it reads."""
        return self.get_variable("params", name) if self.has_variable("params", name) else self.param(name, start, shape)


class Base(nn.Module):
    """What every network of the task has."""

    embedding: int = 8
    range: Literal["bounded", "free"] = "bounded"
    embeddings: Literal["trained", "random"] = "trained"
    tables: Literal["two", "one"] = "two"
    spread: float = 0.1
    users: int = 1
    items: int = 1
    low: float = 0.0
    high: float = 1.0

    def embedded(self, pairs: jax.Array, biases: bool) -> tuple[jax.Array, jax.Array, jax.Array | float]:
        """The embeddings of pairs' users and items, (B, width) each, and the sum of their biases (B,)."""
        user, item = pairs[:, 0], pairs[:, 1]
        made = functools.partial(
            Table, width=self.embedding, spread=self.spread, biases=biases, trained=self.embeddings == "trained"
        )
        if self.tables == "one":
            both, bias = made(self.users + self.items, name=BOTH)(jnp.concatenate([user, self.users + item]))
            of_user, of_item = jnp.split(both, 2)
            return of_user, of_item, sum(jnp.split(bias, 2)) if biases else 0.0  # pyright: ignore[reportArgumentType]
        (of_user, one), (of_item, other) = made(self.users, name=USERS)(user), made(self.items, name=ITEMS)(item)
        return of_user, of_item, one + other

    def rating(self, score: jax.Array) -> jax.Array:
        """A rating from any number; 0 is the middle of the range."""
        if self.range == "bounded":
            return self.low + (self.high - self.low) * nn.sigmoid(score)
        return (self.low + self.high) / 2 + score


class Dot(Base):
    biases: bool = True

    @nn.compact
    def __call__(self, pairs: jax.Array, train: bool) -> jax.Array:
        of_user, of_item, bias = self.embedded(pairs, self.biases)
        middle = self.param("middle", nn.initializers.zeros, ())
        return self.rating((of_user * of_item).sum(-1) + bias + middle)


class MLP(Base):
    hidden: int = 32
    depth: int = 1
    dropout: float = 0.0

    @nn.compact
    def __call__(self, pairs: jax.Array, train: bool) -> jax.Array:
        of_user, of_item, _ = self.embedded(pairs, False)
        x = jnp.concatenate([of_user, of_item], -1)
        for place in range(self.depth):
            x = nn.relu(nn.Dense(self.hidden, name=f"dense_{place}", kernel_init=nn.initializers.he_normal())(x))
            x = Dropout(self.dropout)(x, train)
        return self.rating(nn.Dense(1, name=f"dense_{self.depth}")(x)[..., 0])


def network(users: int, items: int, low: float, high: float) -> Network:
    """One of the families for so many users and items, and ratings between two."""
    known = {"users": users, "items": items, "low": low, "high": high}
    return choice({"dot": network_of(Dot, **known), "mlp": network_of(MLP, **known)})


def embeddings(params: Any, pairs: jax.Array, users: int) -> list[tuple[jax.Array, jax.Array]]:
    """The tables of embeddings, each with the places (B,) that the users or items of pairs (B, 2) have in it."""
    user, item = pairs[:, 0], pairs[:, 1]
    if BOTH in params:
        return [(params[BOTH]["embedding"], user), (params[BOTH]["embedding"], users + item)]
    return [(params[USERS]["embedding"], user), (params[ITEMS]["embedding"], item)]


# Which rows of tables a step reads (`train.functions.Lookup`). ---------------------------------------------------------------


def tables(params: Any) -> Any:
    """The table of each parameter."""
    names = {layer: layer if layer in (USERS, ITEMS, BOTH) else "" for layer in params}
    return {layer: jax.tree.map(lambda _, name=names[layer]: name, part) for layer, part in params.items()}


@functools.cache  # equal functions compile once
def places(users: int) -> Callable[[Any], Mapping[str, jax.Array]]:
    """The rows of each table that a batch reads, of the one for both, too."""

    def of(batch: Any) -> dict[str, jax.Array]:
        user, item = batch[0][:, 0], batch[0][:, 1]
        return {USERS: user, ITEMS: item, BOTH: jnp.concatenate([user, users + item])}

    return of


@functools.cache
def moved(users: int) -> Callable[[Any, Mapping[str, jax.Array]], Any]:
    """A batch whose users and items stand elsewhere."""

    def to(batch: Any, now: Mapping[str, jax.Array]) -> Any:
        user, item = batch[0][:, 0], batch[0][:, 1]
        if BOTH in now:
            user, item = jnp.split(now[BOTH], 2)
            item = item - users  # to which the network adds as many
        pairs = jnp.stack([now.get(USERS, user), now.get(ITEMS, item)], 1)
        return (pairs, *batch[1:])

    return to
