"""Images with their classes, from the files that people have them in: IDX, npz, CSV, and pictures in a folder a class.

All come to bytes: (N, H, W), or (N, H, W, 3) in colour, of 0 to `Read.ink`.
"""

from __future__ import annotations

import csv
import functools
import gzip
import hashlib
import importlib.resources
import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgen import given
from jaxgen.fields import UserError, shortened
from jaxgen.tasks.inputs import is_number

MOST = 2**31  # bytes of images in all
SIDE = 1024  # pixels of a picture, along a side
WHITE, DIGITS_INK = 255, 16  # the largest value of a byte, and of a pixel of digits8x8
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
FORMS = "a folder of IDX files, an .npz or CSV file, or a folder or .zip file of pictures, in which each class has a folder"
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
IDX_BYTES = b"\0\0\x08"  # what an IDX file of bytes begins with; the next byte counts its axes
TRAIN, TEST = ("train",), ("t10k", "test")
SHA256: Mapping[str, str] = {
    "digits8x8.csv.gz": "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
    "mnist-train-images-idx3-ubyte.gz": "d13c3a81ae061df76e763d4a179b4cab9e6c6977b7a72b25b6bcadc2309ce5f1",
    "mnist-train-labels-idx1-ubyte.gz": "58ca9ddf8df0e8e38dddc384137bfafb4ae6bba0f8e60074d4d181f4ca38460e",
    "mnist-t10k-images-idx3-ubyte.gz": "63ab0e7e480bd341675edf1d411f6f81d57c3453b0be9b4c341d4319a9be0c00",
    "mnist-t10k-labels-idx1-ubyte.gz": "a61618755f7c2f42008ead8dd519547384db7a3bf7b8bc7bcaf354a2010312f7",
    "fashion-train-images-idx3-ubyte.gz": "fbd26cc40881583f942a8bd01adb78f355a9d4184fb6ec1d9c1b8a81bb8f9681",
    "fashion-train-labels-idx1-ubyte.gz": "0ef52624714db321561a3cc6d9753d2767c8cef232658ac82b70bf7aa531f1f5",
    "fashion-t10k-images-idx3-ubyte.gz": "54c843e8984db871b0adbe65e974922ca266f5f5d7359c893046090d55ab75ce",
    "fashion-t10k-labels-idx1-ubyte.gz": "0bdbef21b9176f329da6dcf65c6604c4f6f943797129506b5bc5ade793506aac",
}
"""The bundled files and what they must hold."""


class Images(NamedTuple):
    images: NDArray[np.uint8]  # (N, H, W) or (N, H, W, 3)
    labels: NDArray[np.int32]  # (N,)


class Read(NamedTuple):
    """Images as a file has them."""

    train: Images
    test: Images | None  # None: they come in one part
    classes: tuple[str, ...]  # by label
    ink: int = WHITE  # the largest value of a pixel


@functools.lru_cache(maxsize=4)  # a run asks several times
def read(path: str) -> Read:
    """All images of a bundled set, by its name, or of a user's own.

    Raises:
      UserError: where there are none, or not as they should be.
    """
    where = Path(path)
    if path in BUNDLED and not where.exists():
        return BUNDLED[path]()
    if where.is_dir():
        named = sorted(file for file in where.iterdir() if "idx" in file.name.lower() and file.is_file())
        found = _of_idx(where, named) if named else _of_pictures(where, _in_folder(where))
    elif zipfile.is_zipfile(where) and where.suffix.lower() != ".npz":
        found = _of_pictures(where, _in_zip(where))
    elif where.suffix.lower() == ".npz":
        found = _of_npz(where)
    else:
        if not where.is_file():
            raise UserError(f"there are no images at {path!r}; expected one of {', '.join(BUNDLED)}, or {FORMS}")
        found = _of_table(where, given.unpacked(where, given.read(where)))
    return _sound(where, found)


