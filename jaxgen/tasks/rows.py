"""Rows: their parts, and that they are what programs can hold, before anything is made of them."""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxgen.fields import UserError

if TYPE_CHECKING:
    from jaxgen.tasks.base import Task

SHARES = (0.8, 0.9)  # where shuffled rows are cut: training, validation, test


class Splits(NamedTuple):
    """The parts of a task's rows, each a pytree of arrays that share their first axis; None: there is none.

    Examples:
      >>> parts = jaxgen.Splits(train=(x[:160], y[:160]), validation=(x[160:180], y[160:180]), test=(x[180:], y[180:]))
      >>> own = jaxgen.supervised(Net, parts, loss="squared_error")
    """

    train: Any
    validation: Any
    test: Any = None
    dev: Any = None
    """Like train, and not trained on."""
    source: Any = None
    """What the first train.pretrain steps train on."""
    batches: Any = None
    """The training part in other rows, where these are what batches are drawn from."""


def located(path: str | Path) -> Path:
    """The file at a path; where there is none, and the path is data/FILE, or NAME alone, the bundled one that this says."""
    path = Path(path)
    name = path.name if path.parts[:-1] == ("data",) else f"{path}.txt" if len(path.parts) == 1 and not path.suffix else ""
    if path.exists() or not name:
        return path
    bundled = Path(str(importlib.resources.files("jaxgen.bundled"))) / name
    return bundled if bundled.exists() else path


def size(rows: Any) -> int:
    """How many rows a pytree of arrays has."""
    import jax

    return len(jax.tree.leaves(rows)[0])


def parts_of(task: Task, data: Any) -> Splits:
    """The parts that a task reads of a data section, cut where the task gives all rows.

    Raises:
      UserError: where rows are too few, or arrays do not share their first axis, or hold what programs cannot.
    """
    found = task.splits(data)
    if not isinstance(found, Splits):
        seed = getattr(data, "split_seed", None)
        if seed is None:
            raise UserError(f"the task {task.name!r} gives rows to be cut, and its data section has no split_seed; give Splits")
        found = cut(exact(found, "its rows"), seed)
    parts = Splits(*(None if part is None else exact(part, name) for name, part in zip(Splits._fields, found, strict=True)))
    for name in ("validation", "test", "dev"):
        there = getattr(parts, name)
        if there is not None and kind_of(there) != kind_of(parts.train):
            raise UserError(f"a row of {name} is {kind_of(there)}, and of train {kind_of(parts.train)}; give rows of one kind")
    return parts


def kind_of(rows: Any) -> str:
    """What one row is: its tree with the types and shapes of its arrays."""
    import jax

    return str(jax.tree.map(lambda x: f"{x.dtype}{list(x.shape[1:])}", rows))


def exact(rows: Any, what: str) -> Any:
    """Rows as host arrays of the types that programs have: what would be cut is refused, not cut.

    Raises:
      UserError: for whole numbers that do not fit 32 bits, arrays of objects or texts, and arrays of different lengths.
    """
    import jax
    import numpy as np

    def narrow(x: Any) -> np.ndarray:
        x = np.asarray(x)
        if x.dtype.kind not in "buif" or x.ndim == 0:
            raise UserError(f"{what} hold {x.dtype} of shape {x.shape}; expected arrays of numbers, a row along the first axis")
        if x.dtype.kind in "ui" and x.dtype.itemsize > 4:
            if x.size and (x.min() < -(2**31) or x.max() >= 2**31):
                raise UserError(f"{what} hold {x.max()}, which does not fit 32 bits; number them anew, from 0 on")
            return x.astype(np.int32)
        return x.astype(np.float32) if x.dtype.kind == "f" and x.dtype.itemsize > 4 else x

    found = jax.tree.map(narrow, rows)
    lengths = {len(x) for x in jax.tree.leaves(found)}
    if len(lengths) != 1 or lengths == {0}:
        raise UserError(f"{what} have first axes of {', '.join(map(str, sorted(lengths))) or 'nothing'}; expected one length")
    return found


def cut(rows: Any, seed: int, shares: Sequence[float] = SHARES) -> Splits:
    """Rows shuffled by a seed and cut into training, validation and test.

    Raises:
      UserError: where they are too few.
    """
    import jax
    import numpy as np

    count = size(rows)
    order = np.random.default_rng(seed).permutation(count)
    first, second = (int(share * count) for share in shares)
    parts = (order[:first], order[first:second], order[second:])
    if not all(map(len, parts)):
        raise UserError(f"{count} rows are too few to be cut 80/10/10; expected 10 or more")
    return Splits(*(jax.tree.map(lambda x, part=part: np.asarray(x)[part], rows) for part in parts))


def described(splits: Splits) -> dict[str, Any]:
    """What can be said of any rows: how many each part has, what one row is, and the SHA-256 of all of them."""
    import jax
    import numpy as np

    digest = hashlib.sha256()
    for name, part in zip(Splits._fields, splits, strict=True):
        for path, x in jax.tree_util.tree_leaves_with_path(part):
            digest.update(f"{name}{jax.tree_util.keystr(path)} {x.dtype} {x.shape}".encode())
            digest.update(np.ascontiguousarray(x).tobytes())
    row = [f"{x.dtype}{list(x.shape[1:])}" for x in jax.tree.leaves(splits.train)]
    rows = {name: size(part) for name, part in zip(Splits._fields, splits, strict=True) if part is not None}
    return {"rows": rows, "row": row, "sha256": digest.hexdigest()}
