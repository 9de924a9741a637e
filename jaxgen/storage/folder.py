"""A run's folder: its files, written so that each is whole and they agree, and read so that damage is noticed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgen.engine.lanes import Position
from jaxgen.engine.plan import Planned, cores
from jaxgen.fields import UserError
from jaxgen.judge.results import Heads, Results, Row, table
from jaxgen.storage import session
from jaxgen.storage.agreeing import agreeing
from jaxgen.storage.checkpoint import Store, brief
from jaxgen.storage.claim import CHECKPOINTS, FILES, PARTS, RESULTS, check_out, clear
from jaxgen.storage.ended import ENDED, Ended
from jaxgen.storage.facts import CONFIG, STEPS, config_text, planned_of, read_config, stages_of, stored_plan
from jaxgen.storage.files import append, finished, read, remove, settle, write, writing
from jaxgen.storage.lock import Lock, held
from jaxgen.storage.logs import KINDS, METRICS, Log, all_counting, counting, lines, take_up
from jaxgen.storage.manifest import RESUMED, Manifest
from jaxgen.train.trial import Status, TrialState

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
        self._rows = 0  # of the results that are saved
        self._heads: Heads | None = None  # of `results.csv` as it is on disk; None: it has none that is known
        self._arranged = True  # whether its rows are in the order of the sweep
        self.lost: dict[int, str] = {}  # trials that ended and are to be trained again, each with what became of it
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[float] | None = None
        self._facts: dict[str, Any] = {}
        self._session: session.Session | None = None  # from when this process trains
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
            self._refuse_trained()
            clear(self.path)
        if (self.path / CONFIG).exists():
            stored = read_config(self.path, RESUMED)
            self.notices += agreeing(self.path, facts, stored)
            facts = self._longer(facts, stored)
        else:
            self._began, stored = True, None
            write(self.path / CONFIG, config_text(facts))
        self._facts = facts
        self.plans = [planned_of(plan) for plan in facts["plan"]]
        damaged = self.store.load(self._damage)
        if "parts" in facts and not self.store.manifest["saves"]:
            raise UserError(
                f"{str(self.path)!r} holds a run that is trained by parts, which are not merged yet: train what is left by the "
                "command that began it, then merge"
            )
        self.store.watch()
        if stored is not None and facts is not stored:
            write(self.path / CONFIG, config_text(facts))  # not before what is there is known to be whole
        if self.store.manifest["saves"]:
            self._resume(results)
            self.notices += [f"{line}; going on from the save before it" for line in damaged]
        else:
            self._refuse_lost()
            self._columns = {name: kind.columns(results) for name, kind in KINDS.items()}
            self._log(METRICS, b"")
            self._table(results)

    def _longer(self, facts: Mapping[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
        """What is stored of the run, with the trials and the steps that it has not had so far."""
        more = len(facts["sweep"]["points"]) - len(stored["sweep"]["points"])
        then, now = (said["base"][STEPS] for said in (stored, facts))
        if then != now:
            self.notices.append(f"{STEPS} {now} in place of {then}: the trials that the run has go on from where they are")
        if more:
            self.notices.append(f"{more} trial{'s' * (more > 1)} more than the run has had; what it has stays")
        if not more and then == now:
            return stored
        return stored | {key: facts[key] for key in ("format", "flags", "sweep", "base", "programs", "filled_in")}

    def _refuse_trained(self) -> None:
        """Raises where another process trains a part of the run: it holds the part's folder alone."""
        for part in (self.path / PARTS, *sorted((self.path / PARTS).glob("*"))):
            if part.is_dir() and held(part):
                raise UserError(
                    f"{str(part)!r} is being written by another process; wait for it, stop it, or give another --out"
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
            self._logs[name] = Log(self.path / name)
            self._logs[name].begin(table([self._columns[name]]).encode())
        if more:
            self._logs[name].append(more)

    def keep(self, group: int, planned: Planned) -> None:
        """Stores the plan of a group: what it is run under on resume too."""
        self.plans[group : group + 1] = [planned]
        stored = [stored_plan(p) for p in self.plans]
        if stored != self._facts["plan"] or self._session is None:
            self._facts["plan"] = stored
            self._session = self._session or session.begun()
            self._say_sessions()

    def _say_sessions(self) -> None:
        """Writes `config.json` with this session as it is now."""
        assert self._session is not None
        facts = self._facts | {"sessions": [*self._facts.get("sessions", []), self._session]}
        write(self.path / CONFIG, config_text(facts))

    def _damage(self, manifest: Manifest, ended: Ended) -> str | None:
        try:
            all_counting(self.path, manifest["logs"])
            check_trials(self.path, self._facts, manifest, ended)
        except UserError as error:
            return str(error)
        return None

    def _resume(self, results: Results) -> None:
        self._columns = {name: kind.columns(results) for name, kind in KINDS.items()}
        running, ended = {*self.store.manifest["in_lanes"]}, self.store.ended.rows
        self.lost = {trial: why for trial, why in self.store.lost().items() if trial not in running}
        going = {trial for trial, row in ended.items() if results.outgrown(row)} - {*self.lost}
        self.lost |= self.store.lacking(sorted(going - running))
        results.take_up(row for trial, row in ended.items() if trial not in going | {*self.lost})
        self._rows = len(results.rows)
        self._table(results)  # a crash may have come between the manifest and the table
        for name, counted in self.store.manifest["logs"].items():
            whole = counting(self.path / name, counted)
            self._logs[name] = Log(self.path / name)
            self._logs[name].go_on(whole)  # what came after the last save is trained again
            take_up(results, name, whole)
            self._written[name] = len(getattr(results, KINDS[name].where))

    def _table(self, results: Results) -> None:
        """Makes `results.csv` anew, in the order of the sweep."""
        write(self.path / RESULTS, results.results_csv())
        self._heads, self._arranged = results.heads(results.rows), True

    def arrange(self, results: Results) -> None:
        """Puts the rows of `results.csv`, which come as trials end, into the sweep's order; and says that a session ended."""
        self.settle()
        if not self._arranged:
            self._table(results)
        if self._session is not None:
            self._session = session.ended(self._session)
            self._say_sessions()

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
        ended = self.store.ended
        unknown = _begun(order, manifest, ended.rows)
        parts = bool(manifest.get("merged"))  # of which some may not have been there
        if unknown is None or (unknown and not ended.unread and not parts):
            raise UserError(
                f"{str(self.path)!r} holds trials in another order than this version of jaxgen takes them; "
                "go on with the version that began the run, or --overwrite"
            )
        why = (
            "their parts were not there when the run was merged" if parts else f"{str(self.store.folder / ENDED)!r} is damaged"
        )
        self.lost |= dict.fromkeys(unknown, why)
        for what in dict.fromkeys(self.lost.values()):
            trials = [trial for trial, found in sorted(self.lost.items()) if found == what]
            these = f"trial {trials[0]} is" if len(trials) == 1 else f"trials {brief(trials)} are"
            self.notices.append(f"{what}; {these} trained again")
        group, lanes = manifest["group"], tuple(manifest["in_lanes"])
        state = self.store.lanes(state_shape(group, len(lanes))) if manifest["lanes"] else None
        return Position(group, manifest["taken"], lanes, state)

    def save(self, position: Position, results: Results, ended: dict[int, Any], lasts: dict[int, Any], now: bool) -> bool:
        """Saves if it is time or `now`; says whether it did.

        Args:
          ended: of the trials that ended since the last save, their best states.
          lasts: and of some, their last ones.

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
        rows, self._rows = results.rows[self._rows :], len(results.rows)
        progress = {"group": position.group, "taken": position.taken, "in_lanes": position.lanes}
        states = (lanes, dict(ended), dict(lasts))
        self._writing = self._writer.submit(self._write, states, rows, progress, more, *self._fresh(results, rows))
        if now:
            self.settle()
        beside = 0.0 if now else wrote / (cores() + 1)  # the writer and as many threads as cores train share the cores
        self._due = time.monotonic() + (time.monotonic() - began + beside) / SHARE
        return True

    def _fresh(self, results: Results, rows: Sequence[Row]) -> tuple[str, bool]:
        """New rows of `results.csv`, and whether they are all of it: where they have columns that it lacks, or it is gone."""
        if not rows:
            return "", False
        heads = results.heads(rows)
        if self._heads is None or not self._heads.hold(heads) or not (self.path / RESULTS).exists():
            self._heads, self._arranged = results.heads(results.rows), True
            return results.results_csv(), True
        self._arranged = False
        return results.lines_csv(rows, self._heads), False

    def going_on(self, trials: Sequence[int], lane: TrialState) -> TrialState:
        """The last states of trials that ended, on the host, as lanes that go on; of a lane, its shapes and types."""
        states = self.store.lasts(trials, lane)
        state = jax.tree.map(lambda *rows: np.stack(rows), *states)
        return state._replace(status=np.full_like(state.status, Status.RUNNING))

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

    def _write(
        self,
        states: tuple[Any, dict[int, Any], dict[int, Any]],
        rows: Sequence[Row],
        progress: dict[str, Any],
        more: dict[str, bytes],
        fresh: str,
        whole: bool,
    ) -> float:
        began = time.monotonic()
        self.store.check_untouched()
        for name, content in more.items():
            if content:
                self._log(name, content)
        logs = {name: log.counted for name, log in self._logs.items()}
        lanes, ended, lasts = states
        self.store.save(lanes, ended, rows, progress | {"logs": logs}, lasts)
        if whole:
            write(self.path / RESULTS, fresh)
        elif fresh:
            append(self.path / RESULTS, fresh.encode("utf-8", "backslashreplace"))
        return time.monotonic() - began


def _begun(order: Sequence[tuple[int, ...]], manifest: Manifest, ended: Collection[int]) -> set[int] | None:
    """The trials that have begun where a manifest says and that neither run nor have ended: none, but for what was lost.

    None: a run of groups in this order does not come to stand there.
    """
    number, taken = manifest["group"], manifest["taken"]
    here = order[number] if 0 <= number < len(order) else ()
    begun = {trial for group in order[:number] for trial in group} | {*here[: max(taken, 0)]}
    running = {trial for trial in manifest["in_lanes"] if trial is not None}
    beyond = bool(manifest["in_lanes"]) and number >= len(order)
    if beyond or not 0 <= taken <= len(here) or not running <= {*here} or not {*running, *ended} <= begun:
        return None
    return begun - running - {*ended}


def check_trials(path: Path, facts: Mapping[str, Any], manifest: Manifest, ended: Ended) -> None:
    """Refuses a save that speaks of other trials than the run has.

    Raises:
      UserError: then.
    """
    running, points = [trial for trial in manifest["in_lanes"] if trial is not None], facts["sweep"]["points"]
    trials, count = [*ended.rows, *running], len(points)
    groups = count * (1 + len(stages_of(facts["sweep"])[1]))  # at most: in each trials go on
    strange = any(not 0 <= trial < count for trial in trials) or not 0 <= manifest["group"] <= groups
    # Who trains and has ended was given more steps.
    budgets = {} if strange else {trial: points[trial].get(STEPS, facts["base"].get(STEPS)) for trial in running}
    known = all(isinstance(steps, int) for steps in budgets.values())
    if strange or not known or any(ended.rows[t].steps >= steps for t, steps in budgets.items() if t in ended.rows):
        raise UserError(f"{str(path / CHECKPOINTS)!r} is damaged: it holds trials that are not of this run")
