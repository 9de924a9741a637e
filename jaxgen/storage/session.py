"""When and where a run was trained, for its `config.json`: a session for each time that it was begun or gone on with."""

from __future__ import annotations

import datetime
import platform
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from jaxgen.engine.plan import cores


class Session(TypedDict):
    """One time that a run trained."""

    started: str  # ISO 8601, in UTC
    ended: str | None  # None: it was killed, or trains now
    python: str
    machine: str
    commit: str | None  # of the Git repository that it was started in


def begun() -> Session:
    """A session that starts now."""
    machine = f"{platform.system()} {platform.machine()}, {cores()} cores"
    return {"started": _now(), "ended": None, "python": platform.python_version(), "machine": machine, "commit": _commit()}


def ended(session: Session) -> Session:
    """A session that ends now."""
    return {**session, "ended": _now()}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _commit() -> str | None:
    """The commit of the repository that this process was started in; None where there is none, or no Git."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def told(facts: Mapping[str, Any]) -> list[str]:
    """When, how long and where a run was trained, in a sentence; none of a run from before this was kept."""
    sessions: Sequence[Session] = facts.get("sessions", [])
    if not sessions:
        return []
    first, last = sessions[0], sessions[-1]
    start, end = _moment(first["started"]), _moment(last["ended"])
    times = [] if start is None else [f"{start:%Y-%m-%d %H:%M}{'' if end is None else f' to {end:%Y-%m-%d %H:%M}'} UTC"]
    several = f" in {len(sessions)} sessions" if len(sessions) > 1 else ""
    commit = f", commit {first['commit'][:12]}" if first["commit"] else ""
    return [f"{', '.join([*times, _whole(sessions) + several])}; {last['machine']}, Python {last['python']}{commit}"]


def _whole(sessions: Sequence[Session]) -> str:
    """How long all sessions took together."""
    total = 0.0
    for one in sessions:
        start, end = _moment(one["started"]), _moment(one["ended"])
        if start is None or end is None:
            return "of unknown length, as it was killed once"
        total += (end - start).total_seconds()
    return f"{total / 60:.1f} minutes"


def _moment(said: str | None) -> datetime.datetime | None:
    """A time as a file says it; None where it is none."""
    try:
        moment = datetime.datetime.fromisoformat(said or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
