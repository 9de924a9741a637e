"""What people see of ratings: users and items in the plane, who is near whom, and how errors go with how often one is rated."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from jaxgen.fields import UserError
from jaxgen.report.style import BEST, HEIGHT, below, ink, subplots
from jaxgen.tasks.base import Section
from jaxgen.tasks.ratings.data import Ratings, counts, whole
from jaxgen.tasks.ratings.floors import SHRINKAGES, biases, errors
from jaxgen.tasks.ratings.model import BOTH, ITEMS, USERS

NAMED = 10  # users or items that a picture names, and that a table has rows of
NEAR = 3  # of each the nearest
BRIEF = 24  # characters of a name
BINS = 6  # of how often an item is rated
Floats = NDArray[np.floating[Any]]


def sections(task: Any, found: Any) -> list[Section]:
    """Of the best trial; none where no trial has ended, or the file is not there."""
    if found.best is None:
        return []
    try:
        task = task.opened(found.best.config.data)
        parts = task.parts(found.best.config.data)
    except UserError:
        return []
    train, held = whole(parts)
    tested = held.get("test", held["val"])
    said = task.predict(found.best, tested.pairs)
    users, items = tables(found.best.params, len(task.users))
    per_user, per_item = counts(train, len(task.users), len(task.items))
    made = [
        plane(name, task_names, table, train, side, per)
        for name, task_names, table, side, per in (
            ("users", task.users, users, 0, per_user),
            ("items", task.items, items, 1, per_item),
        )
    ]
    made.append(
        Section(
            "often",
            "How errors go with how often an item is rated",
            "Of the test part, for items with as many ratings to learn from: the best trial beside what item and user are off "
            "the mean.",
            figure=functools.partial(often, train, tested, said, (len(task.users), len(task.items)), task.levels),
        )
    )
    made.extend(
        Section(
            f"near_{name}",
            f"Which {name} are near each other",
            f"By the cosine of their embeddings: the {name} with the most ratings, and the nearest to each.",
            head=[name[:-1], *(f"{place}." for place in range(1, NEAR + 1))],
            rows=nearest(table, names, per),
        )
        for name, names, table, per in (("users", task.users, users, per_user), ("items", task.items, items, per_item))
    )
    return made


# Computed. ------------------------------------------------------------------------------------------------------------------


def tables(params: Any, users: int) -> tuple[Floats, Floats]:
    """The embeddings of users and of items, (users, width) and (items, width)."""
    if BOTH in params:
        both = np.asarray(params[BOTH]["embedding"])
        return both[:users], both[users:]
    return np.asarray(params[USERS]["embedding"]), np.asarray(params[ITEMS]["embedding"])


def principal(table: Floats) -> Floats:
    """Embeddings (N, width) along the two directions in which they differ most: (N, 2), 0 where there is but one."""
    centred = table - table.mean(0)
    found = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    return np.pad(found, ((0, 0), (0, 2 - found.shape[1])))


def nearest(table: Floats, names: Sequence[str], per: NDArray[np.integer[Any]]) -> list[list[str]]:
    """Of those with the most ratings each its name, and the nearest others with their cosines."""
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    units = table / np.where(lengths > 0, lengths, 1)
    found = []
    for place in np.argsort(-per, kind="stable")[:NAMED]:
        cosines = units @ units[place]
        cosines[place] = -np.inf
        others = np.argsort(-cosines, kind="stable")[: min(NEAR, len(names) - 1)]
        found.append([names[place], *(f"{names[other]} ({cosines[other]:.2f})" for other in others)])
    return found


def binned(per: NDArray[np.integer[Any]]) -> list[NDArray[np.intp]]:
    """The places of rated things, in groups by how often each is rated: from the least to the most, about as many in each."""
    order = np.argsort(per, kind="stable")
    return [part for part in np.array_split(order, min(BINS, len(order))) if len(part)]


# Drawn. ---------------------------------------------------------------------------------------------------------------------


def plane(name: str, names: Sequence[str], table: Floats, train: Ratings, side: int, per: NDArray[np.integer[Any]]) -> Section:
    """Users or items in the plane."""
    total = np.bincount(train.pairs[:, side], train.ratings, len(names))
    mean = np.where(per > 0, total / np.maximum(per, 1), train.ratings.mean())
    note = (
        f"The best trial's embeddings of the {name}, along the two directions in which they differ most; the colour is the "
        f"mean of the ratings that {'they gave' if side == 0 else 'they were given'}. The farthest out are named."
    )
    return Section(
        name, f"{name.capitalize()} in two dimensions", note, figure=functools.partial(scattered, principal(table), mean, names)
    )


def scattered(places: Floats, colours: Floats, names: Sequence[str]) -> Figure:
    """Points of the plane, of which the farthest from the middle of all and from each other have names."""
    figure, axes = subplots(4.2)
    drawn = axes.scatter(*places.T, c=colours, s=14, cmap="viridis")
    figure.colorbar(drawn, ax=axes, label="mean rating", shrink=0.8)
    for place in outermost(places):
        axes.annotate(names[place][:BRIEF], places[place], fontsize=7, color=ink(), xytext=(3, 3), textcoords="offset points")
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.margins(0.12)
    return figure


def outermost(places: Floats) -> list[int]:
    """Places of points that are far from the middle and from those before them: first the farthest, then by turns."""
    scaled = places / np.where((spread := places.std(0)) > 0, spread, 1)
    found = [int(np.linalg.norm(scaled - scaled.mean(0), axis=1).argmax())]
    while len(found) < min(NAMED, len(places)):
        gaps = np.linalg.norm(scaled[:, None] - scaled[found], axis=2).min(1)
        found.append(int(gaps.argmax()))
    return found


def often(train: Ratings, tested: Ratings, said: Floats, size: tuple[int, int], levels: tuple[float, ...]) -> Figure | None:
    """The error of the best trial, and of what item and user are off the mean, by how often items are rated."""
    _, per = counts(train, *size)
    base = biases(train, size, SHRINKAGES[2])(tested)
    groups = [(part, np.isin(tested.pairs[:, 1], part)) for part in binned(per)]
    groups = [(part, here) for part, here in groups if here.any()]
    if not groups:
        return None
    figure, axes = subplots(HEIGHT)
    x = [per[part].mean() for part, _ in groups]
    for values, label, how in (
        (said, "best trial", {"color": BEST}),
        (base, "item and user off the mean", {"linestyle": "--"}),
    ):
        y = [errors(values[here], tested.ratings[here], levels)["rmse"] for _, here in groups]
        axes.plot(x, y, marker="o", label=label, **how)
    axes.set(xlabel="ratings of an item to learn from (mean of a group)", ylabel="RMSE on test", ylim=(0, None))
    below(figure, axes)
    return figure
