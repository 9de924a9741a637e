"""What is kept from one process to the next: compiled programs, and what plans were measured to take.

Whoever can write the folder of compiled programs can run code as the user, so it is the user's own and no one else's.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from jaxgen.engine.plan import Plan, Seconds
from jaxgen.fields import UserError
from jaxgen.storage.files import read, write

MOST = 2**30  # bytes of kept programs
UNREAD = "Error reading persistent compilation cache entry"  # how JAX begins to say it
PLANS = "plans.json"
PROGRAMS = "programs"
LARGEST = 2**24  # bytes of what was measured


def private_folder() -> Path | None:
    """The user's own cache folder, made if need be; None where it cannot be had, or others can write to it."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(home) / "jaxgen"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
    except OSError:
        return None
    mine = stat.S_ISDIR(facts.st_mode) and (not hasattr(os, "getuid") or facts.st_uid == os.getuid())
    return folder if mine and not facts.st_mode & 0o077 else None


def keep_programs(folder: Path) -> None:
    """Lets JAX keep compiled programs in a folder from now on; what was used least lately goes where there are too many."""
    forget(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder / PROGRAMS))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def forget(folder: Path, most: int = MOST) -> None:
    """Removes the compiled programs that were used least lately, until the others have at most `most` bytes."""
    with contextlib.suppress(OSError):  # another process may be doing the same
        kept = [(path, path.stat()) for path in (folder / PROGRAMS).iterdir()]
        total = sum(facts.st_size for _, facts in kept)
        for path, facts in sorted(kept, key=lambda one: max(one[1].st_atime, one[1].st_mtime)):
            if total <= most:
                return
            path.unlink(missing_ok=True)
            total -= facts.st_size


@contextlib.contextmanager
def mending(folder: Path | None, say: Callable[[str], None]) -> Iterator[None]:
    """In which a kept program that cannot be read is removed and compiled anew; JAX alone would warn of it each time."""
    told = False

    def show(message: Warning | str, *rest: Any, **more: Any) -> None:
        nonlocal told
        if folder is None or not str(message).startswith(UNREAD):
            shown(message, *rest, **more)
            return
        drop_unsound(folder)
        if not told:
            say(f"a compiled program that was kept in {folder} is damaged; it was removed, and is compiled anew")
        told = True

    with warnings.catch_warnings():
        shown, warnings.showwarning = warnings.showwarning, show
        yield


def drop_unsound(folder: Path) -> None:
    """Removes the kept programs that are not as they were packed."""
    with contextlib.suppress(OSError):
        for path in (folder / PROGRAMS).iterdir():
            try:
                zlib.decompress(path.read_bytes())
            except zlib.error:  # or packed otherwise, of which it is not known; it is only a cache
                path.unlink(missing_ok=True)


def _plans(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads(read(folder / PLANS, LARGEST))
    except (FileNotFoundError, UserError, ValueError, RecursionError):  # nothing yet, or damaged: measured anew
        return {}
    return found if isinstance(found, dict) else {}


def known(folder: Path | None, key: str) -> Seconds:
    """What was measured for a program before: seconds a trial-step by plan."""
    entries = _plans(folder).get(key, []) if folder is not None else []
    try:
        found = {Plan(int(devices), int(width), int(chunk)): float(s) for devices, width, chunk, s in entries}
    except (TypeError, ValueError, OverflowError):
        return {}
    sound = all(min(p.devices, p.width, p.chunk) > 0 and not p.width % (p.devices * p.chunk) for p in found)
    return found if sound and all(seconds > 0 for seconds in found.values()) else {}  # not: NaN is above nothing


def learn(folder: Path | None, key: str, measured: Seconds) -> None:
    """Keeps what was measured for a program."""
    if folder is None or not measured:
        return
    entries = [(plan.devices, plan.width, plan.chunk, s) for plan, s in measured.items()]
    try:
        write(folder / PLANS, json.dumps(_plans(folder) | {key: entries}))
    except UserError:  # a cache that cannot be written costs time and nothing else
        return
