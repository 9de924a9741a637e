"""1,797 images of digits by 13 people, 8 by 8 in 17 steps of grey, as scikit-learn has them. NumPy only."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.resources
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgen.fields import UserError
from jaxgen.tasks.digits.config import Data
from jaxgen.tasks.rows import Splits, cut

FILE = "digits8x8.csv.gz"
SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
SOURCE = "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (1998), UCI Machine Learning Repository"
SIDE, INK, CLASSES = 8, 16, 10  # pixels along a side, the largest value of one, digits
SHARES = (0.6, 0.8)  # where images are cut: training, validation, test; the latter large enough to tell networks apart
NEIGHBOURS = (1, 3, 5, 7, 9)  # of which validation chooses


class Images(NamedTuple):
    images: NDArray[np.uint8]  # (N, 8, 8), 0 to 16
    labels: NDArray[np.int32]  # (N,)


@functools.cache
def load() -> Images:
    """All images, in the file's order, which is by writer.

    Raises:
      UserError: where the bundled file is not there, or not the one that it was.
    """
    path = importlib.resources.files("jaxgen.bundled").joinpath(FILE)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the bundled {FILE!r} ({error.strerror}); install jaxgen again") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise UserError(f"the bundled {FILE!r} has sha256 {digest}, expected {SHA256}; install jaxgen again")
    table = np.array([line.split(b",") for line in gzip.decompress(content).splitlines()], np.uint8)  # (N, 65)
    return Images(table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1].astype(np.int32))


def split(data: Data) -> Splits:
    """The images as a data section cuts them."""
    found = load()
    if data.split == "random":
        return cut(tuple(found), data.split_seed, SHARES)
    first, second = (int(share * len(found.labels)) for share in SHARES)
    return Splits(*(tuple(x[part] for x in found) for part in (slice(first), slice(first, second), slice(second, None))))


def floors(splits: Splits) -> Mapping[str, Mapping[str, float]]:
    """The accuracy of the most frequent class and of nearest neighbours, as many as do best on validation."""
    train = Images(*splits.train)
    parts = {"val": Images(*splits.validation), "test": Images(*splits.test)}
    most = int(np.bincount(train.labels).argmax())
    shares = {f"{name}_accuracy": float(np.mean(part.labels == most)) for name, part in parts.items()}
    near = {name: neighbours(train, part.images) for name, part in parts.items()}
    right = {(name, k): float(np.mean(near[name][k] == parts[name].labels)) for name in parts for k in NEIGHBOURS}
    best = max(NEIGHBOURS, key=lambda k: right["val", k])  # the first of equals
    called = "the nearest neighbour" if best == 1 else f"{best} nearest neighbours"
    return {
        "the most frequent class": shares,
        called: {f"{name}_accuracy": right[name, best] for name in parts},
    }


def neighbours(train: Images, images: NDArray[np.uint8]) -> dict[int, NDArray[np.intp]]:
    """How many neighbours -> the digit that most of them are, (N,), by Euclidean distance; of equals the smallest.

    Distances are exact: whole numbers.
    """
    a, b = (x.reshape(len(x), -1).astype(np.int32) for x in (images, train.images))
    squares = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)  # (N, train)
    order = train.labels[np.argsort(squares, axis=1, kind="stable")[:, : max(NEIGHBOURS)]]
    votes = (order[:, :, None] == np.arange(CLASSES)).cumsum(1)  # (N, neighbours, classes)
    return {k: votes[:, k - 1].argmax(1) for k in NEIGHBOURS}


def images_of(inputs: Any) -> NDArray[np.uint8]:
    """Images as the networks read them, from (N, 8, 8) or (N, 64) numbers of 0 to 16.

    Raises:
      UserError: for anything else.
    """
    given = np.asarray(inputs)
    if given.ndim not in (2, 3) or given.shape[1:] not in ((SIDE, SIDE), (SIDE * SIDE,)) or not len(given):
        raise UserError(f"inputs are of shape {given.shape}; expected (N, 8, 8) or (N, 64), an image a row")
    wrong = given.dtype.kind not in "buif" or not np.isin(given, np.arange(INK + 1)).all()
    if wrong:
        raise UserError(f"inputs hold other values than the whole numbers 0 to {INK}; scale the images to these")
    return given.reshape(-1, SIDE, SIDE).astype(np.uint8)
