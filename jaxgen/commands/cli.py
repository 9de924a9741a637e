"""What the commands share: flags from dataclasses, errors in one line, signals that save."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, NoReturn, TextIO, TypeVar

import tyro

from jaxgen.called import called
from jaxgen.commands.flags import spelled
from jaxgen.commands.pages import ALL, HELP, page
from jaxgen.fields import UserError
from jaxgen.tasks import TASKS, find
from jaxgen.tasks.base import Task

T = TypeVar("T")


def parse(flags: type[T], prog: str, args: Sequence[str] | None = None) -> T:
    """The command line as a dataclass; --help and --help-all end the command.

    Raises:
      UserError: if it is wrong.
    """
    args = sys.argv[1:] if args is None else args
    if {*args} & {*HELP, *ALL}:
        print(page(flags, prog, whole=not {*args}.isdisjoint(ALL)), end="")
        raise SystemExit(0)
    args, said = spelled(args, flags, prog), io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(flags, prog=called(prog), args=args, use_underscores=True)
    except SystemExit:
        raise UserError(plain(said.getvalue())) from None


HOME = "names"  # the task of a command line that names none


def asked(args: Sequence[str], owners: Mapping[str, str] = MappingProxyType({})) -> Task:
    """The task that a command line names, before its flags are read: what they are depends on it.

    Args:
      owners: ablation -> its task, which a command line may name in a task's place.

    Raises:
      UserError: if there is no such task.
    """
    for place, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if name == "--task":
            return found(value if equals else next(iter(args[place + 1 :]), ""))
    own = [owners[arg] for before, arg in zip(["", *args], args, strict=False) if arg in owners and not _takes(before)]
    return find(own[0] if own else HOME)


def _takes(flag: str) -> bool:
    """Whether what follows a flag is its value."""
    switches = ("resume", "overwrite", "list", "no_cache", "tensorboard", "train.diagnostics", "model.residual")
    return flag.startswith("--") and "=" not in flag and flag[2:].replace("-", "_") not in switches


def found(name: str) -> Task:
    """The task of a flag; a user's own module may compute as it is imported, and cores are devices before that or never.

    Raises:
      UserError: if there is no such task.
    """
    if name not in TASKS:
        from jaxgen.engine.plan import use_every_core

        use_every_core()
    return find(name)


def given_task(name: str | None) -> Task | None:
    """The task of an optional flag. Raises as `found` does."""
    return None if name is None else found(name)


@functools.cache
def flags_of(flags: type, task: Task) -> type:
    """A command's flags with the config of a task in place of the names task's."""
    if task.Config is flags.__dataclass_fields__["config"].default_factory:
        return flags
    config = (Annotated[task.Config, tyro.conf.arg(name="")], dataclasses.field(default_factory=task.Config))
    made = dataclasses.make_dataclass("Flags", [("config", *config)], bases=(flags,), frozen=True)
    made.__doc__ = flags.__doc__
    return made


def plain(boxed: str) -> str:
    """A message that tyro drew in a box, as one line."""
    lines = [re.sub(r"[╭╮╰╯│─━]+", " ", line).strip() for line in boxed.splitlines()[1:]]  # the first is the box's title
    return re.sub(r"\s+", " ", "; ".join(line for line in lines if line))


def fail(message: str) -> NoReturn:
    """One line on stderr, exit code 2."""
    said = " ".join(message.splitlines())
    _say(f"error: {said if len(said) <= LINE else f'{said[:LINE]}... (and {len(said) - LINE:,} characters more)'}")
    raise SystemExit(2)


LINE = 4000  # characters of an error that are shown
GRACE = 8.0  # seconds from a signal to the end, where saving has not come to pass by then


class Signals:
    """SIGINT and SIGTERM end a command at once, with the shell's code; while a run trains, after what it has done is saved.

    A thread reads them: Python's own handlers wait as long as a program compiles or computes.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._saves = False
        self._grace = GRACE
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: None)  # so that Python writes to the pipe, and nothing else
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for number in iter(lambda: os.read(self._reader, 1)[0], None):
            if number not in (signal.SIGINT, signal.SIGTERM):
                continue
            if self._received is not None or not self._saves:
                self._end(number)
            self._received = number
            patience = threading.Timer(self._grace, self._end, (number,))
            patience.daemon = True
            patience.start()
            threading.Thread(target=_say, args=("stopping after this segment; again to stop at once",), daemon=True).start()

    def _end(self, number: int) -> NoReturn:
        if os.isatty(1):  # the cursor, which a live table hides; the terminal may have been stopped
            cursor = threading.Thread(target=os.write, args=(1, b"\x1b[?25h"), daemon=True)
            cursor.start()
            cursor.join(0.2)
        os._exit(128 + number)  # every file is whole at any moment

    @contextlib.contextmanager
    def saving(self, grace: float = GRACE) -> Iterator[None]:
        """A body that asks `wish` now and then, saves and ends, and has so many seconds for that."""
        self._saves, self._grace = True, grace
        try:
            yield
        finally:
            self._saves = False

    def wish(self) -> bool:
        """Whether a signal has come."""
        return self._received is not None

    def leave(self) -> NoReturn:
        """Exits with the code of the signal that came."""
        raise SystemExit(128 + (self._received or 0))


def _say(text: str) -> None:
    """A line on stderr, which may be full, closed or read by no one."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def _quiet() -> None:
    """What a library's threads print and log of an error that the main thread reports is left out."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    show = sys.unraisablehook
    main = threading.main_thread()
    sys.unraisablehook = lambda what: show(what) if threading.current_thread() is main else None


def main(command: Callable[[Signals], Any]) -> None:
    """Runs a command; a mistake of the user's is one line on stderr and exit code 2."""
    _stand()
    signals = Signals()
    _quiet()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # names are what they are, whatever the locale
    try:
        try:
            command(signals)
        finally:
            sys.stdout.flush()  # here, where it can be said, and not as Python ends
    except UserError as error:
        fail(str(error))
    except BrokenPipeError:  # the reader of stdout, such as head, has left
        _drop(1)
        raise SystemExit(1) from None
    except OSError as error:  # of what is no file of a run, such as stdout on a full disk
        _drop(1)
        fail(
            f"{error.strerror or error}{f': {error.filename!r}' if error.filename else ''}; see to it, then go on with --resume"
        )
    finally:
        try:
            sys.stderr.flush()
        except OSError:
            _drop(2)


def output() -> TextIO:
    """Where a command's answer goes.

    Raises:
      UserError: if stdout was closed.
    """
    if getattr(sys.stdout, "name", None) == os.devnull:
        raise UserError("stdout is closed, and what this command answers goes there; leave it open, or send it to a file")
    return sys.stdout


def _stand() -> None:
    """Fills the places of standard streams that were closed: the next file to be opened would take them, and be printed to."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w"))  # noqa: SIM115  (for as long as Python runs)


def _drop(number: int) -> None:
    """Sends nowhere what a stream still holds: Python would try to write it as it ends, and print a traceback."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
