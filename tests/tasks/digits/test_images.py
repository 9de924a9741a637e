"""Images in files: the bundled ones beside what their formats say, and a user's own in every form beside each other."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from jaxgen.fields import UserError
from jaxgen.tasks.digits import images
from jaxgen.tasks.digits.data import inputs_in
from jaxgen.tasks.digits.images import SHA256, Images, idx, read

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_of(x: np.ndarray) -> bytes:
    """A file in the format of http://yann.lecun.com/exdb/mnist, as its table says."""
    return bytes([0, 0, 8, x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape) + x.astype(np.uint8).tobytes()


@pytest.fixture(scope="module")
def some() -> tuple[Images, Images]:
    """Training and test images of 5 by 5 of two classes."""
    source = np.random.default_rng(0)
    return tuple(Images(source.integers(0, 256, (n, 5, 5)).astype(np.uint8), np.arange(n, dtype=np.int32) % 2) for n in (6, 4))  # pyright: ignore[reportReturnType]


def save_idx(folder: Path, train: Images, test: Images, pack: Callable[[bytes], bytes] = bytes, end: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    for name, x in zip(NAMES, (*train, *test), strict=True):
        (folder / f"{name}{end}").write_bytes(pack(idx_of(x)))
    return folder


def save_png(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "png")
    return out.getvalue()


# The bundled sets. ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHA256)
def test_bundled_files_are_those_that_are_named(name: str) -> None:
    assert hashlib.sha256((ROOT / "data" / name).read_bytes()).hexdigest() == SHA256[name]
    assert SHA256[name] in (ROOT / "data" / "README.md").read_text()
    assert SHA256[name] in (ROOT / "data" / "build.py").read_text()


@pytest.mark.parametrize(("name", "counts", "white"), [("mnist", (10_000, 2_000), 255), ("fashion", (5_000, 1_000), 255)])
def test_bundled_sets_are_read_as_a_loop_reads_them(name: str, counts: tuple[int, int], white: int) -> None:
    found = read(name)
    assert found.test is not None
    for part, called, count in ((found.train, "train", counts[0]), (found.test, "t10k", counts[1])):
        content = gzip.decompress((ROOT / "data" / f"{name}-{called}-images-idx3-ubyte.gz").read_bytes())
        assert part.images.shape == (count, 28, 28)
        last = [[content[16 + 784 * (count - 1) + 28 * row + column] for column in range(28)] for row in range(28)]
        assert part.images[-1].tolist() == last
        labels = gzip.decompress((ROOT / "data" / f"{name}-{called}-labels-idx1-ubyte.gz").read_bytes())
        assert part.labels.tolist() == list(labels[8:])
        assert set(Counter(part.labels.tolist())) == set(range(10))
        assert part.images.max() == found.ink == white
    assert len(found.classes) == 10


def test_digits_of_8_by_8_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    found = read("digits8x8")
    known: Any = load_digits()
    np.testing.assert_array_equal(found.train.images, known.images)
    np.testing.assert_array_equal(found.train.labels, known.target)
    assert (found.test, found.ink) == (None, 16)


def test_a_damaged_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "SHA256", dict.fromkeys(SHA256, "0" * 64))
    with pytest.raises(UserError, match="install jaxgen again"):
        images.bundled("digits8x8.csv.gz")


# A user's own. --------------------------------------------------------------------------------------------------------------


def forms(folder: Path, train: Images, test: Images) -> dict[str, Path]:
    """The same images in every form."""
    made = {"idx": save_idx(folder / "idx", train, test), "packed": save_idx(folder / "gz", train, test, gzip.compress, ".gz")}
    np.savez(folder / "keras.npz", x_train=train.images, y_train=train.labels, x_test=test.images, y_test=test.labels)
    np.savez(folder / "shares.npz", x_train=train.images / 255, y_train=train.labels, x_test=test.images, y_test=test.labels)
    made |= {
        "npz": folder / "keras.npz",
        "shares": folder / "shares.npz",
        "pictures": folder / "png",
        "zip": folder / "png.zip",
    }
    with zipfile.ZipFile(made["zip"], "w") as archive:
        for part, found in (("train", train), ("test", test)):
            for number, (image, label) in enumerate(zip(*found, strict=True)):
                path = folder / "png" / part / f"class_{label}" / f"{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(save_png(image))
                archive.writestr(f"all/{part}/class_{label}/{number:03d}.png", path.read_bytes())
    return made


def rows(part: Images | None) -> list[tuple[bytes, int]]:
    assert part is not None
    return sorted((image.tobytes(), int(label)) for image, label in zip(*part, strict=True))


def test_every_form_holds_the_same_images(some: tuple[Images, Images], tmp_path: Path) -> None:
    for form, path in forms(tmp_path, *some).items():
        found = read(str(path))
        assert (rows(found.train), rows(found.test)) == (rows(some[0]), rows(some[1])), form
        assert found.classes == (("class_0", "class_1") if form in ("pictures", "zip") else ("0", "1"))
    table = np.column_stack([some[0].labels, some[0].images.reshape(6, 25)])
    np.savetxt(tmp_path / "kaggle.csv", table, "%d", ",", header=",".join(["label", *map(str, range(25))]), comments="")
    np.savetxt(tmp_path / "last.csv", np.roll(table, -1, 1), "%d", ",")
    for name in ("kaggle.csv", "last.csv"):
        found = read(str(tmp_path / name))
        assert (rows(found.train), found.test) == (rows(some[0]), None)


def test_images_in_colour(tmp_path: Path) -> None:
    """One is enough for all to be in colour, and a grey one has three equal colours."""
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    for name, image in (("a/1", red), ("a/2", red), ("b/1", np.full((4, 4), 7, np.uint8))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.png").write_bytes(save_png(image))
    found = read(str(tmp_path))
    np.testing.assert_array_equal(found.train.images, [red, red, np.full((4, 4, 3), 7)])
    assert (found.train.labels.tolist(), found.classes, found.test) == ([0, 0, 1], ("a", "b"), None)


def broken(folder: Path, some: tuple[Images, Images]) -> dict[str, tuple[Path, str]]:
    """What is no set of images, and what is said of it."""
    train, test = some
    short = save_idx(folder / "short", train, test)
    (short / NAMES[0]).write_bytes(idx_of(train.images)[:-1])
    fewer = save_idx(folder / "fewer", Images(train.images[:-1], train.labels), test)
    other = save_idx(folder / "other", train, Images(test.images[:, :4], test.labels))
    floats = save_idx(folder / "floats", train, test)
    (floats / NAMES[0]).write_bytes(b"\0\0\x0d\x03" + bytes(12))
    alone = folder / "alone"
    alone.mkdir()
    (alone / NAMES[0]).write_bytes(idx_of(train.images))
    flat = folder / "flat"
    flat.mkdir()
    (flat / "one.png").write_bytes(save_png(train.images[0]))
    sizes = folder / "sizes" / "a"
    sizes.mkdir(parents=True)
    (sizes / "1.png").write_bytes(save_png(train.images[0]))
    (sizes / "2.png").write_bytes(save_png(train.images[0, :4]))
    torn = folder / "torn" / "a"
    torn.mkdir(parents=True)
    (torn / "1.png").write_bytes(save_png(train.images[0])[:40])
    empty = folder / "empty"
    empty.mkdir()
    np.savez(folder / "what.npz", a=train.images)
    np.savez(folder / "beyond.npz", x=train.images.astype(int) * 2, y=train.labels)
    np.savez(folder / "halves.npz", x=train.images, y=train.labels + 0.5)
    np.savez(folder / "objects.npz", x=np.array([None] * 6), y=train.labels)
    (folder / "cut.npz").write_bytes((folder / "what.npz").read_bytes()[:50])
    (folder / "words.csv").write_text("a,b\nc,d\n")
    (folder / "oblong.csv").write_text("1,2,0\n3,4,1\n")
    return {
        "short": (short, "get it again"),
        "fewer": (fewer, "expected a label for each"),
        "other": (other, "expected one size"),
        "floats": (floats, "no IDX file of bytes"),
        "alone": (alone, "no pair of IDX files"),
        "flat": (flat, "lies in no folder of a class"),
        "sizes": (sizes.parent, "make the images one size"),
        "torn": (torn.parent, "cannot read the picture"),
        "empty": (empty, "holds no pictures"),
        "what": (folder / "what.npz", "expected x_train and y_train"),
        "beyond": (folder / "beyond.npz", "other values than 0 to 255"),
        "halves": (folder / "halves.npz", "no whole numbers"),
        "objects": (folder / "objects.npz", "no .npz file of numbers"),
        "cut": (folder / "cut.npz", "no .npz file"),
        "words": (folder / "words.csv", "no table of numbers"),
        "oblong": (folder / "oblong.csv", "make no square"),
        "nothing": (folder / "nothing", "there are no images at"),
    }


def test_what_is_no_set_of_images_is_refused(some: tuple[Images, Images], tmp_path: Path) -> None:
    for path, says in broken(tmp_path, some).values():
        with pytest.raises(UserError, match=says):
            read(str(path))


@pytest.mark.parametrize("content", [b"", b"\0\0\x08", b"\0\0\x08\x03\0\0", b"\0\0\x08\x01\xff\xff\xff\xff", b"PK\x03\x04"])
def test_what_is_no_idx_file_is_refused(content: bytes) -> None:
    with pytest.raises(UserError):
        idx(content, "a file")


def test_inputs_come_from_pictures_too(some: tuple[Images, Images], tmp_path: Path) -> None:
    train, _ = some
    for number, image in enumerate(train.images):
        (tmp_path / f"{number}.png").write_bytes(save_png(image))
    np.testing.assert_array_equal(inputs_in(tmp_path, (5, 5)), train.images)
    np.testing.assert_array_equal(inputs_in(tmp_path / "2.png", (5, 5)), train.images[2:3])
    (tmp_path / "idx3").write_bytes(idx_of(train.images))
    np.testing.assert_array_equal(inputs_in(tmp_path / "idx3", (5, 5)), train.images)
    colour = np.zeros((5, 5, 3), np.uint8) + np.array([10, 100, 200], np.uint8)
    (tmp_path / "colour.png").write_bytes(save_png(colour))
    assert inputs_in(tmp_path / "colour.png", (5, 5))[0, 0, 0] == round(0.299 * 10 + 0.587 * 100 + 0.114 * 200)
    with pytest.raises(UserError, match="holds no pictures"):
        inputs_in(ROOT / "tests", (5, 5))


def test_a_picture_that_is_too_large_is_refused() -> None:
    found: Any = save_png(np.zeros((1, 2000), np.uint8))
    with pytest.raises(UserError, match="1024 a side at most"):
        images.pixels(found, "wide.png")
