"""Parts of a run: dealt once, and each trained as a run of its own, in a folder of its own inside the run's.

A part is some trials of one group (`search.sweep.groups`), in the order of the sweep. What a trial computes depends on its
config, its seed, its rows and the chunk alone, so that parts come to the bits that the whole sweep comes to at that chunk: the
first worker that measures one for a group says it to all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxgen import runs
from jaxgen.fields import UserError, quoted, shortened
from jaxgen.job import prepared, sweep_of
from jaxgen.search.sweep import Group, Question, Sweep
from jaxgen.storage.agreeing import agreeing
from jaxgen.storage.checkpoint import SAVE, Store, brief
from jaxgen.storage.claim import CHECKPOINTS, PARTS
from jaxgen.storage.facts import CONFIG, config_text, describe, read_config
from jaxgen.storage.files import finished, read, settle, unfinished, write, writing
from jaxgen.storage.lock import LOCK, held
from jaxgen.storage.manifest import RESUMED, read_manifest
from jaxgen.tasks import task_of

MOST_SHARES = 1_000_000
TOKEN = "token"
MOST = 256  # trials of a part: as many as fill lanes a few times over on most machines
ATTEMPTS = 3  # folders that one part may have: a worker that is believed dead may train on


@dataclass(frozen=True)
class Part:
    """A slice of a run."""

    number: int
    group: int
    """The place of its group among those of the sweep."""
    trials: tuple[int, ...]
    """In the order of the sweep."""

    def __str__(self) -> str:
        """Its trials, in words."""
        return f"trial{'s' * (len(self.trials) > 1)} {shortened(brief([*self.trials]))}"


@dataclass(frozen=True)
class Dealt:
    """A run that is trained by parts."""

    path: Path
    sweep: Sweep
    task: Any
    """Opened."""
    parts: tuple[Part, ...]
    groups: tuple[Group, ...]
    """Of the whole sweep."""
    question: Question
    flags: tuple[str, ...]
    source: Any = None
    notices: tuple[str, ...] = ()
    """What a user should know of a run that was dealt before."""

    def sweep_of(self, part: Part) -> Sweep:
        """A part's trials as a sweep, with those of its group beside that say what its program holds."""
        shaped = self.groups[part.group].shaped
        beside = tuple(self.sweep.points[trial] for trial in shaped if trial not in part.trials)
        points = tuple(self.sweep.points[trial] for trial in part.trials)
        return dataclasses.replace(self.sweep, points=points, beside=beside)


def dealt(groups: Sequence[Group], most: int) -> list[Part]:
    """Parts of one group each, of `most` trials at most, as even as can be, in the order of the groups."""
    parts: list[Part] = []
    for number, group in enumerate(groups):
        count = math.ceil(len(group.trials) / most)
        cuts = [round(place * len(group.trials) / count) for place in range(count + 1)]
        parts += [
            Part(len(parts) + place, number, group.trials[first:last])
            for place, (first, last) in enumerate(itertools.pairwise(cuts))
        ]
    return parts


def parts_of(facts: Mapping[str, Any]) -> list[Part]:
    """The parts that a run's `config.json` says."""
    return [Part(number, one["group"], tuple(one["trials"])) for number, one in enumerate(facts["parts"])]


def deal(
    sweep: Any,
    task: Any,
    out: str | Path,
    *,
    most: int | None = None,
    shares: int = 1,
    question: Question | None = None,
    flags: Sequence[str] = (),
    source: Any = None,
) -> Dealt:
    """A run's folder for a sweep that is to be trained by parts; or that run, where another process dealt it before.

    Several processes may call this at the same time: one of them makes the folder, and the others find it.

    Args:
      sweep, task, question, flags, source: as `runs.run`.
      most: trials of a part. None: an even share for each of `shares`, and MOST at most.

    Raises:
      UserError: as `runs.run`, or where the folder holds another run, or one that is not trained by parts.
    """
    if most is not None and most < 1:
        raise UserError(f"part_trials is {most}, expected 1 or more")
    path, question = Path(out), question or Question()
    job = prepared(sweep_of(sweep), task_of(task), source)
    if not len(job.sweep):
        raise UserError("the sweep has 0 trials; give at least one value for each key, and --trials and --seeds of 1 or more")
    found = runs.looked_at(job)
    most = most or min(MOST, math.ceil(len(job.sweep) / max(shares, 1)))
    facts = describe(job.sweep, job.task, job.programs, question, flags, found.program)
    facts["parts"] = [{"group": part.group, "trials": [*part.trials]} for part in dealt(job.groups, most)]
    notices = () if _begun(path, facts) else _joined(path, facts)
    parts = tuple(parts_of(read_config(path, RESUMED)))
    return Dealt(path, job.sweep, job.task, parts, tuple(job.groups), question, tuple(flags), source, tuple(notices))


def _begun(path: Path, facts: dict[str, Any]) -> bool:
    """Makes a run's folder; False where there is one."""
    if path.exists() and not path.is_dir():
        raise UserError(f"{str(path)!r} is not a folder; give another one with --out")
    others = [item.name for item in path.iterdir() if finished(item.name) not in (CONFIG, PARTS)] if path.exists() else []
    if (path / CONFIG).exists():  # asked now: another process may have made it in between
        return False
    if others:
        raise UserError(f"{str(path)!r} holds files but no run; give an empty folder with --out")
    with writing(path):
        (path / PARTS).mkdir(parents=True, exist_ok=True)
    first(path / PARTS / TOKEN, os.urandom(16).hex().encode())
    return first(path / CONFIG, config_text(facts))


