"""A run's `checkpoints/`: arrays by orbax, and for each save a manifest that says what counts, with the SHA-256 of every file.

A manifest is written in one step, after all that it names is on disk, so that a run killed at any moment is as its last
manifest says: arrays that no manifest names are swept away by the next save. The two newest are kept: where the newest is
damaged, or what it names, the one before it counts.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxgen.fields import UserError
from jaxgen.storage.files import (
    cannot_write,
    checked,
    damage,
    foreign,
    head,
    read,
    remove,
    settle,
    signed,
    sums,
    unsigned,
    write,
    writing,
)
from jaxgen.storage.rows import row_of

FORMAT = 8
READABLE = (4, 5, 6, 7, FORMAT)  # what is missing in older ones has its default; they are read, and not gone on with
KEPT = 2  # manifests
MARK = 64  # bytes: a manifest begins with its SHA-256
SAVE = re.compile(r"save-(\d{6,})\.json")
PLACE = re.compile(r"(lanes|trials)-(\d{6,})")
PLAIN = re.compile(r"[\w./ +,=@-]*")  # paths in which no library sees anything but folders


class Manifest(TypedDict):
    """What a save holds."""

    format: int
    saves: int  # its number, from 1 on; 0: nothing has been saved
    lanes: str | None  # the place of the lanes' arrays
    trials: dict[str, list[int]]  # place -> the trials whose arrays are there, in the order of their rows
    sums: dict[str, dict[str, str]]  # place -> file -> size and SHA-256
    group: int
    taken: int
    in_lanes: list[int | None]
    rows: list[Any]  # each a results.Row
    logs: dict[str, str]  # table that only grows -> size and SHA-256 of what counts of it


NOTHING: Manifest = {
    "format": FORMAT,
    "saves": 0,
    "lanes": None,
    "trials": {},
    "sums": {},
    "group": 0,
    "taken": 0,
    "in_lanes": [],
    "rows": [],
    "logs": {},
}


def named(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a tree as host arrays, by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(tree))
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


def unnamed(shape: Any, arrays: Mapping[str, Any]) -> Any:
    """The tree of `shape` with the leaves that `named` made of one like it."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: arrays[jax.tree_util.keystr(path, simple=True, separator=".")], shape
    )


def nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """What `named` made of dictionaries and tuples, as dictionaries; a tuple's keys are "0", "1" and so on.

    Raises:
      UserError: where one array's path goes through another's, which no tree has.
    """
    tree: dict[str, Any] = {}
    for path, array in sorted(arrays.items()):  # what another lies in comes before it
        *inner, name = path.split(".")
        place = tree
        for key in inner:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise UserError(f"the array {path!r} lies in another one, so it was not written by jaxgen")
        place[name] = array
    return tree


