"""A run's folder: its files, written so that each is whole and they agree, and read so that damage is noticed."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgen import plan
from jaxgen.checkpoint import FORMAT, Store, write
from jaxgen.config import UserError, flatten
from jaxgen.corpus import Corpus
from jaxgen.engine import Position
from jaxgen.plan import Plan, Planned, Seconds
from jaxgen.results import CURVE_HEAD, Curve, Results, Row, curve_csv, named_value, table
from jaxgen.sweep import Sweep

CONFIG, METRICS, RESULTS, CHECKPOINTS = "config.json", "metrics.csv", "results.csv", "checkpoints"
FILES = {CONFIG, METRICS, RESULTS, CHECKPOINTS, "report.html", "plots"}  # all that a run's folder holds
SAVE_EVERY = 5.0  # seconds between two saves; what is trained in between is trained again after a crash
PACKAGES = ("jaxgen", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class Folder:
    """A run's folder: its files, written so that each is whole and they agree."""

    def __init__(self, path: Path, *, resume: bool, overwrite: bool) -> None:
        self.path, self._overwrite = path, overwrite
        self.store = Store(path / CHECKPOINTS)
        self._saved_at = time.monotonic()
        self._curves = 0  # evaluations that are in metrics.csv
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None
        self._facts: dict[str, Any] = {}
        self.plans: list[Planned] = []  # of the groups that have begun
        check_out(path, resume=resume, overwrite=overwrite)

    def open(self, facts: dict[str, Any], results: Results) -> None:
        """Makes the folder, or takes up the run in it."""
        if self._overwrite and self.path.exists():
            shutil.rmtree(self.path)
        if (self.path / CONFIG).exists():
            stored = read_config(self.path)
            for key in ("sweep", "base"):
                if json.loads(json.dumps(facts[key])) != stored[key]:
                    raise UserError(
                        f"{str(self.path)!r} holds a run of another {key}; give the flags it was started with, or --overwrite"
                    )
            if facts["corpus"]["sha256"] != stored["corpus"]["sha256"]:
                raise UserError(
                    f"{str(self.path)!r} holds a run on another corpus: {stored['corpus']['path']!r} has changed since; "
                    "restore it, or --overwrite"
                )
            facts = stored
        else:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"cannot make the folder {str(self.path)!r} ({error.strerror}); give another --out") from None
            write(self.path / CONFIG, _json(facts))
        if self.store.load():
            self._resume(results)
        elif self.store.orphans():
            raise UserError(
                f"{str(self.store.folder)!r} has lost its manifest, so its trials cannot be told; start again with --overwrite"
            )
        else:
            write(self.path / METRICS, table([CURVE_HEAD]))
            write(self.path / RESULTS, results.results_csv())
        self._facts = facts
        self.plans = [Planned(plan.fit(Plan(**p["lanes"])), _measured(p)) for p in facts["plan"]]

    def keep(self, group: int, planned: Planned) -> None:
        """Stores the plan of a group: what it is run under on resume too."""
        self.plans[group:] = [planned]
        stored = [_stored(p) for p in self.plans]
        if stored != self._facts["plan"]:
            self._facts["plan"] = stored
            write(self.path / CONFIG, _json(self._facts))

    def _resume(self, results: Results) -> None:
        manifest = self.store.manifest
        results.rows.extend(Row(**row) for row in manifest["rows"])
        write(self.path / RESULTS, results.results_csv())  # a crash may have come between the manifest and the table
        metrics = self.path / METRICS
        if not metrics.is_file() or metrics.stat().st_size < manifest["metrics"]:
            raise UserError(f"{str(metrics)!r} is damaged: it has lost lines; start the run again with --overwrite")
        os.truncate(metrics, manifest["metrics"])  # what came after the last save is trained again
        results.curves.extend(read_curves(self.path, manifest["metrics"]))
        self._curves = len(results.curves)

    def position(self, state_shape: Callable[[int], Any]) -> Position | None:
        """Where the run stands; None at its start."""
        manifest = self.store.manifest
        if not manifest["saves"]:
            return None
        group = manifest["group"]
        state = self.store.lanes(state_shape(group)) if manifest["lanes"] else None
        return Position(group, manifest["taken"], tuple(manifest["in_lanes"]), state)

    def save(self, position: Position, results: Results, ended: dict[int, Any], now: bool) -> bool:
        """Saves if it is time or `now`; says whether it did.

        The arrays are copied to the host, and written while training goes on; with `now` all is on disk on return.
        """
        busy = self._writing is not None and not self._writing.done()
        if not now and (busy or time.monotonic() - self._saved_at < SAVE_EVERY):
            return False
        self.settle()
        lanes = None if position.state is None else jax.tree.map(lambda x: np.array(x, copy=True), position.state)
        curves = curve_csv(results.curves[self._curves :])
        self._curves = len(results.curves)
        progress = {
            "group": position.group,
            "taken": position.taken,
            "in_lanes": position.lanes,
            "rows": [dataclasses.asdict(row) for row in results.rows],
        }
        self._writing = self._writer.submit(self._write, lanes, dict(ended), progress, curves, results.results_csv())
        if now:
            self.settle()
        self._saved_at = time.monotonic()
        return True

    def settle(self) -> None:
        """Waits for what is being written; raises what went wrong."""
        if self._writing is not None:
            self._writing.result()

    def _write(self, lanes: Any, ended: dict[int, Any], progress: dict[str, Any], curves: str, rows: str) -> None:
        with open(self.path / METRICS, "a", encoding="utf-8", newline="") as file:
            file.write(curves)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        self.store.save(lanes, ended, progress | {"metrics": size})
        write(self.path / RESULTS, rows)