def _joined(path: Path, facts: dict[str, Any]) -> list[str]:
    """What a user should know of a run that another process dealt.

    Raises:
      UserError: where it is another run.
    """
    stored = read_config(path, RESUMED)
    if "parts" not in stored:
        raise UserError(f"{str(path)!r} holds a run that is not trained by parts; give another --out")
    if len(stored["sweep"]["points"]) != len(facts["sweep"]["points"]):
        raise UserError(
            f"{str(path)!r} holds a run of {len(stored['sweep']['points'])} trials, and here it is of "
            f"{len(facts['sweep']['points'])}; a run that is trained by parts can be made longer when it is merged, by --resume"
        )
    if gone_on(path, stored):
        raise UserError(f"{str(path)!r} was gone on with since its parts were merged; go on with it by --resume alone")
    return agreeing(path, {**facts, "devices": stored["devices"]}, stored)  # workers have devices of their own


def gone_on(path: Path, facts: Mapping[str, Any]) -> bool:
    """Whether a run holds more than its parts do."""
    if len(facts["sweep"]["points"]) > sum(len(part.trials) for part in parts_of(facts)):
        return True
    saves = [one for one in (path / CHECKPOINTS).glob("save-*.json") if SAVE.fullmatch(one.name)]
    newest = max(saves, key=lambda one: (len(one.name), one.name), default=None)
    with contextlib.suppress(UserError):  # what is damaged is made anew
        return newest is not None and not read_manifest(newest)[0].get("merged")
    return False


def token(path: Path) -> str:
    """What tells a run's folder from all others, for those who look whether they see it.

    Raises:
      UserError: where it is not there.
    """
    try:
        return read(path / PARTS / TOKEN, 100).decode("ascii", "replace")
    except FileNotFoundError:
        raise UserError(
            f"{str(path / PARTS / TOKEN)!r} is not there; the folder of a run that is trained by parts has it"
        ) from None


def first(path: Path, content: bytes) -> bool:
    """Makes a file that is not there, whole, in one step; False where another process was first."""
    new = unfinished(path)
    write(new, content)
    try:
        os.link(new, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links: there it is not whole at once, if only for a moment
        try:
            with open(path, "xb") as file:
                file.write(content)
        except FileExistsError:
            return False
    finally:
        with contextlib.suppress(OSError):
            new.unlink()
    with writing(path):
        settle(path.parent)
    return True


def place(path: Path, number: int, attempt: int = 1) -> Path:
    """The folder of a part of a run, or of another attempt at it."""
    return path / PARTS / (f"{number:05d}" if attempt == 1 else f"{number:05d}-{attempt}")


def attempts(path: Path, number: int) -> list[Path]:
    """The folders in which a part has been trained."""
    return [one for one in (place(path, number, attempt + 1) for attempt in range(ATTEMPTS)) if (one / CONFIG).exists()]


def ended(path: Path, part: Part) -> bool:
    """Whether some attempt at a part says that all of its trials have ended; damage is noticed when parts are merged."""
    for folder in attempts(path, part.number):
        store = Store(folder / CHECKPOINTS)
        with contextlib.suppress(UserError):
            store.load()
            if whole(store, part):
                return True
    return False


def whole(store: Store, part: Part) -> bool:
    """Whether all trials of a part have ended, by the save that an attempt at it has taken up."""
    return len(store.ended.rows) == len(part.trials) and store.manifest["lanes"] is None


def saves(path: Path, part: Part) -> int:
    """How often a part has been saved."""
    found = (
        SAVE.fullmatch(one.name) for folder in attempts(path, part.number) for one in (folder / CHECKPOINTS).glob("save-*")
    )
    return max((int(match[1]) for match in found if match), default=0)


def free(path: Path, part: Part) -> Path | None:
    """Where a part is to be trained: in its folder, or, where another process writes that, in the next one; None: in none."""
    folders = (place(path, part.number, attempt + 1) for attempt in range(ATTEMPTS))
    return next((folder for folder in folders if not (folder / LOCK).exists() or not held(folder)), None)


def share(text: str, processes: Callable[[], tuple[int, int]]) -> tuple[int, int]:
    """Which share of how many: of K/N, or of "auto", by this process's place among those of a cluster.

    K counts from 0 or from 1, as a queue does: the last of N is as good as 0.

    Args:
      processes: asks the cluster, where it is "auto".

    Raises:
      UserError: for anything else.
    """
    if text == "auto":
        return processes()
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal()) or not 0 <= int(number) <= int(count) <= MOST_SHARES or not int(count):
        raise UserError(
            f"--part is {quoted(text)}, expected K/N, such as 3/8 for the third of eight shares (or 0/8 to 7/8), or auto on "
            "the hosts of a cluster"
        )
    return int(number) % int(count), int(count)


def mine(run: Dealt, number: int, count: int) -> list[Part]:
    """The parts of a share."""
    return list(run.parts[number::count])
