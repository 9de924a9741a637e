"""Ratings: read from files, cut, and described. NumPy only."""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib.resources
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgen import given
from jaxgen.fields import UserError, quoted
from jaxgen.tasks.inputs import is_number, rows_of
from jaxgen.tasks.ratings.config import SENATE, Data
from jaxgen.tasks.rows import Splits

FILE = "senate109.csv.gz"
SHA256 = "0a9cf81747e9fefb4e67d556909461f3fbd946be6b8b3de640e7d7fb0df1f843"
SOURCE = (
    "roll calls of the 109th Senate of the United States, 2005 and 2006, as K. Poole and H. Rosenthal recorded them (voteview)"
)
COLUMNS = ("user", "item", "rating")


class Ratings(NamedTuple):
    pairs: NDArray[np.int32]  # (N, 2): the places of a user and of an item
    ratings: NDArray[np.float32]  # (N,)


class Read(NamedTuple):
    """A file of ratings. What users and items are called, in their order, and what ratings there are, from the lowest on."""

    ratings: Ratings
    users: tuple[str, ...]
    items: tuple[str, ...]
    levels: tuple[float, ...]


@functools.lru_cache(maxsize=4)  # a run asks several times
def read(path: str) -> Read:
    """The ratings of a file: the bundled one, or one of a user's.

    Raises:
      UserError: where there are none, or they are not as they should be.
    """
    if path == SENATE and not Path(path).exists():
        content = importlib.resources.files("jaxgen.bundled").joinpath(FILE).read_bytes()
        if hashlib.sha256(content).hexdigest() != SHA256:
            raise UserError(f"the bundled {FILE!r} is not what it was; install jaxgen again")
        return numbered(table(given.text(Path(FILE), content), FILE), FILE)
    where = Path(path)
    if not where.is_file():
        raise UserError(
            f"there are no ratings at {path!r}; expected {SENATE}, or a CSV or TSV file with the columns {', '.join(COLUMNS)}"
        )
    return numbered(table(given.text(where, given.read(where)), path), path)


def table(text: str, name: str) -> list[tuple[str, str, str]]:
    """The user, item and rating of each row of a text; a head, and what stands behind in a row, is left out.

    Raises:
      UserError: for a row without them, or a rating that is no number.
    """
    rows = rows_of(text)
    if rows and len(rows[0]) > 2 and not is_number(rows[0][2]):
        rows = rows[1:]
    for number, row in enumerate(rows, 1):
        if len(row) < len(COLUMNS):
            raise UserError(f"row {number} of {name!r} has {len(row)} columns, expected {', '.join(COLUMNS)}")
        if not is_number(row[2], finite=True):
            raise UserError(f"row {number} of {name!r} has the rating {quoted(row[2])}, expected a number")
    return [(row[0].strip(), row[1].strip(), row[2]) for row in rows]


def numbered(rows: list[tuple[str, str, str]], name: str) -> Read:
    """Ratings with users and items by number, in the order of their names; of two of one user and item, the later one.

    Raises:
      UserError: where nothing is to be learned from them.
    """
    last = {(user, item): float(rating) for user, item, rating in rows}
    users, items = (tuple(sorted({pair[side] for pair in last}, key=_order)) for side in (0, 1))
    levels = tuple(sorted({*np.array([*last.values()], np.float32).tolist()}))
    if len(levels) < 2 or len(last) < 10:
        raise UserError(
            f"{name!r} holds {len(last)} ratings of {len(levels)} different values; expected 10 or more, not all of them alike"
        )
    places = [{text: place for place, text in enumerate(side)} for side in (users, items)]
    pairs = np.array([(places[0][user], places[1][item]) for user, item in last], np.int32)
    return Read(Ratings(pairs, np.array([*last.values()], np.float32)), users, items, levels)


def _order(text: str) -> tuple[float, str]:
    return (float(text) if is_number(text, finite=True) else math.inf, text)


def gap(levels: tuple[float, ...]) -> float:
    """The least difference between two ratings."""
    return float(np.diff(levels).min())


def counts(ratings: Ratings, users: int, items: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """How many ratings each user gave, and how many each item was given: (users,), (items,)."""
    return np.bincount(ratings.pairs[:, 0], minlength=users), np.bincount(ratings.pairs[:, 1], minlength=items)


def places_of(texts: list[str], names: tuple[str, ...], what: str) -> NDArray[np.int32]:
    """The places of users or items by name: (N,).

    Raises:
      UserError: for one that is not known.
    """
    known = {name: place for place, name in enumerate(names)}
    unknown = next((text for text in texts if text not in known), None)
    if unknown is not None:
        alike = [name for name in names if unknown.lower() in name.lower()] or difflib.get_close_matches(unknown, names)
        hint = (
            f"; do you mean {' or '.join(map(quoted, alike[:3]))}?" if alike else "; give one that has rated" * (what == "user")
        )
        raise UserError(f"there is no rating of the {what} {quoted(unknown)}{hint}")
    return np.array([known[text] for text in texts], np.int32)


def asked(path: Path, users: tuple[str, ...], items: tuple[str, ...]) -> NDArray[np.int32]:
    """What a file asks for: users and items (N, 2), or users alone (N, 1).

    Raises:
      UserError: where it names one that is not known, or holds anything else.
    """
    rows = rows_of(given.text(path, given.read(path)))
    widths = {min(len(row), 2) for row in rows}  # of a file of ratings, too, the first two
    if rows and rows[0][0].strip() == COLUMNS[0]:
        rows = rows[1:]
    if widths not in ({1}, {2}) or not rows:
        raise UserError(
            f"{str(path)!r} has rows of {sorted(widths)} columns; expected a CSV file of users and items, or of users alone"
        )
    found = [places_of([row[0].strip() for row in rows], users, "user")]
    if widths == {2}:
        found.append(places_of([row[1].strip() for row in rows], items, "item"))
    return np.stack(found, 1)


def split(data: Data) -> Any:
    """All ratings, to be cut by their seed.

    Raises:
      UserError: as `read`.
    """
    return tuple(read(data.path).ratings)


def whole(splits: Splits) -> tuple[Ratings, dict[str, Ratings]]:
    """The training ratings, and those of validation and test."""
    parts = {"val": splits.validation, "test": splits.test}
    return Ratings(*splits.train), {name: Ratings(*part) for name, part in parts.items() if part is not None}