def _stored(planned: Planned) -> dict[str, Any]:
    measured = [dataclasses.asdict(p) | {"seconds": s} for p, s in planned.measured.items() if math.isfinite(s)]
    return {"lanes": dataclasses.asdict(planned.plan), "measured": measured}


def _measured(stored: dict[str, Any]) -> Seconds:
    return {Plan(m["devices"], m["width"], m["chunk"]): m["seconds"] for m in stored["measured"]}


def _json(facts: dict[str, Any]) -> str:
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"


def describe(sweep: Sweep, corpus: Corpus, programs: int, name: str) -> dict[str, Any]:
    """What `config.json` holds."""
    points = [{key: named_value(value) for key, value in point.items()} for point in sweep.points]
    chain = sweep.base.optimizer.chain
    return {
        "format": FORMAT,
        "sweep": {"name": name, "keys": list(sweep.keys), "points": points},
        "base": flatten(sweep.base) | ({} if chain is None else {"optimizer.chain": named_value(chain)}),
        "corpus": {
            "path": corpus.path,
            "column": corpus.column,
            "names": len(corpus.names),
            "different": len(set(corpus.names)),
            "windows": corpus.windows,
            "vocabulary": len(corpus.vocabulary),
            "characters": corpus.vocabulary.characters,
            "longest": max(map(len, corpus.names)),
            "sha256": corpus.sha256,
        },
        "versions": {package: version(package) for package in PACKAGES},
        "devices": [str(device) for device in jax.local_devices()],
        "plan": [],  # of each group, from when it begins
        "programs": programs,
    }


def check_out(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuses a folder that may not be written to.

    Raises:
      UserError: if it holds a run without `resume` or `overwrite`, or is none of ours.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{str(path)!r} is not a folder; give another one with --out")
    if {"[", "]"} & set(str(path.absolute())):  # orbax takes them for a pattern and writes elsewhere
        raise UserError(f"{str(path)!r} holds a bracket, which checkpoints cannot have in their path; give another --out")
    if path.is_symlink() and overwrite:
        raise UserError(f"{str(path)!r} is a symbolic link, which --overwrite does not follow; give the folder itself")
    names = {item.name.removesuffix(".new") for item in path.iterdir()} if path.exists() else set()
    holds_run = CONFIG in names
    if names and not holds_run:
        raise UserError(f"{str(path)!r} holds files but no run; give an empty folder with --out")
    if holds_run and not resume and not overwrite:
        raise UserError(
            f"{str(path)!r} holds a run; give --resume to go on with it, --overwrite to replace it, or another --out"
        )
    if holds_run and overwrite:
        read_config(path)  # deletes a run, and nothing else that happens to have a config.json
        strange = sorted(names - FILES)
        if strange:
            raise UserError(f"{str(path)!r} holds {strange[0]!r}, which is not of a run; move it away, or give another --out")
    if resume and overwrite:
        raise UserError("--resume and --overwrite exclude each other; give one of them")


def read_config(path: Path) -> dict[str, Any]:
    """A run's `config.json`.

    Raises:
      UserError: if the folder holds no run, or one of another format.
    """
    try:
        facts = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        found = facts["format"]
    except OSError:
        raise UserError(f"{str(path)!r} holds no run ({CONFIG} is not there); give the folder that --out named") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{str(path / CONFIG)!r} is damaged or not of a run; give another folder") from None
    if found != FORMAT:
        raise UserError(
            f"{str(path)!r} holds a run of format {found!r}, expected {FORMAT}; use the version of jaxgen that wrote it"
        )
    return facts


def read_curves(path: Path, size: int) -> list[Curve]:
    """The evaluations in the first `size` bytes of a run's `metrics.csv`: what a crash left behind them does not count.

    Raises:
      UserError: if the file is not there or damaged.
    """
    try:
        lines = (path / METRICS).read_bytes()[:size].decode("utf-8").splitlines()[1:]
        fields = (line.split(",") for line in lines)
        return [Curve(int(trial), int(step), float(train), float(validation)) for trial, step, train, validation in fields]
    except (OSError, ValueError):
        raise UserError(f"{str(path / METRICS)!r} is damaged; go on with the run by --resume, or start it again") from None
