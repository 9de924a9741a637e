"""Commands in processes of their own, forked from one that has everything imported, with `faults.c` loaded by LD_PRELOAD.

Importing takes most of a short command's time. What `python -m` does itself, `call` in test_commands.py covers.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faults

SOON = 300  # seconds in which anything here ends


class Running:
    """A command that was started."""

    def __init__(self, process: Any, out: Path, err: Path) -> None:
        self.process, self._out, self._err = process, out, err

    @property
    def out(self) -> str:
        """What it has said on stdout."""
        return self._out.read_text(encoding="utf-8") if self._out.exists() else ""

    @property
    def err(self) -> str:
        """What it has said on stderr."""
        return self._err.read_text(encoding="utf-8") if self._err.exists() else ""

    def send(self, number: int) -> None:
        """Sends it a signal."""
        os.kill(self.process.pid, number)

    def wait(self, seconds: float = SOON) -> int | None:
        """Its exit code; minus the number of the signal that ended it; None if it has not ended by then."""
        self.process.join(seconds)
        return self.process.exitcode

    def until(self, what: Callable[[], bool], seconds: float = SOON) -> None:
        """Waits for something to hold."""
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, self.out + self.err
            assert self.process.is_alive(), self.out + self.err
            time.sleep(0.05)


class Commands:
    """Starts commands."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._started = folder, 0
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["faults", "jaxgen.commands.launch", "jaxgen.commands.sweep"])

    def start(
        self, command: str, *args: str | Path, fault: tuple[str, int, int] = ("", 0, 0), pictures: bool = False
    ) -> Running:
        """`python -m experiments.COMMAND ARGS`.

        Args:
          fault: a folder, the write below it that fails, and the error.
          pictures: draw a report's, which `report` does by itself.
        """
        self._started += 1
        out, err = (self._folder / f"{self._started}.{name}" for name in ("out", "err"))
        line = (command, [str(arg) for arg in args], str(out), str(err), pictures or command == "report", *fault)
        process = self._context.Process(target=faults.command, args=line)
        process.start()
        return Running(process, out, err)

    def call(self, command: str, *args: str | Path, **how: Any) -> tuple[int | None, str, str]:
        """Its exit code, and what it said on stdout and on stderr; `how` as of `start`."""
        running = self.start(command, *args, **how)
        return running.wait(), running.out, running.err


def built(folder: Path) -> Path | None:
    """`faults.c`, compiled, where that can be."""
    compiler = shutil.which("cc") if os.uname().sysname == "Linux" else None
    if compiler is None:
        return None
    library, source = folder / "faults.so", Path(__file__).with_name("faults.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library
