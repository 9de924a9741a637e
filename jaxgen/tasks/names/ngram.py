"""Interpolated n-gram counts: how far one comes by counting alone, without a network. NumPy only.

After a context h of n characters that was seen in training, a character c has the probability

    P_n(c | h) = share(c | h) + left(h) P_(n-1)(c | h without its first character),

down to P_(-1)(c) = 1 / V; a context that was never seen leaves it to the shorter one. Of N(h, c) sightings of c, N(h) in all,
of T(h) different characters, the smoothings take (Chen and Goodman 1998)

- witten_bell (Witten and Bell 1991): share = N(h, c) / (N(h) + T(h)) and left = T(h) / (N(h) + T(h));
- kneser_ney, modified: share = (N(h, c) - D) / N(h) with a discount D for what was seen once, twice, and more often, and left
  what the discounts give. Contexts shorter than the longest count in how many longer ones a sighting was, each once, except
  where a name begins, before which nothing can stand.

A name begins with one boundary: a context with more of them before it says what the one without them has said, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgen.tasks.names.config import SMOOTHINGS
from jaxgen.tasks.names.data import BOUNDARY, Windows

ORDERS = tuple(range(9))  # characters of context that a floor is sought at


class Order(NamedTuple):
    """What comes after contexts of one length, in NumPy arrays or, as parameters of a family, in JAX's.

    A context is a place among the C of its length that were seen, sorted by the place of the context without its first
    character, then by that character. Of the M sightings, those of each context stand together, sorted by character.
    """

    begins: Any  # (shorter contexts + 1,): where those begin that lengthen each shorter one
    first: Any  # (C,): a context's first character
    follows: Any  # (C + 1,): where each context's sightings begin
    after: Any  # (M,): the character that was seen
    share: Any  # (M,)
    left: Any  # (C,)


class Counted(NamedTuple):
    """How often what was seen after contexts of one length, as places in sorted keys."""

    seen: NDArray[np.int64]  # (C,): place of the shorter context * V + first character
    pairs: NDArray[np.int64]  # (M,): place of the context * V + the character after it
    counts: NDArray[np.int64]  # (M,)


@dataclass(frozen=True)
class NGram:
    """Shares of the contexts of 0 to `len(orders) - 1` characters."""

    vocabulary: int
    orders: tuple[Order, ...]


def fit(rows: Windows, vocabulary: int, order: int, smoothing: str = "kneser_ney") -> NGram:
    """The n-grams of windows (N, T), T of `order` or more."""
    return smoothed(counted(rows, vocabulary, order), vocabulary, smoothing)


def counted(rows: Windows, vocabulary: int, order: int) -> list[Counted]:
    """What came after each context of 0 to `order` characters."""
    place, found = np.zeros(len(rows.targets), np.int64), []
    for length in range(order + 1):
        seen, place = np.unique(_longer(place, rows.ids, length, vocabulary), return_inverse=True)
        pairs, counts = np.unique(place * vocabulary + rows.targets, return_counts=True)
        found.append(Counted(seen, pairs, counts))
    return found


def smoothed(tables: list[Counted], vocabulary: int, smoothing: str) -> NGram:
    """The n-grams of what was counted, the last of it of the longest contexts."""
    orders, shorter = [], 1
    for length, table in enumerate(tables):
        counts = table.counts
        if smoothing == "kneser_ney" and length + 1 < len(tables):
            counts = _continuations(table, tables[length + 1], vocabulary, length)
        place = table.pairs // vocabulary
        known = _repeated(tables, length, vocabulary)
        total = np.bincount(place, counts)
        if smoothing == "witten_bell":
            kinds = np.bincount(place)
            share, left = counts / (total + kinds)[place], kinds / (total + kinds)
        else:
            taken = _discounts(counts[~known[place]])[np.minimum(counts, 3) - 1]
            share, left = (counts - taken) / total[place], np.bincount(place, taken) / total
        share, left = np.where(known[place], 0.0, share), np.where(known, 1.0, left)
        begins = np.searchsorted(table.seen, np.arange(shorter + 1) * vocabulary)
        follows = np.searchsorted(table.pairs, np.arange(len(table.seen) + 1) * vocabulary)
        places = (begins, table.seen % vocabulary, follows, table.pairs % vocabulary)
        begins, first, follows, after = (x.astype(np.int32) for x in places)
        orders.append(Order(begins, first, follows, after, share, left))
        shorter = len(table.seen)
    return NGram(vocabulary, tuple(orders))


def _longer(place: NDArray[np.int64], ids: NDArray[np.int32], length: int, size: int) -> NDArray[np.int64]:
    """Contexts of `length` by the place of their last `length - 1` characters and the one before these."""
    return place if length == 0 else place * size + ids[:, -length]


def _repeated(tables: list[Counted], length: int, size: int) -> NDArray[np.bool_]:
    """Which contexts (C,) are a shorter one behind another boundary, and so say what that one has said."""
    seen = tables[length].seen
    if length < 2:
        return np.zeros(len(seen), bool)
    return (seen % size == BOUNDARY) & (tables[length - 1].seen[seen // size] % size == BOUNDARY)


def _continuations(table: Counted, longer: Counted, size: int, length: int) -> NDArray[np.int64]:
    """In how many contexts that are one character longer each sighting of a table was."""
    shortened = longer.seen[longer.pairs // size] // size
    kinds = np.bincount(np.searchsorted(table.pairs, shortened * size + longer.pairs % size), minlength=len(table.pairs))
    opening = (table.seen[table.pairs // size] % size == BOUNDARY) & (length > 0)
    return np.where(opening, table.counts, kinds)


def _discounts(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """What is taken from counts of 1, 2, and 3 or more: Chen and Goodman's estimate, or a single one where there is none."""
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(float)
    single = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.arange(1, 4) * (1 - single * np.arange(2, 5) / np.arange(1, 4) * n[2:5] / n[1:4])
    return found if np.all((found > 0) & (found < np.arange(1, 4))) else np.full(3, single)