class Store:
    """The checkpoints of one run. Two kinds: the lanes (the newest counts) and the trials that ended (all count)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.manifest = NOTHING
        self._seen: tuple[int, bytes | None] = (0, None)  # the newest save that is there, and how it begins
        self._orbax = ocp.StandardCheckpointer()
        self._alias: tempfile.TemporaryDirectory[str] | None = None
        self._held: tuple[str, dict[str, np.ndarray]] = ("", {})  # the place that was read last: trials lie together

    def _told(self, place: str) -> Path:
        """A place as orbax and tensorstore are told it: by a link to the folder, where they would read its own name as a
        pattern, an address or a folder's separator."""
        if PLAIN.fullmatch(str(self.folder)):
            return self.folder / place
        if self._alias is None:
            self._alias = tempfile.TemporaryDirectory(prefix="jaxgen-")
            (Path(self._alias.name) / "run").symlink_to(self.folder, target_is_directory=True)
        return Path(self._alias.name) / "run" / place

    def save(self, lanes: Any, ended: Mapping[int, Any], progress: Mapping[str, Any]) -> None:
        """Saves the lanes' arrays (None: none are running), trials that ended since the last save, and small JSON values.

        The trials are of one group: their arrays have the same names and shapes.

        Raises:
          UserError: if something cannot be written; what was saved before still counts then.
        """
        self._check()
        with writing(self.folder):
            if not self.folder.exists():
                self.folder.mkdir(parents=True)
                settle(self.folder.parent)
        number = self.manifest["saves"] + 1
        manifest: Any = {**self.manifest, **progress, "saves": number, "lanes": None}
        arrays: dict[str, Any] = {}
        if lanes is not None:
            manifest["lanes"] = f"lanes-{number:06d}"
            arrays[manifest["lanes"]] = named(lanes)
        if ended:
            place = f"trials-{number:06d}"
            arrays[place] = named(jax.tree.map(lambda *leaves: np.stack(leaves), *ended.values()))  # few arrays are fast
            manifest["trials"] = {**manifest["trials"], place: list(ended)}
        sums_of = self.manifest["sums"] | self._put(arrays)
        manifest["sums"] = {place: sums_of[place] for place in _places(manifest)}
        write(self.folder / f"save-{number:06d}.json", signed(manifest))
        self.manifest = manifest
        self.watch()
        self._sweep()

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

    def _put(self, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
        for place, values in arrays.items():
            path = self.folder / place
            try:
                self._orbax.save(self._told(place), dict(values), force=True)
            except (OSError, ValueError, RuntimeError) as error:  # what orbax and tensorstore raise where a disk fails
                raise cannot_write(path, reason(error)) from error
        try:
            self._orbax.wait_until_finished()
        except (OSError, ValueError, RuntimeError) as error:
            raise cannot_write(self.folder, reason(error)) from error
        return {place: sums(self.folder / place) for place in arrays}

    def _sweep(self) -> None:
        """Removes what no manifest of the newest few names; those that are newer than the current one are damaged."""
        newest = self.manifest["saves"]
        live = {f"save-{newest:06d}.json", *_places(self.manifest)}
        for path, number in self._saves():
            if newest - KEPT < number < newest:
                try:
                    live |= {path.name, *_places(self._read(path))}
                except UserError:
                    return  # what it names is not known
        with writing(self.folder):
            for path in self.folder.iterdir():
                if path.name not in live:
                    remove(path)
            settle(self.folder)

    def _check(self) -> None:
        if self.folder.is_symlink() or (self.folder.exists() and not self.folder.is_dir()):
            raise UserError(f"{str(self.folder)!r} is a link or no folder; checkpoints lie in one; move it away")

    def _saves(self) -> list[tuple[Path, int]]:
        """The manifests that are there, the newest first."""
        if not self.folder.exists():
            return []
        matches = ((path, SAVE.fullmatch(path.name)) for path in self.folder.iterdir())
        return sorted(((path, int(m[1])) for path, m in matches if m), key=lambda pair: -pair[1])

    def _read(self, path: Path) -> Manifest:
        try:
            manifest = unsigned(read(path))
            version = manifest["format"]
            rows = []
            if version in READABLE:
                checked(manifest, Manifest)
                rows = [row_of(facts).trial for facts in manifest["rows"]]
        except FileNotFoundError:
            raise UserError(f"{str(path)!r} is not there") from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{str(path)!r} is damaged: {str(error).splitlines()[0]}") from None
        if version not in READABLE:
            raise UserError(f"{str(path)!r} has format {version!r}, expected {FORMAT}; use the version of jaxgen that wrote it")
        places = [*_places(manifest), *manifest["sums"]]
        names = [name for names in manifest["sums"].values() for name in names]
        strange = next((p for p in places if not PLACE.fullmatch(p) or p not in manifest["sums"]), None)
        strange = next((n for n in names if n.startswith("/") or ".." in n.split("/")), strange)
        if strange is not None:
            raise UserError(f"{str(path)!r} names {strange!r}, which is not of a run")
        ended = [trial for trials in manifest["trials"].values() for trial in trials]
        running = [trial for trial in manifest["in_lanes"] if trial is not None]
        if sorted(ended) != sorted(rows) or len({*rows, *running}) != len(rows) + len(running) or manifest["saves"] < 1:
            raise UserError(f"{str(path)!r} is damaged: its trials do not agree")
        return manifest

    def load(self, sound: Callable[[Manifest], str | None] | None = None) -> list[str]:
        """Takes up the newest save that is sound; without one, the run has saved nothing yet.

        Args:
          sound: says what else of a run is not as a manifest says. With it, all that a manifest names is looked at; without,
            a place is when it is read.

        Returns:
          what is damaged in newer saves, a line each.

        Raises:
          UserError: if there are saves and none is sound.
        """
        self._check()
        lines: list[str] = []
        for path, _ in self._saves():
            try:
                manifest = self._read(path)
            except UserError as error:
                lines.append(str(error))
                continue
            found = None if sound is None else sound(manifest) or self._damage(manifest)
            if found is None:
                self.manifest = manifest
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

    def _damage(self, manifest: Manifest) -> str | None:
        found = (damage(self.folder / place, expected) for place, expected in manifest["sums"].items())
        return next((line for line in found if line is not None), None)

    def lanes(self, shape: Any) -> Any:
        """The lanes of the current save, as host arrays in a tree like `shape`, which has their shapes and types."""
        place = self.manifest["lanes"]
        assert place is not None
        return unnamed(shape, self._get(place, shape))

    def trial(self, trial: int, shape: Any) -> Any:
        """The params and stats of a trial that ended, as host arrays in a tree like `shape`; None: as they were saved.

        Raises:
          UserError: if that trial has not ended, or is not of the run, or is damaged.
        """
        places = {trial: place for place, trials in self.manifest["trials"].items() for trial in trials}
        if trial not in places:
            raise UserError(
                f"trial {trial} is not among the ended ones ({brief(sorted(places))}); "
                "give one of those, or finish the run with --resume"
            )
        place = places[trial]
        rows = self.manifest["trials"][place]
        if self._held[0] != place:
            found = damage(self.folder / place, self.manifest["sums"][place])
            if found is not None:
                raise UserError(f"{found}; go on with the run by --resume, or start it again with --overwrite")
            stacked = jax.tree.map(lambda x: jax.ShapeDtypeStruct((len(rows), *x.shape), x.dtype), shape)
            self._held = (place, self._get(place, None if shape is None else stacked))
        arrays = {name: x[rows.index(trial)] for name, x in self._held[1].items()}
        if shape is None:
            params, stats = (nested(arrays).get(part, {}) for part in ("0", "1"))
            return params, stats
        return unnamed(shape, arrays)

    def _get(self, place: str, shape: Any) -> dict[str, np.ndarray]:
        path = self.folder / place
        try:
            told = self._told(place)
            meta: Any = self._orbax.metadata(told).item_metadata
            found = {key: (tuple(x.shape), np.dtype(x.dtype)) for key, x in meta.tree.items()}
            wanted = found if shape is None else named_shapes(shape)
            if found == wanted:  # before anything is allocated
                return self._orbax.restore(told, {key: np.zeros(*x) for key, x in wanted.items()})
            why = "it holds arrays of other names, shapes or types"
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            why = str(error).splitlines()[0]
        raise UserError(f"{str(path)!r} is damaged ({why}); start the run again with --overwrite")


def _places(manifest: Manifest) -> list[str]:
    return [*manifest["trials"], *([manifest["lanes"]] if manifest["lanes"] is not None else [])]


def reason(error: Exception) -> str:
    """What the system said of a failed write, without the path through the libraries."""
    number = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(number[1])) if number else (str(error) or type(error).__name__).splitlines()[0]


def named_shapes(tree: Any) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of the leaves of a tree by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): (x.shape, np.dtype(x.dtype)) for path, x in leaves}


def brief(numbers: list[int]) -> str:
    """Sorted numbers as text, runs of them as ranges: 0-3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs) or "none"
