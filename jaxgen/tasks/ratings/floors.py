"""What can be said of ratings without a network: means, with what users and items are off them, and neighbours. NumPy."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgen.tasks.ratings.data import Ratings, gap, whole
from jaxgen.tasks.rows import Splits

SHRINKAGES = (0.0, 1.0, 3.0, 10.0, 30.0)  # ratings of the mean that a mean is taken together with; validation chooses
NEIGHBOURS = (10, 20, 40)  # users, of which validation chooses
DENSE = 40_000_000  # cells of the table of users and items up to which neighbours are looked for
PARTY = re.compile(r"\(([A-Za-z]+) [A-Z]+\)$")  # of a senator: KENNEDY (D MA)
Floats = NDArray[np.floating[Any]]


def floors(
    splits: Splits, users: Sequence[str], items: Sequence[str], levels: tuple[float, ...]
) -> dict[str, dict[str, float]]:
    """The errors of what is known without a network, each as strong as validation has it best."""
    train, parts = whole(splits)
    size = (len(users), len(items))

    def told(said: Mapping[str, Floats]) -> dict[str, float]:
        return {
            f"{name}_{metric}": x for name in parts for metric, x in errors(said[name], parts[name].ratings, levels).items()
        }

    def best(one: Callable[[Any], Callable[[Ratings], Floats]], of: Sequence[Any]) -> dict[str, float]:
        tried = [told({name: said(part) for name, part in parts.items()}) for said in map(one, of)]
        return min(tried, key=lambda found: found["val_rmse"])

    made = {
        "the mean of all ratings": best(lambda _: lambda part: np.full(len(part.ratings), train.ratings.mean()), [None]),
        "the item's mean": best(lambda pull: means(train, size, 1, pull), SHRINKAGES),
        "the user's mean": best(lambda pull: means(train, size, 0, pull), SHRINKAGES),
        "what item and user are off the mean": best(lambda pull: biases(train, size, pull), SHRINKAGES),
    }
    if np.prod(size) <= DENSE:
        base = min(
            SHRINKAGES, key=lambda pull: errors(biases(train, size, pull)(parts["val"]), parts["val"].ratings, levels)["rmse"]
        )
        made["users that rate alike"] = best(neighbours(train, size, biases(train, size, base)), NEIGHBOURS)
    parties = [PARTY.search(user) for user in users]
    if all(parties):
        party = np.unique([found[1] for found in parties if found], return_inverse=True)[1]
        made["the majority of one's own party"] = best(lambda _: majority(train, size, party, levels), [None])
    return made


def errors(said: Floats, ratings: Floats, levels: tuple[float, ...]) -> dict[str, float]:
    """The metrics of what is said (N,) of ratings (N,)."""
    off = said.astype(np.float64) - ratings
    return {
        "rmse": float(np.sqrt(np.mean(off**2))),
        "accuracy": float(np.mean(np.abs(off) < gap(levels) / 2)),
    }


def shrunk(values: Floats, places: NDArray[np.integer[Any]], count: int, pull: float) -> Floats:
    """The mean of the values (N,) at each of `count` places, with `pull` further values of 0: (count,)."""
    number = np.bincount(places, minlength=count) + pull
    return np.bincount(places, values, count) / np.where(number > 0, number, 1)


def means(train: Ratings, size: tuple[int, int], side: int, pull: float) -> Callable[[Ratings], Floats]:
    """What the user (0) or the item (1) of a pair has as its mean, shrunk to that of all."""
    middle = float(train.ratings.mean(dtype=np.float64))
    off = shrunk(train.ratings - middle, train.pairs[:, side], size[side], pull)
    return lambda part: middle + off[part.pairs[:, side]]


def biases(train: Ratings, size: tuple[int, int], pull: float) -> Callable[[Ratings], Floats]:
    """The mean of all, what items are off it, and what users are off both, each shrunk (Koren 2010, section 2.1)."""
    middle = float(train.ratings.mean(dtype=np.float64))
    users, items = train.pairs.T
    of_items = shrunk(train.ratings - middle, items, size[1], pull)
    of_users = shrunk(train.ratings - middle - of_items[items], users, size[0], pull)
    return lambda part: middle + of_items[part.pairs[:, 1]] + of_users[part.pairs[:, 0]]


def neighbours(
    train: Ratings, size: tuple[int, int], base: Callable[[Ratings], Floats]
) -> Callable[[int], Callable[[Ratings], Floats]]:
    """For a number of neighbours: `base`, and the mean of what these users' ratings of the item are off theirs.

    Users are alike by the cosine of what both are off where both have rated, and count as much as they are (Koren 2010,
    section 2.2); those that are less alike than not do not count.
    """
    off, there = np.zeros(size), np.zeros(size)
    off[tuple(train.pairs.T)] = train.ratings - base(train)
    there[tuple(train.pairs.T)] = 1.0
    squares = (off**2) @ there.T  # of one user where the other has rated, too
    alike = off @ off.T / np.sqrt(np.maximum(squares * squares.T, 1e-12))
    np.fill_diagonal(alike, 0.0)

    def of(count: int) -> Callable[[Ratings], Floats]:
        def said(part: Ratings) -> Floats:
            found = base(part)
            for item in np.unique(part.pairs[:, 1]):
                mine, raters = np.flatnonzero(part.pairs[:, 1] == item), np.flatnonzero(there[:, item])
                weights = np.maximum(alike[part.pairs[mine, 0]][:, raters], 0.0)
                if weights.shape[1] > count:
                    least = np.partition(weights, -count, axis=1)[:, [-count]]
                    weights = np.where(weights >= least, weights, 0.0)
                total = weights.sum(1)
                found[mine] += weights @ off[raters, item] / np.where(total > 0, total, 1)
            return found

        return said

    return of


def majority(
    train: Ratings, size: tuple[int, int], group: NDArray[np.integer[Any]], levels: tuple[float, ...]
) -> Callable[[Ratings], Floats]:
    """What most users of one's own group gave the item; the lowest rating where they are as many either way or none."""
    count, low, high = int(group.max()) + 1, levels[0], levels[-1]
    place = group[train.pairs[:, 0]] * size[1] + train.pairs[:, 1]
    share = shrunk(train.ratings - (low + high) / 2, place, count * size[1], 0.0)
    return lambda part: np.where(share[group[part.pairs[:, 0]] * size[1] + part.pairs[:, 1]] > 0, high, low)
