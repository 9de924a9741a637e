"""One writer at a time in a run's folder."""

from __future__ import annotations

import contextlib
import os
import socket
from datetime import datetime
from pathlib import Path

from jaxgen.fields import UserError
from jaxgen.storage.files import NO_LINK, read, writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = "lock"


class Held(UserError):
    """Another process has the folder."""


class Lock:
    """Holds a folder for this process until `release`, or until the process is gone, however it went.

    Held are the folder itself, whatever becomes of the files in it, and a file in it that says who holds it, which is a lock
    where a file system has none for folders.
    """

    def __init__(self, folder: Path) -> None:
        """Takes the lock.

        Raises:
          UserError: if another process has it, or the folder cannot be written to.
        """
        self._path = folder / LOCK
        self._folder = None if fcntl is None else os.open(folder, os.O_RDONLY)
        try:
            if self._folder is not None and not _free(self._folder, anywhere=False):
                raise self._refused()
            with writing(self._path):
                while not self._open():
                    pass
        except BaseException:
            if self._folder is not None:
                os.close(self._folder)
            raise

    def _open(self) -> bool:
        """Takes the file; false where who had it removed it in between."""
        self._held = os.open(self._path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
        taken = False
        try:
            taken = self._take()
        finally:
            if not taken:
                os.close(self._held)
        return taken

    def _refused(self) -> Held:
        owner = ""
        with contextlib.suppress(FileNotFoundError, UserError):
            owner = read(self._path).decode("utf-8", "replace").strip()[:200]
        return Held(
            f"{str(self._path.parent)!r} is being written by {owner or 'another process'}; wait for it, stop it, or give "
            "another --out"
        )

    def _take(self) -> bool:
        if not _free(self._held):
            raise self._refused()
        if not self._current():
            return False
        os.ftruncate(self._held, 0)
        about = f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%Y-%m-%d %H:%M:%S}\n"
        os.write(self._held, about.encode())
        return True

    def _current(self) -> bool:
        try:
            there = self._path.lstat()
        except FileNotFoundError:
            return False
        mine = os.fstat(self._held)
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Gives the lock back and removes its file."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._held)
        if self._folder is not None:
            os.close(self._folder)


def held(folder: Path) -> bool:
    """Whether another process holds a folder, as far as can be told without taking it."""
    if fcntl is None:
        return False
    try:
        there = os.open(folder / LOCK, os.O_RDWR | NO_LINK)
    except OSError:  # no file: nobody holds it
        return False
    try:
        fcntl.flock(there, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(there)
    return False


def _free(held: int, anywhere: bool = True) -> bool:
    """Whether an open file, or a folder, was free; it is held from then on.

    Args:
      anywhere: raise where its file system has no locks.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # of folders, over NFS
        if anywhere:
            raise
    return True
