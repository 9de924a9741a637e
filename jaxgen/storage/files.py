"""Files that are read without trust and written so that each is whole or not there, on disk before it counts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

from jaxgen.fields import UserError
from jaxgen.given import NO_WAIT

UNFINISHED = re.compile(r"(\.\d+)?\.new$")
HERE = f"{int.from_bytes(os.urandom(3)):08d}"  # beside a process's number, which one on another machine may have, too
LARGEST = 2**30  # bytes of a file that is read whole
NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # not on Windows


def read(path: Path, most: int = LARGEST) -> bytes:
    """The bytes of a regular file.

    Raises:
      FileNotFoundError: if there is none.
      UserError: if it is a symbolic link or anything else than a regular file, larger than `most` bytes, or cannot be read.
    """
    with _opened(path, most) as file:
        return file.read(most)


def head(path: Path, size: int) -> bytes | None:
    """The first bytes of a regular file; None where it has fewer. Raises as `read` does."""
    with _opened(path, None) as file:
        return file.read(size) if os.fstat(file.fileno()).st_size >= size else None


def sha256(path: Path) -> str:
    """The size in bytes and the SHA-256 of a regular file, as text. Raises as `read` does."""
    with _opened(path, None) as file:
        return f"{os.fstat(file.fileno()).st_size} {hashlib.file_digest(file, 'sha256').hexdigest()}"


@contextlib.contextmanager
def _opened(path: Path, most: int | None) -> Iterator[Any]:
    try:
        if path.is_symlink():
            raise UserError(f"{str(path)!r} is a symbolic link, and a run's files are none; remove it")
        with open(os.open(path, os.O_RDONLY | NO_LINK | NO_WAIT), "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise UserError(f"{str(path)!r} is not a regular file; remove it")
            if most is not None and facts.st_size > most:
                raise UserError(f"{str(path)!r} has {facts.st_size} bytes, expected {most} at most; it is not of a run")
            yield file
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r} ({error.strerror})") from None


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an error of the disk into one line that says what to do.

    Raises:
      CannotWrite: if the body raises OSError.
    """
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error.strerror or str(error)) from error


class CannotWrite(UserError):
    """The disk is full or fails (`why`); what was written before is whole."""

    why: str = ""


def cannot_write(path: Path, why: str) -> CannotWrite:
    """What to say then."""
    error = CannotWrite(
        f"cannot write {str(path)!r} ({why}); what was saved before is whole: make room or mend the disk, "
        "then go on with the same command and --resume"
    )
    error.why = why
    return error


def unfinished(path: Path) -> Path:
    """Where what is to become a file or a folder is written: beside it, by a name that no other process takes."""
    return path.with_name(f"{path.name}.{os.getpid()}{HERE}.new")


def finished(name: str) -> str:
    """What was to be made of a file of `unfinished`'s name, if it is one; else the name."""
    return UNFINISHED.sub("", name)


def foreign(path: Path) -> CannotWrite:
    """What to say where another process has written into a run's folder, which it can where no lock holds it off."""
    return CannotWrite(
        f"{str(path)!r} was written by another process since this one did; nothing is written over it: let one go on, by "
        "--resume, and give each run a folder of its own"
    )


def write(path: Path, content: str | bytes) -> None:
    """Replaces a file in one step; it is on disk on return.

    Raises:
      UserError: if it cannot be written; it is as it was then.
    """
    new = unfinished(path)
    with writing(path):
        try:
            new.unlink(missing_ok=True)
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o666), "wb") as file:
                file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, path)
            settle(path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink()
            raise


def append(path: Path, content: bytes) -> None:
    """Adds to the end of a file that is there; it is on disk on return.

    Raises:
      UserError: if it cannot be written; a part of it may have been then.
    """
    with writing(path), open(os.open(path, os.O_WRONLY | os.O_APPEND | NO_LINK), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Removes a file, or a folder with all that it holds; of a link, the link alone."""
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def settle(path: Path) -> None:
    """Puts a file, or a folder's list of names, on disk, where the system can."""
    if os.name == "posix":
        held = os.open(path, os.O_RDONLY)
        try:
            os.fsync(held)
        finally:
            os.close(held)


def sums(folder: Path) -> dict[str, str]:
    """Size and SHA-256 of every file below a folder by its relative path, all of them on disk on return."""
    found: dict[str, str] = {}
    with writing(folder):
        for place, _, names in os.walk(folder):
            for name in names:
                path = Path(place) / name
                settle(path)
                found[path.relative_to(folder).as_posix()] = sha256(path)
            settle(Path(place))
    return found


def damage(folder: Path, expected: Mapping[str, str]) -> str | None:
    """What differs between the files below a folder and the sums taken of them; None: nothing."""
    if folder.is_symlink() or not folder.is_dir():
        return f"{str(folder)!r} is not there, or is no folder"
    for place, folders, names in os.walk(folder):
        for name in folders + names:
            path = Path(place) / name
            if path.is_symlink() or (name in names and path.relative_to(folder).as_posix() not in expected):
                return f"{str(path)!r} is not of this run"
    for name, written in expected.items():
        try:
            if sha256(folder / name) != written:
                return f"{str(folder / name)!r} is damaged: it is not as it was written, by its SHA-256"
        except FileNotFoundError:
            return f"{str(folder / name)!r} is not there"
        except UserError as error:
            return str(error)
    return None


def signed(value: Any) -> str:
    """A JSON value as a file's content: its SHA-256, a line break, and the JSON text in UTF-8."""
    text = json.dumps(value)
    return f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}\n"


def unsigned(content: bytes) -> Any:
    """The JSON value that `signed` wrote.

    Raises:
      ValueError: if the content is not what was written.
    """
    digest, _, text = content.partition(b"\n")
    if not text.endswith(b"\n") or hashlib.sha256(text[:-1]).hexdigest().encode() != digest:
        raise ValueError("its SHA-256 is not that of what was written")
    return json.loads(text)


def checked(value: Any, kind: Any) -> Any:
    """A JSON value that is of a type.

    Raises:
      ValueError: if it is not.
    """
    try:
        return check_type(value, kind, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
    except TypeCheckError as error:
        raise ValueError(str(error)) from None
