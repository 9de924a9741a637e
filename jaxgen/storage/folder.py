"""A run's folder: its files, written so that each is whole and they agree, and read so that damage is noticed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgen.engine.lanes import Position
from jaxgen.engine.plan import Planned, cores
from jaxgen.fields import UserError
from jaxgen.judge.results import Results
from jaxgen.storage.checkpoint import FORMAT, Manifest, Store, brief
from jaxgen.storage.facts import CONFIG, check_ours, config_text, measured, planned_of, read_config, stored_plan
from jaxgen.storage.files import finished, read, remove, settle, write, writing
from jaxgen.storage.lock import LOCK, Lock
from jaxgen.storage.logs import KINDS, METRICS, Log, all_counting, lines, take_up
from jaxgen.storage.rows import row_of

RESULTS, CHECKPOINTS = "results.csv", "checkpoints"
FILES = {CONFIG, *KINDS, RESULTS, CHECKPOINTS, "report.html", "plots", "tensorboard"}  # all that a run's folder holds
SHARE = 0.05  # of the time, at most, goes into saving


class Folder:
    """A run's folder, held by this process until `close`: its files, written so that each is whole and they agree."""

    def __init__(self, path: Path, *, resume: bool, overwrite: bool) -> None:
        self.path, self._flags = path, {"resume": resume, "overwrite": overwrite}
        self.store = Store(path / CHECKPOINTS)
        self.notices: list[str] = []  # what a user should know of a run that goes on
        self._lock: Lock | None = None
        self._made = False  # the folder, by this process
        self._began = False  # the run, by this process
        self._due = 0.0  # when to save next
        self._logs: dict[str, Log] = {}  # those that have begun
        self._written = dict.fromkeys(KINDS, 0)  # lines that are in each
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[float] | None = None
        self._facts: dict[str, Any] = {}
        self.plans: list[Planned] = []  # of the groups that have begun
        with writing(path):
            check_out(path, **self._flags)

    def open(self, facts: dict[str, Any], results: Results) -> None:
        """Makes the folder, or takes up the run in it.

        Raises:
          UserError: if another process writes it, it holds another run, or nothing of it is whole.
        """
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self.path.mkdir()
                self._made = True
                settle(self.path.parent)
        self._lock = Lock(self.path)
        check_out(self.path, **self._flags)  # again: another process may have been there in between
        with writing(self.path):
            for item in self.path.iterdir():
                if finished(item.name) in FILES - {item.name}:  # of a process that was killed as it wrote
                    remove(item)
        if self._flags["overwrite"]:
            clear(self.path)
        if (self.path / CONFIG).exists():
            stored = read_config(self.path, (FORMAT,))
            if (name := stored["task"]["name"]) != facts["task"]["name"]:
                raise UserError(f"{str(self.path)!r} holds a run of the task {name!r}; give that one, or --overwrite")
            for what, here, there in (
                ("sweep", facts["sweep"]["points"], stored["sweep"]["points"]),
                ("base", facts["base"], stored["base"]),
            ):
                if json.loads(json.dumps(here)) != there:
                    raise UserError(
                        f"{str(self.path)!r} holds a run of another {what}; give the flags it was started with, or --overwrite"
                    )
            self._check_task(facts["task"], stored["task"])
            here, there = ({**f["versions"], "devices": f["devices"]} for f in (facts, stored))
            self.notices += [
                f"the run began with {key} {there.get(key)}, and this is {here[key]}; its last bits may differ"
                for key in here
                if here[key] != there.get(key)
            ]
            facts = stored
        else:
            self._began = True
            write(self.path / CONFIG, config_text(facts))
        self._facts = facts
        self.plans = [planned_of(stored) for stored in facts["plan"]]
        damaged = self.store.load(self._damage)
        self.store.watch()
        if self.store.manifest["saves"]:
            self._resume(results)
            self.notices += [f"{line}; going on from the save before it" for line in damaged]
        else:
            self._refuse_lost()
            self._columns = {name: kind.columns(results) for name, kind in KINDS.items()}
            self._log(METRICS, b"")
            write(self.path / RESULTS, results.results_csv())

    def _check_task(self, here: Mapping[str, Any], there: Mapping[str, Any]) -> None:
        """Refuses a task that is on other rows, or measures something else; says so where its program has changed."""
        now, then = (", ".join(measured(task)) for task in (here, there))
        if now != then:
            raise UserError(
                f"{str(self.path)!r} holds a run whose metrics are {then}, and those of the task are {now} now; "
                "give it as it was, or --overwrite"
            )
        for key, what in (("sha256", "rows"), ("sections", "rows"), ("source", "data.source")):
            if here["rows"].get(key) != there["rows"].get(key):
                where = there["rows"].get("path", there["name"])
                raise UserError(
                    f"{str(self.path)!r} holds a run on other rows: {what if key == 'source' else repr(where)} has changed "
                    "since; restore it, or --overwrite"
                )
        if here["program"] != there["program"]:
            self.notices.append(
                f"the task {there['name']!r} computes something else than when the run began (its network, its loss, or a "
                "library has changed): trials from here on do not compare with those before; --overwrite starts it again"
            )

    def _refuse_lost(self) -> None:
        """A table with rows is written after a save: where it is there, nothing saved means that saves were lost."""
        with contextlib.suppress(FileNotFoundError):
            if read(self.path / RESULTS).count(b"\n") > 1:
                raise UserError(
                    f"{str(self.store.folder)!r} has lost its manifests, and {RESULTS} holds trials that ended; "
                    "start the run again with --overwrite"
                )

    def _log(self, name: str, more: bytes) -> None:
        """Adds to a table that only grows, which begins if it has not."""
        if name not in self._logs:
            self._logs[name] = Log(self.path / name, self._columns[name])
            self._logs[name].begin()
        if more:
            self._logs[name].append(more)

    def keep(self, group: int, planned: Planned) -> None:
        """Stores the plan of a group: what it is run under on resume too."""
        self.plans[group : group + 1] = [planned]
        stored = [stored_plan(p) for p in self.plans]
        if stored != self._facts["plan"]:
            self._facts["plan"] = stored
            write(self.path / CONFIG, config_text(self._facts))

    def _damage(self, manifest: Manifest) -> str | None:
        try:
            all_counting(self.path, manifest["logs"])
            check_trials(self.path, self._facts, manifest)
        except UserError as error:
            return str(error)
        return None

    def _resume(self, results: Results) -> None:
        manifest = self.store.manifest
        self._columns = {name: kind.columns(results) for name, kind in KINDS.items()}
        results.rows.extend(map(row_of, manifest["rows"]))
        write(self.path / RESULTS, results.results_csv())  # a crash may have come between the manifest and the table
        for name, counted in manifest["logs"].items():
            self._logs[name] = Log(self.path / name, self._columns[name])
            take_up(results, name, self._logs[name].resume(counted))  # what came after the last save is trained again
            self._written[name] = len(getattr(results, KINDS[name].where))

    def position(self, order: Sequence[tuple[int, ...]], state_shape: Callable[[int, int], Any]) -> Position | None:
        """Where the run stands; None at its start.

        Args:
          order: the trials of each group.
          state_shape: of a group's lanes, and of how many.

        Raises:
          UserError: where that order does not come to: another version may group trials otherwise.
        """
        manifest = self.store.manifest
        if not manifest["saves"]:
            return None
        if not _reached(order, manifest):
            raise UserError(
                f"{str(self.path)!r} holds trials in another order than this version of jaxgen takes them; "
                "go on with the version that began the run, or --overwrite"
            )
        group, lanes = manifest["group"], tuple(manifest["in_lanes"])
        state = self.store.lanes(state_shape(group, len(lanes))) if manifest["lanes"] else None
        return Position(group, manifest["taken"], lanes, state)

    def save(self, position: Position, results: Results, ended: dict[int, Any], now: bool) -> bool:
        """Saves if it is time or `now`; says whether it did.

        The arrays are copied to the host, and written while training goes on; with `now` all is on disk on return. Saving
        takes SHARE of the time at most: a crash costs one segment, or several where they are shorter than that allows for.
        """
        busy = self._writing is not None and not self._writing.done()
        began = time.monotonic()
        if not now and (busy or began < self._due):
            return False
        wrote = self.settle()
        lanes = None if position.state is None else jax.tree.map(lambda x: np.array(x, copy=True), position.state)
        more = {name: lines(results, name, self._written[name]) for name in KINDS}
        self._written = {name: len(getattr(results, kind.where)) for name, kind in KINDS.items()}
        progress = {
            "group": position.group,
            "taken": position.taken,
            "in_lanes": position.lanes,
            "rows": [dataclasses.asdict(row) for row in results.rows],
        }
        self._writing = self._writer.submit(self._write, lanes, dict(ended), progress, more, results.results_csv())
        if now:
            self.settle()
        beside = 0.0 if now else wrote / (cores() + 1)  # the writer and as many threads as cores train share the cores
        self._due = time.monotonic() + (time.monotonic() - began + beside) / SHARE
        return True

    def trial(self, trial: int, shape: Any) -> Any:
        """The params and stats of a trial that ended (`Store.trial`)."""
        return self.store.trial(trial, shape)

    def settle(self) -> float:
        """Waits for what is being written; raises what went wrong. Returns how long the last save was being written, in s."""
        return self._writing.result() if self._writing is not None else 0.0

    def forget(self) -> None:
        """Removes a run that this process began and that has saved nothing."""
        with contextlib.suppress(UserError):
            self.settle()
        if self._began and not self.store.manifest["saves"]:
            with contextlib.suppress(UserError):
                clear(self.path)

    def close(self) -> None:
        """Waits as `settle` does, and lets go of the folder."""
        try:
            self.settle()
        finally:
            self._writer.shutdown()
            if self._lock is not None:
                self._lock.release()
            if self._made:
                with contextlib.suppress(OSError):
                    self.path.rmdir()  # nothing has been written to it

    def _write(self, lanes: Any, ended: dict[int, Any], progress: dict[str, Any], more: dict[str, bytes], rows: str) -> float:
        began = time.monotonic()
        self.store.check_untouched()
        for name, content in more.items():
            if content:
                self._log(name, content)
        logs = {name: log.counted for name, log in self._logs.items()}
        self.store.save(lanes, ended, progress | {"logs": logs})
        write(self.path / RESULTS, rows)
        return time.monotonic() - began


