"""Inputs of a network: what they were, as JSON, those of a file, and how columns of numbers are found and scaled."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgen import given
from jaxgen.fields import UserError, quoted, shortened

ARRAY = 2**32  # bytes of a .npy file


def facts_of(inputs: Any) -> Any:
    """The shapes and types of a row of inputs, trees of dictionaries, tuples and lists, as JSON.

    Raises:
      UserError: for a tree of another kind.
    """
    if isinstance(inputs, Mapping):
        return {"dict": {str(key): facts_of(value) for key, value in inputs.items()}}
    if type(inputs) in (list, tuple):
        return {type(inputs).__name__: [facts_of(value) for value in inputs]}
    if not hasattr(inputs, "shape"):
        raise UserError(f"inputs hold a {type(inputs).__name__}; expected arrays, in dictionaries, tuples or lists")
    return {"array": [str(inputs.dtype), *inputs.shape[1:]]}


def shapes_of(facts: Mapping[str, Any]) -> Any:
    """Two rows of inputs, as shapes and types, from `facts_of`.

    Raises:
      UserError: where these are none.
    """
    import jax

    try:
        ((kind, found),) = facts.items()
        if kind == "dict":
            return {key: shapes_of(value) for key, value in found.items()}
        if kind in ("tuple", "list"):
            return {"tuple": tuple, "list": list}[kind](shapes_of(value) for value in found)
        name, *shape = found
        return jax.ShapeDtypeStruct((2, *map(int, shape)), np.dtype(name))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError("what the inputs were is not said as it should be; the run or export is damaged") from None


def table_of(path: Path) -> np.ndarray:
    """The numbers of a .npy file, or of a CSV file with or without a head: (N, ...).

    Raises:
      UserError: where it cannot be read, or holds anything else.
    """
    try:
        if path.suffix == ".npy":
            with given.opened(path, ARRAY) as file:
                found = np.load(file, allow_pickle=False)
        else:
            found = _csv(given.text(path, given.read(path)))
        if found.ndim == 0 or found.dtype.kind not in "buif":
            raise ValueError(f"{found.dtype} of shape {found.shape}")
    except UserError:
        raise
    except (ValueError, EOFError, OverflowError, MemoryError, csv.Error) as error:  # a head may say more than there is
        raise UserError(
            f"{str(path)!r} holds no table of numbers ({shortened(str(error))}); expected a CSV or .npy file, a row an input"
        ) from None
    if not len(found):
        raise UserError(f"{str(path)!r} holds no rows; expected a CSV or .npy file, a row an input")
    return found


BETWEEN = (",", ";", "\t")  # what stands between the columns of a table, and "::"


def rows_of(text: str) -> list[list[str]]:
    """The rows of a table's text, whatever of BETWEEN its first line has most of; empty lines are left out."""
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if "::" in first:
        lines = [line.replace("::", "\t") for line in lines]
        first = first.replace("::", "\t")
    return [row for row in csv.reader(lines, delimiter=max(BETWEEN, key=first.count)) if row]


def _csv(text: str) -> np.ndarray:
    rows = rows_of(text)
    if rows and not is_number(rows[0][0]):
        rows = rows[1:]
    return np.array([[float(x) for x in row] for row in rows])


def is_number(text: str, finite: bool = False) -> bool:
    """Whether a text says a float, be it infinite or nan; `finite`: and is neither."""
    try:
        return math.isfinite(float(text)) or not finite
    except ValueError:
        return False


def place_of(path: str, head: Sequence[str], column: str | None) -> int:
    """The place of a table's column by its name or number, from 1 on; None: the last.

    Raises:
      UserError: where there is none.
    """
    if column is None:
        return len(head) - 1
    if column in head:
        return head.index(column)
    if column.isdigit() and 1 <= int(column) <= len(head):
        return int(column) - 1
    raise UserError(f"{path!r} has no column {column!r}; expected one of {quoted(', '.join(head))}, or 1 to {len(head)}")


Scale = tuple[
    tuple[tuple[float, ...], ...], ...
]  # of each way of scaling, what `scales` gives: what a task knows, as JSON has it


def all_scales(x: NDArray[np.floating[Any]], hows: Sequence[str]) -> Scale:
    """The scales of rows (N, columns) by each of some ways, such that tasks that know the same are equal."""
    return tuple(tuple(tuple(one.tolist()) for one in scales(x, how)) for how in hows)


def scales_as_facts(scale: Scale, hows: Sequence[str]) -> dict[str, Any]:
    """The same by name, as JSON."""
    return {how: [[*one] for one in pair] for how, pair in zip(hows, scale, strict=True)}


def scales_from(facts: Mapping[str, Any], hows: Sequence[str]) -> Scale:
    """The scales that `scales_as_facts` wrote."""
    return tuple(tuple(tuple(map(float, one)) for one in facts[how]) for how in hows)


def scales(x: NDArray[np.floating[Any]], how: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is taken off each column of rows (N, columns), and what it is divided by then: (columns,) each.

    Args:
      how: standard, by mean and standard deviation; range, so that columns go from -1 to 1; none. A constant is divided by 1.
    """
    x = x.astype(np.float64)
    if how == "none":
        return np.zeros(x.shape[1]), np.ones(x.shape[1])
    middle, size = (x.mean(0), x.std(0)) if how == "standard" else ((x.max(0) + x.min(0)) / 2, (x.max(0) - x.min(0)) / 2)
    return middle, np.where(size > 0, size, 1.0)