def _sound(where: Path, found: Read) -> Read:
    """What was read, if it is images with a class each.

    Raises:
      UserError: else.
    """
    for part in (found.train, *(() if found.test is None else (found.test,))):
        if len(part.images) != len(part.labels) or not len(part.labels):
            raise UserError(
                f"{str(where)!r} holds {len(part.images)} images and {len(part.labels)} labels; expected a label for each"
            )
        if part.images.shape[1:] != found.train.images.shape[1:]:
            raise UserError(
                f"{str(where)!r} holds images of {part.images.shape[1:]} and {found.train.images.shape[1:]}; expected one size"
            )
    return found


# The bundled sets. ----------------------------------------------------------------------------------------------------------


def bundled(name: str) -> bytes:
    """A bundled file's content.

    Raises:
      UserError: where it is not there, or not the one that it was.
    """
    try:
        content = importlib.resources.files("jaxgen.bundled").joinpath(name).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the bundled {name!r} ({error.strerror}); install jaxgen again") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256[name]:
        raise UserError(f"the bundled {name!r} has sha256 {digest}, expected {SHA256[name]}; install jaxgen again")
    return gzip.decompress(content)


def _bundled_idx(name: str, classes: tuple[str, ...]) -> Read:
    def part(called: str) -> Images:
        images, labels = (
            idx(bundled(f"{name}-{called}-{kind}-ubyte.gz"), f"the bundled {name}") for kind in ("images-idx3", "labels-idx1")
        )
        return Images(images, labels.astype(np.int32))

    return Read(part("train"), part("t10k"), classes)


def _digits8x8() -> Read:
    table = np.array([line.split(b",") for line in bundled("digits8x8.csv.gz").splitlines()], np.uint8)  # (N, 65)
    images = Images(table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int32))
    return Read(images, None, _numbers(10), DIGITS_INK)


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


BUNDLED: Mapping[str, Any] = {
    "mnist": lambda: _bundled_idx("mnist", _numbers(10)),
    "fashion": lambda: _bundled_idx("fashion", CLOTHES),
    "digits8x8": _digits8x8,
}


# IDX. -----------------------------------------------------------------------------------------------------------------------


def idx(content: bytes, where: str) -> NDArray[np.uint8]:
    """The array of an IDX file of bytes, as MNIST's: two zeros, its type, its number of axes, their lengths, and the values.

    Raises:
      UserError: where it is none, or cut off.
    """
    if not content.startswith(IDX_BYTES) or len(content) < 4 or len(content) < 4 + 4 * content[3]:
        raise UserError(f"{where} is no IDX file of bytes; expected one like train-images-idx3-ubyte")
    shape = tuple(np.frombuffer(content, ">u4", content[3], 4).tolist())
    if len(content) != 4 + 4 * len(shape) + math.prod(shape):
        raise UserError(f"{where} holds {len(content):,} bytes, and says that it has {shape} values; get it again")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _of_idx(where: Path, files: list[Path]) -> Read:
    def one(part: tuple[str, ...], kind: str) -> NDArray[np.uint8] | None:
        found = [file for file in files if kind in file.name.lower() and any(name in file.name.lower() for name in part)]
        if len({file.name.removesuffix(".gz") for file in found}) > 1:
            raise UserError(f"{str(where)!r} holds several IDX files of {part[-1]} {kind}; give a folder with one set")
        return idx(given.unpacked(found[0], given.read(found[0], MOST), MOST), repr(str(found[0]))) if found else None

    def both(part: tuple[str, ...]) -> Images | None:
        images, labels = one(part, "images"), one(part, "labels")
        if images is None or labels is None:
            return None
        if images.ndim != 3 or labels.ndim != 1:
            raise UserError(f"{str(where)!r} holds images of {images.ndim} axes and labels of {labels.ndim}; expected 3 and 1")
        return Images(images, labels.astype(np.int32))

    train, test = both(TRAIN), both(TEST)
    if train is None:
        raise UserError(f"{str(where)!r} holds no pair of IDX files for training; expected train-images-idx3-ubyte[.gz] and "
                        "train-labels-idx1-ubyte[.gz], and for testing the same with t10k or test")  # fmt: skip
    largest = max(part.labels.max(initial=0) for part in (train, test) if part is not None)
    return Read(train, test, _numbers(int(largest) + 1))


