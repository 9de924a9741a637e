"""Files that a user gives: what is no regular file, too large or no text is said in a line, at once; what is text is read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given as where
from hypothesis import strategies as st
from processes import Commands

from jaxgen import given
from jaxgen.fields import UserError
from jaxgen.tasks.inputs import table_of
from jaxgen.tasks.names.data import load_corpus

NAMES = ("anna", "josé", "zoë", "王芳")
TEXT = "\n".join(NAMES) + "\n"
LINES = "\n".join(f"anna {i}" for i in range(50))


def of(kind: str, path: Path) -> Path:
    """Makes what is no file to be read."""
    if kind.startswith("/dev/"):
        return Path(kind)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        with open(path, "wb") as file:
            file.truncate(5 * 2**30)
    elif kind == "link":
        path.symlink_to("/dev/zero")
    return path


KINDS = {
    "/dev/zero": "is a device, expected a file; write what comes from it to a file",
    "/dev/urandom": "is a device",
    "pipe": "is a pipe, expected a file; write what comes from it to a file",
    "socket": "cannot read|is a socket",
    "folder": "is a folder, expected a file; give one of those in it",
    "sparse": "has 5,368,709,120 bytes, expected .* at most; give a part of it",
    "link": "is a device",
    "nothing": r"cannot read .*No such file or directory\); give the path",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "read", [load_corpus, table_of, lambda path: table_of(path.with_suffix(".npy"))], ids=["names", "csv", "npy"]
)
def test_what_is_no_file_to_be_read_is_refused_at_once(kind: str, read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = of(kind, tmp_path / "given")
    if not kind.startswith("/dev/") and kind != "nothing":
        (tmp_path / "given.npy").symlink_to(path)
    elif kind != "nothing":
        (tmp_path / "given.npy").symlink_to(kind)
        path = tmp_path / "given.npy"
    with pytest.raises(UserError, match=KINDS[kind]) as error:
        read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("flag", ["--data", "--data.source"])
def test_a_command_says_so(flag: str, commands: Commands, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in ("/dev/zero", tmp_path / "pipe"):
        code, said, err = commands.call("train", flag, place, "--train.pretrain", "5", "--out", tmp_path / "run")
        assert (code, err.count("\n"), "expected a file" in err) == (2, 1, True), said
    assert not (tmp_path / "run").exists()


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("names.txt", content)
    return file.getvalue()


def array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


READ = {
    "UTF-8": TEXT.encode(),
    "UTF-8 with a mark": TEXT.encode("utf-8-sig"),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16, the other way round": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "UTF-32": TEXT.encode("utf-32"),
    "gzip": gzip.compress(TEXT.encode()),
    "gzip, in two parts": gzip.compress(TEXT[:7].encode()) + gzip.compress(TEXT[7:].encode()),
    "gzip of UTF-16": gzip.compress(TEXT.encode("utf-16")),
}


@pytest.mark.parametrize("how", READ)
def test_what_is_certainly_text_is_read(how: str, tmp_path: Path) -> None:
    path = tmp_path / ("names.txt.gz" if "gzip" in how else "names.txt")
    path.write_bytes(READ[how])
    assert load_corpus(path).names == NAMES


def test_a_packed_table_has_its_columns(tmp_path: Path) -> None:
    (tmp_path / "people.csv.gz").write_bytes(gzip.compress(b"name,born\nanna,1990\nbob,1991\n"))
    assert load_corpus(tmp_path / "people.csv.gz", "name").names == ("anna", "bob")
    with pytest.raises(UserError, match="a column is wanted"):
        load_corpus(tmp_path / "people.csv.gz")


REFUSED = {
    "UTF-16 without its mark": (LINES.encode("utf-16-le"), "looks like UTF-16 without its mark; convert it: iconv -f UTF-16LE"),
    "the same, the other way round": (LINES.encode("utf-16-be"), "iconv -f UTF-16BE"),
    "Latin-1": ("anna\njosé\n".encode("latin-1"), "is not UTF-8: byte 0xe9 in line 2; if it is Windows-1252 or Latin-1"),
    "no encoding that is known": (b"anna\n\xff\x81\n", "byte 0xff in line 2; convert it, for instance with iconv"),
    "UTF-16, cut off": ("anna".encode("utf-16")[:-1], "is not UTF-16: byte"),
    "a zip archive": (zipped(TEXT.encode()), "is a zip archive"),
    "bzip2": (bz2.compress(TEXT.encode()), "is packed by bzip2"),
    "xz": (lzma.compress(TEXT.encode()), "is packed by xz"),
    "an array": (array(), "is an array of NumPy"),
    "gzip, cut off": (READ["gzip"][:-9], "packed by gzip, and damaged or cut off"),
    "gzip, damaged": (READ["gzip"][:12] + b"x" + READ["gzip"][13:], "packed by gzip, and damaged or cut off"),
    "gzip and more behind it": (READ["gzip"] + b"more", "packed by gzip, and damaged or cut off"),
    "gzip of too much": (gzip.compress(b"anna\n" * 2**26), "holds more than 268,435,456 bytes, unpacked"),
    "nothing but zero bytes": (bytes(5000), "is mostly zero bytes"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_text_is_called_by_its_name(what: str, tmp_path: Path) -> None:
    content, says = REFUSED[what]
    (tmp_path / "names.txt").write_bytes(content)
    for read in (load_corpus, table_of):
        with pytest.raises(UserError, match=says) as error:
            read(tmp_path / "names.txt")
        assert "\n" not in str(error.value)


@where(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff")),
    st.sampled_from(["utf-8", "utf-16", "utf-32"]),
)
def test_no_text_is_taken_for_anything_else(text: str, encoding: str) -> None:
    for head in ("", "BZhang\n", "PAR1\n", "%PDF\n"):
        assert given.text(Path("names.txt"), (head + text).encode(encoding)) == head + text


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(9" + "9" * 30 + ",)", "(-1,)"])
def test_an_array_that_says_more_than_there_is_is_refused(shape: str, tmp_path: Path) -> None:
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    head = head.ljust(118 - len("\n")) + "\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + bytes(64))
    with pytest.raises(UserError, match="holds no table of numbers"):
        table_of(tmp_path / "x.npy")


def test_the_bundled_files_are_far_below_the_limit() -> None:
    assert max(path.stat().st_size for path in (ROOT / "data").iterdir()) < given.LARGEST / 10
