"""What is kept from one process to the next: compiled programs, and what plans were measured to take.

Whoever can write the folder of compiled programs can run code as the user, so it is the user's own and no one else's.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import jax

from jaxgen.engine.plan import Plan, Seconds
from jaxgen.fields import UserError
from jaxgen.storage.files import write

PLANS = "plans.json"
PROGRAMS = "programs"


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
    """Lets JAX keep compiled programs in a folder from now on."""
    jax.config.update("jax_compilation_cache_dir", str(folder / PROGRAMS))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def _plans(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / PLANS).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # nothing yet, or damaged: measured anew
        return {}
    return found if isinstance(found, dict) else {}


def known(folder: Path | None, key: str) -> Seconds:
    """What was measured for a program before: seconds a trial-step by plan."""
    entries = _plans(folder).get(key, []) if folder is not None else []
    try:
        return {Plan(int(devices), int(width), int(chunk)): float(s) for devices, width, chunk, s in entries}
    except (TypeError, ValueError):
        return {}


def learn(folder: Path | None, key: str, measured: Seconds) -> None:
    """Keeps what was measured for a program."""
    if folder is None or not measured:
        return
    entries = [(plan.devices, plan.width, plan.chunk, s) for plan, s in measured.items()]
    try:
        write(folder / PLANS, json.dumps(_plans(folder) | {key: entries}))
    except UserError:  # a cache that cannot be written costs time and nothing else
        return