# Arrays and tables. ---------------------------------------------------------------------------------------------------------


def _of_npz(where: Path) -> Read:
    try:
        with given.opened(where, MOST) as file, np.load(file, allow_pickle=False) as stored:
            if sum(part.file_size for part in stored.zip.infolist()) > MOST:
                raise UserError(f"{str(where)!r} holds more than {MOST:,} bytes, unpacked; give a part of it")
            arrays = {name: stored[name] for name in stored.files}
    except UserError:
        raise
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, OSError) as error:
        raise UserError(
            f"{str(where)!r} is no .npz file of numbers ({shortened(str(error))}); expected one of NumPy's"
        ) from None

    def part(*names: tuple[str, str]) -> Images | None:
        pair = next((pair for pair in names if all(name in arrays for name in pair)), None)
        return None if pair is None else Images(inked(arrays[pair[0]], where), _labels(arrays[pair[1]], where))

    train = part(("x_train", "y_train"), ("train_images", "train_labels"), ("x", "y"), ("images", "labels"))
    test = part(("x_test", "y_test"), ("test_images", "test_labels"))
    if train is None:
        raise UserError(
            f"{str(where)!r} holds {', '.join(arrays) or 'nothing'}; expected x_train and y_train, and if there are any x_test "
            "and y_test; or images and labels"
        )
    largest = max(part.labels.max() for part in (train, test) if part is not None)
    return Read(train, test, _numbers(int(largest) + 1))


def _labels(found: NDArray[Any], where: Path) -> NDArray[np.int32]:
    labels = found.reshape(-1)
    if labels.dtype.kind not in "buif" or not np.array_equal(labels, labels.astype(np.int32)) or labels.min(initial=0) < 0:
        raise UserError(
            f"{str(where)!r} holds labels of {labels.dtype} that are no whole numbers from 0 on; number the classes"
        )
    return labels.astype(np.int32)


def inked(found: NDArray[Any], where: Path | str) -> NDArray[np.uint8]:
    """Images of any numbers as bytes of 0 to 255: numbers of 0 to 1 are grown.

    Raises:
      UserError: where they are no images, or go beyond.
    """
    shape = found.shape[:-1] if found.ndim == 4 and found.shape[-1] == 1 else found.shape
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[-1] != 3) or found.dtype.kind not in "buif":
        raise UserError(f"{str(where)!r} holds images of {found.dtype} {found.shape}; expected (N, H, W) or (N, H, W, 3)")
    found = found.reshape(shape)
    if found.dtype.kind == "f" and found.size and np.nanmax(found) <= 1:
        found = found * WHITE
    if not (np.isfinite(found).all() and found.min(initial=0) >= 0 and found.max(initial=0) <= WHITE):
        raise UserError(f"{str(where)!r} holds other values than 0 to {WHITE}, or 0 to 1; scale the images to these")
    return np.rint(found).astype(np.uint8)


def _of_table(where: Path, content: bytes) -> Read:
    """A CSV file, an image a row: its label in the column "label", or else in the last one, and the pixels of a square."""
    rows = [row for row in csv.reader(io.StringIO(given.text(where, content))) if row]
    head = [name.strip().lower() for name in rows[0]] if rows and not all(map(is_number, rows[0])) else []
    try:
        table = np.array([[float(x) for x in row] for row in rows[1 if head else 0 :]])
        if table.ndim != 2 or table.shape[1] < 2:
            raise ValueError("no columns")
    except ValueError as error:
        raise UserError(f"{str(where)!r} holds no table of numbers ({shortened(str(error))}); expected {FORMS}") from None
    place = head.index("label") if "label" in head else table.shape[1] - 1
    pixels = np.delete(table, place, axis=1)
    side = math.isqrt(pixels.shape[1])
    if side**2 != pixels.shape[1]:
        raise UserError(f"a row of {str(where)!r} has {pixels.shape[1]} pixels, which make no square; give an .npz file")
    labels = _labels(table[:, place], where)
    return Read(Images(inked(pixels.reshape(-1, side, side), where), labels), None, _numbers(int(labels.max()) + 1))


