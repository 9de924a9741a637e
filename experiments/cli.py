"""What the commands share: flags from dataclasses, errors in one line, signals that save."""

from __future__ import annotations

import contextlib
import io
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import tyro

from jaxgen.config import UserError

T = TypeVar("T")


def parse(flags: type[T], prog: str, args: Sequence[str] | None = None) -> T:
    """The command line as a dataclass; a wrong one is one line on stderr and exit code 2."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(flags, prog=f"python -m experiments.{prog}", args=args, use_underscores=True)
    except SystemExit as stop:
        if stop.code:
            fail(plain(said.getvalue()))
        raise


def plain(boxed: str) -> str:
    """A message that tyro drew in a box, as one line."""
    lines = [re.sub(r"[╭╮╰╯│─━]+", " ", line).strip() for line in boxed.splitlines()[1:]]  # the first is the box's title
    return re.sub(r"\s+", " ", "; ".join(line for line in lines if line))


def fail(message: str) -> NoReturn:
    """One line on stderr, exit code 2."""
    print(f"error: {' '.join(message.splitlines())}", file=sys.stderr)
    raise SystemExit(2)


class Signals:
    """Turns SIGINT and SIGTERM into a wish that the training loop asks for between segments."""

    def __init__(self) -> None:
        self.received: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: object) -> None:
        if self.received is not None:
            raise SystemExit(128 + number)  # the second one: at once
        self.received = number
        print("stopping after this segment; again to stop at once", file=sys.stderr)

    def wish(self) -> bool:
        """Whether a signal has come."""
        return self.received is not None

    def leave(self) -> NoReturn:
        """Exits with the code of the signal that came."""
        raise SystemExit(128 + (self.received or 0))


def main(command: Callable[[], Any]) -> None:
    """Runs a command; a mistake of the user's is one line on stderr and exit code 2."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(encoding="utf-8", errors="backslashreplace")  # names are what they are, whatever the locale
    try:
        command()
    except UserError as error:
        fail(str(error))
    except BrokenPipeError:  # the reader of stdout, such as head, has left
        sys.stderr.close()
        raise SystemExit(1) from None
