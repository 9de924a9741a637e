"""A run's `checkpoints/`: arrays, a log of the trials that ended, and for each save a manifest that says what counts.

A manifest is written in one step, after all that it names is on disk, so that a run killed at any moment is as its last
manifest says: arrays that no manifest names are swept away by the next save, and what the log holds beyond it is cut off. It
has the SHA-256 of all that it names. The two newest are kept: where the newest is damaged, or the lanes that it names, the one
before it counts. Where the arrays of a trial that ended are damaged, that trial is lost, and no other.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxgen.fields import UserError
from jaxgen.judge.results import COMPLETED, Row
from jaxgen.storage.arrays import Arrays, named, named_shapes, nested, unnamed
from jaxgen.storage.ended import ENDED, PLACE, Ended, LastsSaid, line, read_lines
from jaxgen.storage.files import damage, foreign, head, remove, settle, signed, write, writing
from jaxgen.storage.lasts import stacked, taken
from jaxgen.storage.logs import Log, as_written, reaching
from jaxgen.storage.manifest import NOTHING, Before, Manifest, read_manifest
from jaxgen.storage.rows import row_of

KEPT = 2  # manifests
MARK = 64  # bytes: a manifest begins with its SHA-256
SAVE = re.compile(r"save-(\d{6,})\.json")
LARGE = 4096  # bytes of an array from which on it is stored once where several trials have the same


class Damaged(UserError):
    """A trial cannot be read, and others can."""


class Store:
    """The checkpoints of one run. Two kinds: the lanes (the newest counts) and the trials that ended (all count)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.manifest, self.ended = NOTHING, Ended()
        self._seen: tuple[int, bytes | None] = (0, None)  # the newest save that is there, and how it begins
        self._arrays = Arrays(self.folder)
        self._log: Log | None = None  # of who writes
        self._last: dict[str, np.ndarray] = {}  # of the trial that was saved last
        self._shared: dict[str, tuple[np.ndarray, str]] = {}  # what several trials have, and its place
        self._held: dict[str, dict[str, np.ndarray]] = {}  # the places that were read last: trials lie together

    def save(
        self,
        lanes: Any,
        ended: Mapping[int, Any],
        rows: Sequence[Row],
        progress: Mapping[str, Any],
        lasts: Mapping[int, Any] = MappingProxyType({}),
    ) -> None:
        """Saves the lanes' arrays (None: none are running), trials that ended since the last save, and small JSON values.

        Args:
          ended: trial -> arrays. They are of one group: their arrays have the same names and shapes.
          rows: theirs.
          lasts: of some of them the last state, from which they can go on.

        Raises:
          UserError: if something cannot be written; what was saved before still counts then.
        """
        self._check()
        with writing(self.folder):
            if not self.folder.exists():
                self.folder.mkdir(parents=True)
                settle(self.folder.parent)
        number = self.manifest["saves"] + 1
        arrays: dict[str, Any] = {} if lanes is None else {f"lanes-{number:06d}": named(lanes)}
        of_lanes = next(iter(arrays), None)
        place, shared = f"trials-{number:06d}", dict[str, str]()
        if ended:
            alone, shared = self._dealt([named(tree) for tree in ended.values()], number)
            arrays |= {place: alone} if alone else {}
            new = {at: {n: self._shared[n][0] for n in shared if shared[n] == at} for at in {*shared.values()}}
            arrays |= {at: found for at, found in new.items() if at not in self.ended.places}
        of_lasts = f"lasts-{number:06d}"
        if lasts:
            arrays[of_lasts] = stacked([named(state) for state in lasts.values()])
        sums = self._arrays.put(arrays)
        if self._log is None:
            self._log = Log(self.folder / ENDED)
            self._log.begin()
        of_trials = {place: {}} | {name: found for name, found in sums.items() if name not in (of_lanes, of_lasts)}
        said: LastsSaid | None = {"place": of_lasts, "trials": [*lasts], "sums": sums[of_lasts]} if lasts else None
        if ended:
            at = {row.trial: row for row in rows}
            rows = [at[trial] for trial in ended]  # as their arrays lie
            self._log.append(line(place, rows, shared, of_trials, said))
        of_lane = {} if of_lanes is None else sums[of_lanes]
        about = {"saves": number, "lanes": of_lanes, "sums": of_lane, "ended": self._log.counted}
        manifest: Any = {name: value for name, value in self.manifest.items() if name != "merged"} | {**progress, **about}
        write(self.folder / f"save-{number:06d}.json", signed(manifest))
        self.manifest = manifest
        if ended:
            self.ended.add(place, rows, shared, of_trials, said)
        self.watch()
        self._sweep()

    def _dealt(self, trials: Sequence[Mapping[str, np.ndarray]], number: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """The arrays of trials one behind the other, few of which are fast; and the places of those that they share."""
        alone, shared = {}, {}
        if not self._last:
            self._remember()
        for name, first in trials[0].items():
            each, last, known = [arrays[name] for arrays in trials], self._last.get(name), self._shared.get(name)
            others = each[1:] if len(each) > 1 else [] if last is None else [last]
            if first.nbytes < LARGE or not others or not all(same(first, one) for one in others):
                alone[name] = np.stack(each)
                continue
            if known is None or not same(first, known[0]):
                known = self._shared[name] = (first, f"shared-{number:06d}")
            shared[name] = known[1]
        self._last = dict(trials[-1])
        return alone, shared

    def _remember(self) -> None:
        """Takes up what a process before stored once, with which this one goes on."""
        shared = next((place.shared for place in reversed(self.ended.places.values()) if place.trials), {})
        for at in {*shared.values()}:
            with contextlib.suppress(UserError):  # what is damaged is stored again
                arrays = self._get(at, None)
                found = {name: arrays[name] for name, there in shared.items() if there == at and name in arrays}
                self._shared |= {name: (array, at) for name, array in found.items()}
                self._last |= found

    def watch(self) -> None:
        """Remembers which save is the newest: who writes from here on, writes after that one (`check_untouched`)."""
        self._seen = self._newest()

    def check_untouched(self) -> None:
        """Refuses to write where another process has saved.

        Raises:
          CannotWrite: then.
        """
        if self._newest() != self._seen:
            raise foreign(self.folder)

    def _newest(self) -> tuple[int, bytes | None]:
        saves = self._saves()
        return (saves[0][1], head(saves[0][0], MARK)) if saves else (0, None)

    def _sweep(self) -> None:
        """Removes what no manifest of the newest few names; those that are newer than the current one are damaged."""
        newest = self.manifest["saves"]
        live = {f"save-{newest:06d}.json", self.manifest["lanes"], ENDED}
        for path, number in self._saves():
            if newest - KEPT < number < newest:
                try:
                    live |= {path.name, read_manifest(path)[0]["lanes"]}
                except UserError:
                    return  # what it names is not known
        with writing(self.folder):
            for name in os.listdir(self.folder):
                if name not in live and name not in self.ended.places and name not in self.ended.lasts:
                    remove(self.folder / name)
            settle(self.folder)

    def _check(self) -> None:
        if self.folder.is_symlink() or (self.folder.exists() and not self.folder.is_dir()):
            raise UserError(f"{str(self.folder)!r} is a link or no folder; checkpoints lie in one; move it away")

    def _saves(self) -> list[tuple[Path, int]]:
        """The manifests that are there, the newest first."""
        if not self.folder.exists():
            return []
        found = ((name, SAVE.fullmatch(name)) for name in os.listdir(self.folder))
        return sorted(((self.folder / name, int(m[1])) for name, m in found if m), key=lambda pair: -pair[1])

    def _ended(self, manifest: Manifest, before: Before | None) -> tuple[Ended, bytes]:
        """The trials that a manifest knows to have ended, and the log that says it."""
        log = b"" if before is not None else reaching(self.folder / ENDED, manifest["ended"])
        try:
            ended = read_lines(log)
            if before is None and not ended.unread and not as_written(log, manifest["ended"]):
                raise ValueError("it is not as it was written, by its SHA-256")
            if before is not None:
                rows = {row.trial: row for row in map(row_of, before["rows"])}
                for place, trials in before["trials"].items():
                    ended.add(place, [rows[trial] for trial in trials], {}, {place: before["sums"][place]})
                if len(rows) != len(before["rows"]) or len(rows) != len(ended.rows):
                    raise ValueError("its trials do not agree")
            running = [trial for trial in manifest["in_lanes"] if trial is not None]
            over = any(ended.rows[trial].status != COMPLETED for trial in running if trial in ended.rows)  # they cannot go on
            if over or len({*running}) != len(running) or manifest["saves"] < 1:
                raise ValueError("its trials do not agree")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            where = self.folder / (ENDED if before is None else f"save-{manifest['saves']:06d}.json")
            raise UserError(f"{str(where)!r} is damaged: {str(error).splitlines()[0]}") from None
        return ended, log

    def load(self, sound: Callable[[Manifest, Ended], str | None] | None = None) -> list[str]:
        """Takes up the newest save that is sound; without one, the run has saved nothing yet.

        Args:
          sound: says what else of a run is not as a manifest says. With it, the lanes that a manifest names are looked at too,
            and the log of the trials that ended is gone on with; without, what lies in a place is looked at when it is read.

        Returns:
          what is damaged in newer saves, a line each.

        Raises:
          UserError: if there are saves and none is sound.
        """
        self._check()
        lines: list[str] = []
        for path, _ in self._saves():
            try:
                manifest, before = read_manifest(path)
                ended, log = self._ended(manifest, before)
            except UserError as error:
                lines.append(str(error))
                continue
            found = None
            if sound is not None:
                found = sound(manifest, ended)
                if found is None and manifest["lanes"] is not None:
                    found = damage(self.folder / manifest["lanes"], manifest["sums"])
            if found is None:
                self.manifest, self.ended = manifest, ended
                if sound is not None:
                    self._log = Log(self.folder / ENDED)
                    self._log.go_on(log)
                return lines
            lines.append(found)
        if lines:
            raise UserError(f"no save of the run is whole: {lines[0]}; start it again with --overwrite")
        there = self.folder.iterdir() if self.folder.exists() else ()
        found = [PLACE.fullmatch(path.name) for path in there]
        if any(match is not None and int(match[2]) > 1 for match in found):  # 1: killed in the very first save
            raise UserError(
                f"{str(self.folder)!r} has lost its manifests, so its trials cannot be told; "
                "start the run again with --overwrite"
            )
        return []

    def lost(self) -> dict[int, str]:
        """The trials whose arrays are damaged, each with what is. All that lies in their places is read."""
        looked = ((name, place) for name, place in self.ended.places.items() if place.sums)
        found = ((name, damage(self.folder / name, place.sums)) for name, place in looked)
        bad = {name: line for name, line in found if line is not None}
        return {trial: line for name, line in bad.items() for trial in self.ended.lying_in([name])}

    def lanes(self, shape: Any) -> Any:
        """The lanes of the current save, as host arrays in a tree like `shape`, which has their shapes and types.

        Raises:
          UserError: if they are damaged.
        """
        place = self.manifest["lanes"]
        assert place is not None
        if (found := damage(self.folder / place, self.manifest["sums"])) is not None:
            raise UserError(f"{found}; go on with the run by --resume, which takes the save before it")
        return unnamed(shape, self._arrays.get(place, named_shapes(shape)))

    def trial(self, trial: int, shape: Any) -> Any:
        """The params and stats of a trial that ended, as host arrays in a tree like `shape`; None: as they were saved.

        Raises:
          Damaged: if its arrays are.
          UserError: if that trial has not ended, or is not of the run.
        """
        if trial not in self.ended.where:
            raise UserError(
                f"trial {trial} is not among the ended ones ({brief(sorted(self.ended.where))}); "
                "give one of those, or finish the run with --resume"
            )
        place = self.ended.where[trial]
        trials, shared = self.ended.places[place].trials, self.ended.places[place].shared
        shapes = None if shape is None else named_shapes(shape)
        own = None if shapes is None else {n: ((len(trials), *x), kind) for n, (x, kind) in shapes.items() if n not in shared}
        held = {place: self._held.get(place) or self._get(place, own)}
        held |= {at: self._held.get(at) or self._get(at, None) for at in {*shared.values()}}
        self._held = held
        arrays: dict[str, Any] = {}
        try:
            arrays = {name: x[trials.index(trial)] for name, x in held[place].items()}
            arrays |= {name: held[at][name] for name, at in shared.items()}
            fits = shapes is None or {name: (x.shape, x.dtype) for name, x in arrays.items()} == shapes
        except (KeyError, IndexError):
            fits = False
        if not fits:
            raise Damaged(f"{str(self.folder / place)!r} is damaged: it holds arrays of other names, shapes or types; {AGAIN}")
        if shape is None:
            params, stats = (nested(arrays).get(part, {}) for part in ("0", "1"))
            return params, stats
        return unnamed(shape, arrays)

    def lacking(self, trials: Iterable[int]) -> dict[int, str]:
        """Those trials that cannot go on, each with why: their last states were not kept, or are damaged."""
        found: dict[int, str] = {}
        places = {trial: self.ended.last.get(trial) for trial in trials}
        bad = {place: damage(self.folder / place, self.ended.lasts[place].sums) for place in {*places.values()} if place}
        for trial, place in places.items():
            why = "their last states were not kept" if place is None else bad[place]
            if why is not None:
                found[trial] = why
        return found

    def lasts(self, trials: Sequence[int], shape: Any) -> list[Any]:
        """The last states of trials that ended, as host arrays in trees like `shape`, which has the shapes and types of one.

        Raises:
          UserError: if they are of another shape, or not there.
        """
        shapes, found, read = named_shapes(shape), dict[int, Any](), dict[str, Mapping[str, np.ndarray]]()
        for place in dict.fromkeys(self.ended.last[trial] for trial in trials):
            read[place] = self._arrays.get(place, None)
        for trial in trials:
            place, arrays = self.ended.last[trial], dict[str, np.ndarray]()
            with contextlib.suppress(KeyError, IndexError):
                arrays = taken(read[place], self.ended.lasts[place].trials.index(trial), [*shapes])
            if {name: (x.shape, x.dtype) for name, x in arrays.items()} != shapes:
                raise Damaged(f"{str(self.folder / place)!r} is damaged: it holds other arrays; start again with --overwrite")
            found[trial] = unnamed(shape, arrays)
        return [found[trial] for trial in trials]

    def _get(self, place: str, shapes: Any) -> dict[str, np.ndarray]:
        sums = self.ended.places[place].sums
        if not sums:
            return {}  # all that these trials have lies elsewhere
        found = damage(self.folder / place, sums)
        if found is None:
            return self._arrays.get(place, shapes)
        trials = self.ended.lying_in([place])
        these = f"trial {trials[0]}" if len(trials) == 1 else f"trials {brief(trials)}"
        raise Damaged(f"{found}, so {these} cannot be read; {AGAIN}")


AGAIN = "train what is lost again with the run's command and --resume, or give another trial"


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the same to the bit."""
    return a is b or (a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())


def brief(numbers: list[int]) -> str:
    """Sorted numbers as text, runs of them as ranges: 0-3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs) or "none"