# Pictures. ------------------------------------------------------------------------------------------------------------------


class Picture(NamedTuple):
    path: PurePosixPath  # below the folder or in the archive
    content: bytes


def _in_folder(where: Path) -> Iterator[Picture]:
    for file in sorted(where.rglob("*")):
        if file.suffix.lower() in PICTURES and file.is_file():
            yield Picture(PurePosixPath(file.relative_to(where).as_posix()), given.read(file))


def _in_zip(where: Path) -> Iterator[Picture]:
    try:
        with given.opened(where, MOST) as file, zipfile.ZipFile(file) as archive:
            parts = sorted(archive.infolist(), key=lambda part: part.filename)
            if sum(part.file_size for part in parts) > MOST:
                raise UserError(f"{str(where)!r} holds more than {MOST:,} bytes, unpacked; give a part of it")
            for part in parts:
                path = PurePosixPath(part.filename)
                if path.suffix.lower() in PICTURES and "__MACOSX" not in path.parts:
                    yield Picture(path, archive.read(part))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise UserError(f"cannot read {str(where)!r} ({shortened(str(error))}); expected a .zip file of pictures") from None


def pixels(content: bytes, name: str) -> NDArray[np.uint8]:
    """A picture's pixels: (H, W) of grey ones, (H, W, 3) of others.

    Raises:
      UserError: where it is none, or too large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            if max(image.size) > SIDE:
                raise UserError(f"{name!r} has {image.size} pixels, expected {SIDE} a side at most; make the images smaller")
            return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA", "I", "I;16", "F") else "RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"cannot read the picture {name!r} ({shortened(str(error))}); mend it, or take it out") from None


def stacked(found: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures of one size by their names as one array: in colour where any is.

    Raises:
      UserError: where they have several sizes.
    """
    sizes = {name: image.shape[:2] for name, image in found.items()}
    first = next(iter(sizes))
    other = next((name for name, size in sizes.items() if size != sizes[first]), None)
    if other is not None:
        raise UserError(f"{other!r} has {sizes[other]} pixels and {first!r} {sizes[first]}; make the images one size")
    colour = any(image.ndim == 3 for image in found.values())
    return np.stack([np.repeat(x[..., None], 3, -1) if colour and x.ndim == 2 else x for x in found.values()])


def _of_pictures(where: Path, pictures: Iterator[Picture]) -> Read:
    """By CLASS/FILE, or train/CLASS/FILE and test/CLASS/FILE; folders above these play no part."""
    parts: dict[str, dict[str, tuple[str, NDArray[np.uint8]]]] = {"": {}, "train": {}, "test": {}}
    size = 0
    for path, content in pictures:
        if len(path.parts) < 2:
            raise UserError(f"the picture {str(path)!r} of {str(where)!r} lies in no folder of a class; expected CLASS/FILE")
        part = path.parts[-3].lower() if len(path.parts) > 2 else ""
        image = pixels(content, str(path))
        size += image.nbytes
        if size > MOST:
            raise UserError(f"{str(where)!r} holds more than {MOST:,} bytes of pixels; give a part of it")
        parts[part if part in parts else ""][str(path)] = path.parts[-2], image
    train, test = parts["train"] or parts[""], parts["test"] if parts["train"] else {}
    if not train or (parts[""] and parts["train"]):
        raise UserError(f"{str(where)!r} holds {'no pictures' if not train else 'pictures beside its train folder'}; "
                        f"expected {FORMS}")  # fmt: skip
    classes = tuple(sorted({name for name, _ in (*train.values(), *test.values())}, key=lambda name: (len(name), name)))
    images = stacked({name: image for name, (_, image) in (train | test).items()})
    labels = np.array([classes.index(name) for name, _ in (*train.values(), *test.values())], np.int32)
    first = len(train)
    return Read(Images(images[:first], labels[:first]), Images(images[first:], labels[first:]) if test else None, classes)
