"""A run of what its parts hold: the files that one machine would have written, made of theirs.

Arrays are summed and not loaded: where they lie is linked (or copied, where a file system has no links), so that what is in
memory is a row a trial and one part's tables, whatever the run's size. What comes of it is a run like any other: it is read,
reported, sampled and made longer as such.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax

from jaxgen.engine.precision import FULL
from jaxgen.fields import UserError
from jaxgen.judge.results import Row
from jaxgen.machines.parts import Part, attempts, gone_on, parts_of, whole
from jaxgen.reopen import results_in
from jaxgen.storage import ended, logs
from jaxgen.storage.agreeing import agreeing
from jaxgen.storage.checkpoint import Store, same
from jaxgen.storage.claim import CHECKPOINTS, RESULTS
from jaxgen.storage.ended import ENDED
from jaxgen.storage.facts import CONFIG, SECTIONS, config_text, read_config
from jaxgen.storage.files import remove, settle, signed, unfinished, write, writing
from jaxgen.storage.lock import Lock
from jaxgen.storage.logs import KINDS, Log, all_counting, reaching
from jaxgen.storage.manifest import NOTHING, RESUMED

UNPLANNED = {
    "lanes": {"devices": 1, "width": 1, "chunk": 1},
    "measured": [],
    "known": False,
}  # of a group none of which is there


@dataclass
class Merged:
    """What came of it."""

    trials: int
    """Of the run."""
    parts: int
    ended: int = 0
    """Trials that ended."""
    missing: list[str] = field(default_factory=list)
    """Each part that is not whole, and why, a line each."""
    notices: list[str] = field(default_factory=list)
    """What a user should know of those that are."""


@dataclass(frozen=True)
class Attempt:
    """A folder in which a part was trained, as far as it is sound."""

    folder: Path
    part: Part
    facts: Mapping[str, Any]
    store: Store

    @property
    def rows(self) -> list[Row]:
        """Of the trials that ended, by their numbers in the run."""
        return [dataclasses.replace(row, trial=self.part.trials[trial]) for trial, row in self.store.ended.rows.items()]

    @property
    def whole(self) -> bool:
        """Whether all of the part's trials have ended."""
        return whole(self.store, self.part)

    def __str__(self) -> str:
        """Who trained it."""
        versions, sessions = self.facts["versions"], self.facts.get("sessions", [])
        machine = f", {sessions[-1]['machine']}" if sessions else ""
        return f"{self.folder.name} (jax {versions['jax']}, {', '.join(self.facts['devices'])}{machine})"


def merge(path: str | Path, task: Any = None) -> Merged:
    """Makes a run of what its parts hold so far.

    Args:
      path: the run's folder.
      task: the run's, where it is one of your own.

    Raises:
      UserError: if there is no run that is trained by parts, another process writes it, or it was gone on with since it was
        merged.
    """
    path = Path(path)
    facts = read_config(path, RESUMED)
    if "parts" not in facts:
        raise UserError(f"{str(path)!r} holds a run that is not trained by parts; there is nothing to merge")
    with Lock(path):
        if gone_on(path, facts):
            raise UserError(f"{str(path)!r} was gone on with since its parts were merged; go on with it by --resume")
        return _merged(path, facts, task)


def _merged(path: Path, facts: Mapping[str, Any], task: Any) -> Merged:
    parts = parts_of(facts)
    found, results = Merged(len(facts["sweep"]["points"]), len(parts)), results_in(path, facts, task)
    new = unfinished(path / CHECKPOINTS)
    with writing(path):
        for old in path.glob(f"{CHECKPOINTS}.*.new"):
            remove(old)
        new.mkdir()
    joined, plans, sessions = _Joined(new), dict[int, Any](), list[Any]()
    for part in parts:
        if (one := _sound(facts, part, path, found)) is None:
            continue
        joined.add(one)
        results.take_up(one.rows)
        sessions += one.facts.get("sessions", [])
        for plan in one.facts["plan"]:
            if plans.setdefault(part.group, plan)["lanes"]["chunk"] != plan["lanes"]["chunk"]:
                found.notices.append(
                    f"part {part.number} computed {plan['lanes']['chunk']} networks at once, and others of its group "
                    f"{plans[part.group]['lanes']['chunk']}: its last bits may differ from theirs"
                )
    if not joined.any:
        remove(new)
        raise UserError(f"no part of the run in {str(path)!r} has saved anything: {found.missing[0]}; train them, then merge")
    groups = 1 + max(part.group for part in parts)
    joined.end(path, groups)
    write(path / RESULTS, results.results_csv())
    write(path / CONFIG, config_text({**facts, "plan": [plans.get(n, UNPLANNED) for n in range(groups)], "sessions": sessions}))
    found.ended = len(results.rows)
    return found


def _sound(facts: Mapping[str, Any], part: Part, path: Path, found: Merged) -> Attempt | None:
    """The attempt at a part that counts, the first of the whole ones; and what is to be said of the part."""
    sound: list[Attempt] = []
    wrong: list[str] = []
    for folder in attempts(path, part.number):
        try:
            sound.append(_attempt(facts, part, folder, found))
        except UserError as error:
            wrong.append(str(error))
    whole = [one for one in sound if one.whole]
    best = whole[0] if whole else max(sound, key=lambda one: len(one.store.ended.rows), default=None)
    if best is None or not best.whole:
        there = "is not there" if best is None else f"has {len(best.store.ended.rows)} of {len(part.trials)} trials"
        found.missing.append(f"part {part.number} ({part}) {wrong[0] if wrong and best is None else there}")
    elif wrong:
        found.notices.append(f"part {part.number}: an attempt at it is left out, which {wrong[0]}")
    for other in whole[1:]:
        found.notices.append(_compared(part, whole[0], other))
    return best