class Memory:
    """What a run that stays in memory has in place of a folder."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.plans: list[Planned] = []
        self._states: dict[int, Any] = {}

    def open(self, facts: dict[str, Any], results: Results) -> None:
        """There is nothing to take up."""

    def keep(self, group: int, planned: Planned) -> None:
        """A plan is needed again on resume only."""

    def position(self, order: Sequence[tuple[int, ...]], state_shape: Callable[[int, int], Any]) -> None:
        """A run in memory stands at its start."""

    def save(self, position: Position, results: Results, ended: dict[int, Any], now: bool) -> bool:
        """Keeps the states of trials that ended."""
        self._states |= ended
        return True

    def trial(self, trial: int, shape: Any) -> Any:
        """The params and stats of a trial that ended.

        Raises:
          UserError: if it has not.
        """
        if trial not in self._states:
            raise UserError(f"trial {trial} is not among the ended ones ({brief(sorted(self._states))}); give one of those")
        return self._states[trial]

    def forget(self) -> None:
        """Nothing has been written."""

    def close(self) -> None:
        """Nothing is held."""


def _reached(order: Sequence[tuple[int, ...]], manifest: Manifest) -> bool:
    """Whether a run of groups in this order comes to stand where a manifest says."""
    number, taken = manifest["group"], manifest["taken"]
    here = order[number] if 0 <= number < len(order) else ()
    begun = [trial for group in order[:number] for trial in group] + list(here[: max(taken, 0)])
    running = [trial for trial in manifest["in_lanes"] if trial is not None]
    ended = [row["trial"] for row in manifest["rows"]]
    beyond = bool(manifest["in_lanes"]) and number >= len(order)
    return not beyond and 0 <= taken <= len(here) and sorted(begun) == sorted(running + ended) and {*running} <= {*here}


def check_out(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuses a folder that may not be written to.

    Raises:
      UserError: if it holds a run without `resume` or `overwrite`, or is none of ours.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{str(path)!r} is not a folder; give another one with --out")
    if path.is_symlink() and overwrite:
        raise UserError(f"{str(path)!r} is a symbolic link, which --overwrite does not follow; give the folder itself")
    names = {finished(item.name) for item in path.iterdir()} - {LOCK} if path.exists() else set()
    holds_run = CONFIG in names
    if names and not holds_run:
        raise UserError(f"{str(path)!r} holds files but no run; give an empty folder with --out")
    if holds_run and not resume and not overwrite:
        raise UserError(
            f"{str(path)!r} holds a run; give --resume to go on with it, --overwrite to replace it, or another --out"
        )
    if holds_run and overwrite:
        if (path / CONFIG).exists():  # deletes a run, of any format, and nothing else that happens to have a config.json
            check_ours(path)
        strange = sorted(names - FILES)
        if strange:
            raise UserError(f"{str(path)!r} holds {strange[0]!r}, which is not of a run; move it away, or give another --out")
    if resume and overwrite:
        raise UserError("--resume and --overwrite exclude each other; give one of them")


def clear(path: Path) -> None:
    """Removes a run, its `config.json` last: until then the folder is known to hold one."""
    with writing(path):
        for item in sorted(path.iterdir(), key=lambda item: item.name == CONFIG):
            if item.name != LOCK:
                remove(item)


def check_trials(path: Path, facts: Mapping[str, Any], manifest: Manifest) -> None:
    """Refuses a save that speaks of other trials than the run has.

    Raises:
      UserError: then.
    """
    trials = [row["trial"] for row in manifest["rows"]] + [trial for trial in manifest["in_lanes"] if trial is not None]
    count = len(facts["sweep"]["points"])
    if any(not 0 <= trial < count for trial in trials) or not 0 <= manifest["group"] <= count:
        raise UserError(f"{str(path / CHECKPOINTS)!r} is damaged: it holds trials that are not of this run")
