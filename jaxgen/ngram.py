"""Interpolated n-gram counts: how far one comes by counting alone, without a network. NumPy only.

A context of n characters that was seen N(h) times, before T(h) different characters, gives (Witten and Bell 1991; as Chen and
Goodman 1998 write it)

    P_n(c | h) = (N(h, c) + T(h) P_(n-1)(c | h without its first character)) / (N(h) + T(h)),

down to P_(-1)(c) = 1 / V. A context that was never seen leaves it to the shorter one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jaxgen.corpus import Vocabulary, Windows, windows

ORDERS = tuple(range(7))  # characters of context that a floor is sought at


@dataclass(frozen=True)
class Order:
    """What was counted after contexts of one length. A context is a place among those of its length that were seen."""

    seen: NDArray[np.int64]  # place of the context without its first character * V + that character, sorted
    total: NDArray[np.int64]  # N(h)
    kinds: NDArray[np.int64]  # T(h)
    pairs: NDArray[np.int64]  # place of the context * V + character, sorted
    counts: NDArray[np.int64]  # N(h, c)


@dataclass(frozen=True)
class NGram:
    """Counts of the contexts of 0 to `len(orders) - 1` characters."""

    vocabulary: int
    orders: tuple[Order, ...]

    @property
    def size(self) -> int:
        """How many counts there are: of contexts with the character that came after."""
        return sum(len(order.pairs) for order in self.orders)


def fit(names: Sequence[str], vocabulary: Vocabulary, order: int) -> NGram:
    """Counts what comes after each context of up to `order` characters; a name's start counts as boundaries."""
    rows, size = windows(tuple(names), vocabulary, max(order, 1)), len(vocabulary)
    place, orders = np.zeros(len(rows.targets), np.int64), []
    for length in range(order + 1):
        seen, place, total = np.unique(_longer(place, rows.ids, length, size), return_inverse=True, return_counts=True)
        pairs, counts = np.unique(place * size + rows.targets, return_counts=True)
        orders.append(Order(seen, total, np.bincount(pairs // size, minlength=len(seen)), pairs, counts))
    return NGram(size, tuple(orders))


def _longer(place: NDArray[np.int64], ids: NDArray[np.int32], length: int, size: int) -> NDArray[np.int64]:
    """Contexts of `length` by the place of their last `length - 1` characters and the one before these."""
    return place if length == 0 else place * size + ids[:, -length]


def probabilities(model: NGram, rows: Windows, order: int | None = None) -> NDArray[np.float64]:
    """The probability (N,) of each window's target after up to `order` characters; None: as many as were counted."""
    size = model.vocabulary
    found, place = np.full(len(rows.targets), 1 / size), np.zeros(len(rows.targets), np.int64)
    known = np.ones(len(rows.targets), bool)
    for length, counted in enumerate(model.orders[: None if order is None else order + 1]):
        place, here = _find(counted.seen, _longer(place, rows.ids, length, size))
        known &= here
        pair, paired = _find(counted.pairs, place * size + rows.targets)
        count, kinds = np.where(paired, counted.counts[pair], 0), counted.kinds[place]
        found = np.where(known, (count + kinds * found) / (counted.total[place] + kinds), found)
    return found


def distribution(model: NGram, ids: NDArray[np.int32]) -> NDArray[np.float64]:
    """The probabilities (N, V) of what comes after each row of ids (N, T), T as many as were counted or more."""
    count, size = len(ids), model.vocabulary
    rows = Windows(np.repeat(ids, size, axis=0), np.tile(np.arange(size, dtype=np.int32), count))
    return probabilities(model, rows).reshape(count, size)


def _find(values: NDArray[np.int64], wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each wanted number stands among sorted ones, and whether it does; some place where it does not."""
    place = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    return place, values[place] == wanted