def _attempt(facts: Mapping[str, Any], part: Part, folder: Path, found: Merged) -> Attempt:
    """What lies in a part's folder.

    Raises:
      UserError: if it is damaged, or of another sweep or other rows.
    """
    store = Store(folder / CHECKPOINTS)
    try:
        own = read_config(folder, RESUMED)
        worse = store.load()  # in newer saves
        all_counting(folder, store.manifest["logs"] or {"metrics.csv": ""})
        damaged = next(iter([*worse, *store.lost().values()]), None)
    except UserError as error:
        raise UserError(f"is damaged, or has saved nothing yet: {error}") from None
    if damaged is not None or store.ended.unread:
        raise UserError(f"is damaged: {damaged or f'{ENDED} is not as it was written'}; remove its folder, and train it again")
    sweep = {**facts["sweep"], "points": [facts["sweep"]["points"][trial] for trial in part.trials], "stages": [], "longer": []}
    sweep["beside"] = own["sweep"].get("beside", [])
    task = {**facts["task"], "program": own["task"]["program"]}  # of the part's own group
    rows = {name: value for name, value in task["rows"].items() if name != SECTIONS}
    rows |= {name: own["task"]["rows"][name] for name in (SECTIONS,) if name in own["task"]["rows"]}
    try:
        agreeing(folder, {**facts, "sweep": sweep, "task": task | {"rows": rows}}, own)
    except UserError as error:
        raise UserError(f"is of another run: {error}") from None
    found.notices += [
        f"part {part.number} was trained with {name} {theirs}, and the run was begun with {ours}: its last bits may differ"
        for name, ours, theirs in _others(facts, own)
    ]
    return Attempt(folder, part, own, store)


def _compared(part: Part, one: Attempt, other: Attempt) -> str:
    """Whether a part that was trained twice came to the same, in a sentence."""
    for trial, number in enumerate(part.trials):
        if not _same(one.store, other.store, trial):
            first = f"first in trial {number}"
            return f"part {part.number} was trained twice, and came to other bits, {first}: {one}, which counts, and {other}"
    return f"part {part.number} was trained twice, and came to the same bits: {one} and {other}"


def _same(one: Store, other: Store, trial: int) -> bool:
    """Whether two attempts at a trial came to the same row and the same arrays, to the bit."""
    rows = (of.ended.rows[trial] for of in (one, other))
    trees = [jax.tree.flatten(of.trial(trial, None)) for of in (one, other)]
    return (
        len({repr(row) for row in rows}) == 1  # by what is written of their numbers, NaN among them
        and trees[0][1] == trees[1][1]
        and all(same(a, b) for a, b in zip(trees[0][0], trees[1][0], strict=True))
    )


def _others(facts: Mapping[str, Any], own: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What last bits may depend on and is not the same in two runs: its name, the value in one and in the other."""
    known = [
        {**of["versions"], "precision": of.get("precision", FULL), "devices": _kinds(of["devices"])} for of in (facts, own)
    ]
    return [(name, known[0][name], known[1].get(name, "none")) for name in known[0] if known[0][name] != known[1].get(name)]


def _kinds(devices: Sequence[str]) -> str:
    """Of devices by their names, such as TFRT_CPU_1 and cuda:0, the kinds."""
    return ", ".join(sorted({re.sub(r"[_:]?\d+$", "", name) for name in devices}))


class _Joined:
    """The checkpoints and tables of a run, as parts are added to them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._saves = folder, 0
        self._ended = Log(folder / ENDED)
        self._ended.begin()
        self._logs: dict[str, Log] = {}

    def add(self, one: Attempt) -> None:
        """Adds what a part holds, by its trials' numbers in the run."""
        store, moved = one.store, self._moved
        for old in (*store.ended.places, *store.ended.lasts):
            if (store.folder / old).exists():
                _linked(store.folder / old, self._folder / moved(old))
        content = reaching(store.folder / ENDED, store.manifest["ended"])
        self._ended.append(ended.renumbered(content, one.part.trials, moved))
        for name, table in all_counting(one.folder, store.manifest["logs"]).items():
            head, lines = logs.renumbered(table, one.part.trials)
            if name not in self._logs:
                self._logs[name] = Log(self._folder / name)
                self._logs[name].begin(head)
            self._logs[name].append(lines)
        self._saves += store.manifest["saves"]

    @property
    def any(self) -> bool:
        """Whether there is something."""
        return self._saves > 0

    def _moved(self, place: str) -> str:
        kind, _, number = place.partition("-")
        return f"{kind}-{self._saves + int(number):06d}"

    def end(self, path: Path, groups: int) -> None:
        """Puts all of it in its place in a run's folder."""
        counted = {name: log.counted for name, log in self._logs.items()}
        about = {"saves": self._saves + 1, "group": groups, "ended": self._ended.counted, "logs": counted, "merged": True}
        write(self._folder / f"save-{self._saves + 1:06d}.json", signed({**NOTHING, **about}))
        with writing(path):
            for name in KINDS:
                if name in counted:
                    os.replace(self._folder / name, path / name)
            if (path / CHECKPOINTS).exists():
                remove(path / CHECKPOINTS)
            os.replace(self._folder, path / CHECKPOINTS)
            settle(path)


def _linked(old: Path, new: Path) -> None:
    """The files of a place in another one, too."""
    with writing(new):
        for at, _, names in os.walk(old):
            (new / Path(at).relative_to(old)).mkdir()
            for name in names:
                there = new / Path(at).relative_to(old) / name
                try:
                    os.link(Path(at) / name, there)
                except OSError:  # of a file system without links
                    shutil.copyfile(Path(at) / name, there)