class Place(NamedTuple):
    """Where windows (N,) stand among what was counted after contexts of one length."""

    context: NDArray[np.int64]
    known: NDArray[np.bool_]  # whether their contexts, and all shorter ones, were seen
    pair: NDArray[np.int64]
    paired: NDArray[np.bool_]  # whether their targets were seen after them


def probabilities(model: NGram, rows: Windows) -> NDArray[np.float64]:
    """The probability (N,) of each window's target."""
    return mixed(model, located(model, rows))


def located(model: NGram, rows: Windows) -> list[Place]:
    """Where windows stand in a model, for each length of context."""
    size, place, known, found = model.vocabulary, np.zeros(len(rows.targets), np.int64), np.ones(len(rows.targets), bool), []
    for length, order in enumerate(model.orders):
        place, here = _find(_keys(order.begins, order.first, size), _longer(place, rows.ids, length, size))
        known = known & here
        found.append(Place(place, known, *_find(_keys(order.follows, order.after, size), place * size + rows.targets)))
    return found


def mixed(model: NGram, places: list[Place]) -> NDArray[np.float64]:
    """The probability (N,) of each window's target, of windows that were `located` in this model or one of more characters."""
    found = np.full(len(places[0].context), 1 / model.vocabulary)
    for order, at in zip(model.orders, places, strict=False):
        longer = np.where(at.paired, order.share[at.pair], 0) + order.left[at.context] * found
        found = np.where(at.known, longer, found)
    return found


def distributions(model: NGram, ids: NDArray[np.int32]) -> Iterator[NDArray[np.float64]]:
    """The probabilities (N, V) of each id after rows of ids (N, T), by contexts of 0, 1, ... characters.

    T is the highest order or more.
    """
    size, count = model.vocabulary, len(ids)
    found, place, known = np.full((count, size), 1 / size), np.zeros(count, np.int64), np.ones(count, bool)
    for length, order in enumerate(model.orders):
        place, here = _find(_keys(order.begins, order.first, size), _longer(place, ids, length, size))
        known = known & here
        rows = np.flatnonzero(known)
        first, kinds = order.follows[place[rows]], np.diff(order.follows)[place[rows]]
        found[rows] *= order.left[place[rows]][:, None]
        sightings = np.repeat(first - (np.cumsum(kinds) - kinds), kinds) + np.arange(kinds.sum())
        found[np.repeat(rows, kinds), order.after[sightings]] += order.share[sightings]
        yield found.copy()


def read_lengths(order: int) -> tuple[int, ...]:
    """The lengths of context at which a network reads counts of `order` characters: all of them, half of them, a quarter."""
    return tuple(dict.fromkeys(-(-order // part) for part in (1, 2, 4)))


def _keys(begins: NDArray[np.int32], characters: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(begins) - 1), np.diff(begins)) * size + characters


def _find(values: NDArray[np.int64], wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each wanted number stands among sorted ones, and whether it does; some place where it does not."""
    place = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    return place, values[place] == wanted


@dataclass(frozen=True)
class Floor:
    """What the best n-gram of a split comes to, in nats a character: what a network has to beat."""

    smoothing: str
    order: int
    val_loss: float
    test_loss: float

    def __str__(self) -> str:
        return f"{self.smoothing.replace('_', '-')} counts of {self.order} characters"


def floor(train: Windows, validation: Windows, test: Windows, vocabulary: int) -> Floor:
    """The n-gram with the lowest validation loss, of every order and smoothing; windows as long as the highest order."""
    tables = counted(train, vocabulary, ORDERS[-1])
    longest = smoothed(tables, vocabulary, SMOOTHINGS[0])
    places = [located(longest, part) for part in (validation, test)]  # the same for every order and smoothing
    found = []
    for smoothing in SMOOTHINGS:
        for order in ORDERS:
            model = smoothed(tables[: order + 1], vocabulary, smoothing)
            val_loss, test_loss = (float(-np.log(mixed(model, part)).mean()) for part in places)
            found.append(Floor(smoothing, order, val_loss, test_loss))
    return min(found, key=lambda floor: floor.val_loss)
