"""One writer at a time in a run's folder."""

from __future__ import annotations

import contextlib
import os
import socket
from datetime import datetime
from pathlib import Path

from jaxgen.fields import UserError
from jaxgen.storage.files import NO_LINK, writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = "lock"


class Lock:
    """Holds a folder for this process until `release`, or until the process is gone, however it went."""

    def __init__(self, folder: Path) -> None:
        """Takes the lock.

        Raises:
          UserError: if another process has it, or the folder cannot be written to.
        """
        self._path = folder / LOCK
        with writing(self._path):
            while True:
                self._held = os.open(self._path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
                try:
                    if self._take():
                        return
                except BaseException:
                    os.close(self._held)
                    raise
                os.close(self._held)  # who had it removed the file in between

    def _take(self) -> bool:
        if not self._free():
            owner = os.read(self._held, 200).decode("utf-8", "replace").strip() or "another process"
            raise UserError(
                f"{str(self._path.parent)!r} is being written by {owner}; wait for it, stop it, or give another --out"
            )
        if not self._current():
            return False
        os.ftruncate(self._held, 0)
        about = f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%Y-%m-%d %H:%M:%S}\n"
        os.write(self._held, about.encode())
        return True

    def _free(self) -> bool:
        if fcntl is None:
            return True
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _current(self) -> bool:
        try:
            there = self._path.lstat()
        except FileNotFoundError:
            return False
        mine = os.fstat(self._held)
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def release(self) -> None:
        """Gives the lock back and removes its file."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._held)
