"""Inputs of a network: what they were, as JSON, and those of a file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen import given
from jaxgen.fields import UserError, shortened

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


def _csv(text: str) -> np.ndarray:
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if rows and not is_number(rows[0][0]):
        rows = rows[1:]
    return np.array([[float(x) for x in row] for row in rows])


def is_number(text: str) -> bool:
    """Whether a text says a float, be it infinite or nan."""
    try:
        float(text)
    except ValueError:
        return False
    return True
