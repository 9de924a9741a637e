"""The parts of a task of images, and inputs like them. NumPy only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgen import given
from jaxgen.fields import UserError
from jaxgen.tasks.digits.config import Data
from jaxgen.tasks.digits.images import PICTURES, Images, idx, pixels, read, stacked
from jaxgen.tasks.inputs import table_of
from jaxgen.tasks.rows import Splits


def split(data: Data) -> Splits:
    """The images as a data section cuts them: a test part where they come without one, validation, and training.

    Raises:
      UserError: as `images.read`, for parts that would be empty, more images than there are, or a source of another size.
    """
    found = read(data.path)
    seed = data.split_seed if data.split == "random" else None
    train, test = (found.train, found.test) if found.test is not None else cut(found.train, data.test, seed)
    train, validation = cut(train, data.validation, seed)
    if data.rows is not None:
        if data.rows > len(train.labels):
            raise UserError(f"data.rows is {data.rows}, and there are {len(train.labels)} images to train on; give fewer")
        train = taken(train, slice(data.rows))
    return Splits(tuple(train), tuple(validation), tuple(test), source=_source(data, train))


def cut(images: Images, share: float, seed: int | None) -> tuple[Images, Images]:
    """All but a share of the images, and that share: the last, after they were shuffled by a seed if there is one.

    Raises:
      UserError: where one of both would be empty.
    """
    count = len(images.labels)
    order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    first = count - round(share * count)
    if not 0 < first < count:
        raise UserError(f"{count} images are too few to take a share of {share:g} from them; expected more images")
    return taken(images, order[:first]), taken(images, order[first:])


def taken(images: Images, places: Any) -> Images:
    """The images at some places."""
    return Images(images.images[places], images.labels[places])


def _source(data: Data, train: Images) -> tuple[Any, ...] | None:
    if data.source is None:
        return None
    (own, other), size = (read(path) for path in (data.path, data.source)), train.images.shape[1:]
    if other.train.images.shape[1:] != size or other.ink != own.ink:
        raise UserError(
            f"the images of data.source {data.source!r} are of {other.train.images.shape[1:]}, and those of {data.path!r} of "
            f"{size}; give images of the same size"
        )
    if len(other.classes) > len(own.classes):
        raise UserError(
            f"data.source {data.source!r} has {len(other.classes)} classes, and {data.path!r} {len(own.classes)}; give one "
            "with as many or fewer, since both are told apart by the same outputs"
        )
    return tuple(other.train)


def inputs_in(path: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    """Images of a file, or a folder of pictures: (N, *shape), or as far from that as they are.

    Raises:
      UserError: where there are none.
    """
    if path.is_dir() or path.suffix.lower() in PICTURES:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES) if path.is_dir() else [path]
        if not files:
            raise UserError(f"the folder {str(path)!r} holds no pictures; expected {', '.join(PICTURES)}")
        found = stacked({str(file): pixels(given.read(file), str(file)) for file in files})
        grey = len(shape) == 2 and found.ndim == 4
        return np.rint(found @ GREY).astype(np.uint8) if grey else found
    if "idx" in path.name.lower():
        return idx(given.unpacked(path, given.read(path)), repr(str(path)))
    return table_of(path)


GREY = np.array([0.299, 0.587, 0.114])  # of red, green and blue: ITU-R BT.601


def images_of(inputs: Any, shape: tuple[int, ...], ink: int) -> NDArray[np.uint8]:
    """Images as the networks read them, from numbers (N, *shape), or as many in a row, of 0 to `ink`.

    Raises:
      UserError: for anything else.
    """
    found = np.asarray(inputs)
    size = int(np.prod(shape))
    if found.ndim < 2 or found.shape[1:] not in (shape, (size,)) or not len(found):
        wanted = f"(N, {', '.join(map(str, shape))}) or (N, {size})"
        raise UserError(f"inputs are of shape {found.shape}; expected {wanted}, an image a row")
    wrong = found.dtype.kind not in "buif" or not np.isfinite(found).all()
    if wrong or not np.array_equal(found, np.clip(np.rint(found), 0, ink)):
        raise UserError(f"inputs hold other values than the whole numbers 0 to {ink}; scale the images to these")
    return found.reshape(-1, *shape).astype(np.uint8)
