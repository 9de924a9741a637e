"""Files that a user gives: looked at before they are read, and read as what they certainly are.

Beside `storage.files`, which reads what a run wrote.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from jaxgen.fields import UserError

LARGEST = 2**28  # bytes of a file, packed and unpacked: millions of names
NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a pipe that nobody writes to would wait for ever; not on Windows
MARKS = {  # the longer ones first: the mark of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
KINDS = {  # what a file begins with, and what it is then
    b"PK\x03\x04": "a zip archive, as spreadsheets are, too",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ\x00": "packed by xz",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"%PDF": "a PDF",
    b"SQLite format 3\x00": "a database of SQLite",
    b"PAR1": "a Parquet file",
    b"\x93NUMPY": "an array of NumPy",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x7fELF": "a program",
}
ZERO, SAMPLE = 0, 4096  # bytes of a file's beginning that tell UTF-16 from UTF-8


@contextlib.contextmanager
def opened(path: Path, most: int = LARGEST) -> Iterator[BinaryIO]:
    """A regular file, which a link may lead to.

    Raises:
      UserError: if there is none, it is of another kind, larger than `most` bytes, or cannot be read.
    """
    try:
        held = os.open(path, os.O_RDONLY | NO_WAIT)
        try:
            facts = os.fstat(held)
            if not stat.S_ISREG(facts.st_mode):
                raise UserError(f"{str(path)!r} is {_kind(facts.st_mode)}, expected a file; {_instead(facts.st_mode)}")
            if facts.st_size > most:
                raise UserError(f"{str(path)!r} has {facts.st_size:,} bytes, expected {most:,} at most; give a part of it")
            with open(held, "rb", closefd=False) as file:
                yield file
        finally:
            os.close(held)
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r} ({error.strerror}); give the path of a file that can be read") from None


def read(path: Path, most: int = LARGEST) -> bytes:
    """The bytes of such a file. Raises as `opened` does."""
    with opened(path, most) as file:
        return file.read(most)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _instead(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "give one of those in it"
    return "write what comes from it to a file, and give that: a run reads its data again as it goes on"


def text(path: Path, content: bytes) -> str:
    """A text file's content as text: UTF-8, or UTF-16 or UTF-32 by their marks, also packed by gzip.

    Raises:
      UserError: if it is something else, as far as can be told by name.
    """
    content = unpacked(path, content)
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        found = content.decode(encoding)
    except UnicodeDecodeError as error:
        said = (_other(content) if encoding == "utf-8" else None) or f"is not {_named(encoding)}: {_wrong(content, error)}"
        raise UserError(f"{str(path)!r} {said}") from None
    if "\0" in found:  # which a name may hold, too
        said = _other(content) if encoding == "utf-8" else None
        if said is None and found.count("\0") > len(found) / 2:
            said = "is mostly zero bytes, expected text; it may never have been written whole"
        if said is not None:
            raise UserError(f"{str(path)!r} {said}")
    return found


def unpacked(path: Path, content: bytes, most: int = LARGEST) -> bytes:
    """What a file holds, where it is packed by gzip.

    Raises:
      UserError: if it is damaged, or holds more than `most` bytes.
    """
    if not content.startswith(b"\x1f\x8b"):
        return content
    parts, left = [], content
    try:
        while left:  # a file may hold several, one behind the other
            stream = zlib.decompressobj(wbits=31)
            parts.append(stream.decompress(left, most + 1 - sum(map(len, parts))))
            if sum(map(len, parts)) > most:
                raise UserError(f"{str(path)!r} holds more than {most:,} bytes, unpacked; give a part of it")
            if not stream.eof:
                raise EOFError
            left = stream.unused_data.lstrip(b"\0")
    except (zlib.error, EOFError):
        raise UserError(f"{str(path)!r} is packed by gzip, and damaged or cut off; get it again") from None
    return b"".join(parts)


def _other(content: bytes) -> str | None:
    """What content that is no text is, and what to do; None: that is not known."""
    kind = next((kind for head, kind in KINDS.items() if content.startswith(head)), None)
    if kind is not None:
        return f"is {kind}, expected text; unpack or export it first"
    head = content[: min(SAMPLE, len(content)) // 2 * 2]
    shares = [head[side::2].count(ZERO) / max(len(head) // 2, 1) for side in (0, 1)]
    if max(shares) < 0.3 or min(shares) > 0.05:  # of European text nearly all, of others the spaces and line breaks
        return None
    order = "LE" if shares[1] > shares[0] else "BE"
    return f"looks like UTF-16 without its mark; convert it: iconv -f UTF-16{order} -t UTF-8"


def _named(encoding: str) -> str:
    return {"utf-8-sig": "UTF-8"}.get(encoding, encoding.upper())


def _wrong(content: bytes, error: UnicodeDecodeError) -> str:
    """What stands where a text cannot be read, and what the text may be."""
    line = content[: error.start].count(b"\n") + 1
    said = f"byte {content[error.start]:#04x} in line {line}"
    try:
        content.decode("cp1252")
    except UnicodeDecodeError:
        return f"{said}; convert it, for instance with iconv -t UTF-8 -f ENCODING"
    return f"{said}; if it is Windows-1252 or Latin-1, convert it: iconv -f WINDOWS-1252 -t UTF-8"
