"""A run: a sweep trained to its end, in memory or in a folder from which it goes on after an interruption."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from jaxgen import engine, plan
from jaxgen import trial as trials
from jaxgen.checkpoint import FORMAT, Store, write
from jaxgen.config import Config, UserError, flatten, override, validate
from jaxgen.corpus import Corpus, Splits, Vocabulary, cut, load_corpus, split
from jaxgen.engine import Ended, Evaluated, Event, Position, SegmentDone
from jaxgen.objective import Task, next_character
from jaxgen.optimizers import lower
from jaxgen.plan import Plan
from jaxgen.results import CURVE_HEAD, Curve, Results, Row, Trained, curve_csv, named_value, table
from jaxgen.sweep import Group, Sweep, groups

CONFIG, METRICS, RESULTS, CHECKPOINTS = "config.json", "metrics.csv", "results.csv", "checkpoints"
FILES = {CONFIG, METRICS, RESULTS, CHECKPOINTS, "report.html", "plots"}  # all that a run's folder holds
SAVE_EVERY = 5.0  # seconds between two saves; what is trained in between is trained again after a crash
PACKAGES = ("jaxgen", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class Interrupted(Exception):
    """The run was asked to stop; all that it had done is saved."""


def run(
    sweep: Sweep | Iterable[Config],
    corpus: Corpus,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    width: int | None = None,
    name: str = "sweep",
    listener: Callable[[Event, Results], None] = lambda event, results: None,
    stop: Callable[[], bool] = lambda: False,
) -> Results:
    """Trains every trial of a sweep on a corpus.

    Args:
      sweep: from `grid`, `random`, `zipped`, `seeds`, or any configs.
      corpus: from `load_corpus`; the configs' data.path and data.column play no part.
      out: the run's folder; None keeps everything in memory.
      resume: go on with the run that `out` holds (and start it if it holds none).
      overwrite: remove the run that `out` holds.
      width: lanes; None: what the plan chooses.
      name: what the sweep is called in `config.json`.
      listener: is told each of the engine's events, after the results have taken it in.
      stop: asked after each segment; true saves and raises.

    Raises:
      UserError: for a sweep without trials, a value that is not allowed, a corpus too small to split, or a folder that
        holds a run. Nothing has been written then.
      Interrupted: after `stop` said so.
    """
    sweep = _of(sweep, corpus)
    if not len(sweep):
        raise UserError("the sweep has 0 trials; give at least one value for each key, and --trials and --seeds of 1 or more")
    plans, group_list, data = _prepare(sweep, corpus, width)
    task = next_character(len(corpus.vocabulary))
    results = Results(sweep, programs=len(group_list), out=None if out is None else str(out))
    folder = None if out is None else Folder(Path(out), resume=resume, overwrite=overwrite)
    start: Position | None = None
    states: dict[int, Any] = {}
    if folder is None:
        results.trained = functools.partial(_trained, sweep, corpus, lambda trial, shape: states[trial])
    else:
        results.trained = functools.partial(_trained, sweep, corpus, lambda trial, shape: folder.store.trial(trial, shape))
        facts = describe(sweep, corpus, plans, name)
        plans = folder.open(facts, results)
        start = folder.position(lambda group: engine.pool_shape(task, group_list[group].static, plans[group].width))
    first = 0 if start is None else start.group
    for number in range(first, len(group_list)):
        group = group_list[number]
        resumed = start if start is not None and start.group == number else None
        for event in engine.train(task, data(group.static), group, plans[number], number, resumed):
            _take(event, results)
            if isinstance(event, Ended):
                states[event.trial] = (event.params, event.stats)
            listener(event, results)
            if isinstance(event, SegmentDone):
                asked = stop()
                if folder is not None and folder.save(event.position, results, states, now=asked):
                    states.clear()
                if asked:
                    raise Interrupted
        if folder is not None:
            folder.save(Position(number + 1, 0, (), None), results, states, now=True)
            states.clear()
    return results


def _of(sweep: Sweep | Iterable[Config], corpus: Corpus) -> Sweep:
    """`sweep` with the corpus's own path in its base config, so that what is stored is true."""
    if not isinstance(sweep, Sweep):
        configs = list(sweep)
        base, flat = (configs[0] if configs else Config()), [flatten(config) for config in configs]
        varied = [key for key in flatten(base) if any(values[key] != flat[0][key] for values in flat)]
        points = [{key: values[key] for key in varied} for values in flat]
        if any(config.optimizer.chain is not base.optimizer.chain for config in configs):
            points = [{**p, "optimizer.chain": c.optimizer.chain} for p, c in zip(points, configs, strict=True)]
        sweep = Sweep(base, tuple(points))
    fixed = [key for key in ("data.path", "data.column") if key in sweep.keys]
    if fixed:
        raise UserError(f"{fixed[0]} is varied, but a run has one corpus; start a run for each file")
    return dataclasses.replace(sweep, base=override(sweep.base, {"data.path": corpus.path, "data.column": corpus.column}))


def _prepare(
    sweep: Sweep, corpus: Corpus, width: int | None
) -> tuple[list[Plan], list[Group], Callable[[Config], engine.Data]]:
    """Plans and groups of a sweep, and a group's data from its config. All that the user can have got wrong raises here."""

    @functools.cache
    def windows(how: str, seed: int) -> int:
        train = cut(corpus, how, seed)[0]
        return sum(map(len, train)) + len(train)

    @functools.lru_cache(maxsize=1)  # groups come one after the other
    def splits(how: str, seed: int, context: int) -> Splits:
        return split(corpus, how, seed, context)

    def data(config: Config) -> engine.Data:
        return engine.prepare(*splits(config.data.split, config.data.split_seed, config.model.context))

    group_list = groups(lower(config, windows(config.data.split, config.data.split_seed)) for config in sweep)
    return [plan.choose(len(group.trials), width) for group in group_list], group_list, data


def _take(event: Event, results: Results) -> None:
    if isinstance(event, Evaluated):
        results.curves.append(Curve(event.trial, event.step, **event.metrics))
    elif isinstance(event, Ended):
        size = sum(math.prod(x.shape) for x in jax.tree.leaves(event.params))
        status, seed, values = event.status.name.lower(), results.seed(event.trial), results.values(event.trial)
        results.rows.append(Row(event.trial, status, seed, values, size, event.steps, event.best_step, **event.losses))


def _trained(sweep: Sweep, corpus: Corpus, state: Callable[[int, Any], Any], trial: int) -> Trained:
    config = override(sweep.base, sweep.points[trial])
    return trained_of(trial, config, corpus.vocabulary, max(map(len, corpus.names)), functools.partial(state, trial))


def trained_of(trial: int, config: Config, vocabulary: Vocabulary, longest: int, state: Callable[[Any], Any]) -> Trained:
    """A trained trial whose state comes from `state(shape of params and stats)`."""
    task: Task = next_character(len(vocabulary))
    shape = jax.eval_shape(lambda: task.init(config, trials.stream(0, trials.Stream.START)))
    params, stats = state(shape)
    return Trained(trial, config, vocabulary, longest, params, stats)


def describe(sweep: Sweep, corpus: Corpus, plans: list[Plan], name: str) -> dict[str, Any]:
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
        "plan": [dataclasses.asdict(p) for p in plans],
        "programs": len(plans),
    }


class Folder:
    """A run's folder: its files, written so that each is whole and they agree."""

    def __init__(self, path: Path, *, resume: bool, overwrite: bool) -> None:
        self.path, self._overwrite = path, overwrite
        self.store = Store(path / CHECKPOINTS)
        self._saved_at = time.monotonic()
        self._curves = 0  # evaluations that are in metrics.csv
        check_out(path, resume=resume, overwrite=overwrite)

    def open(self, facts: dict[str, Any], results: Results) -> list[Plan]:
        """Makes the folder or takes up the run in it; returns the plans to use (a resumed run keeps its own)."""
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
            write(self.path / CONFIG, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        if self.store.load():
            self._resume(results)
        elif self.store.orphans():
            raise UserError(
                f"{str(self.store.folder)!r} has lost its manifest, so its trials cannot be told; start again with --overwrite"
            )
        else:
            write(self.path / METRICS, table([CURVE_HEAD]))
            write(self.path / RESULTS, results.results_csv())
        return [plan.fit(Plan(**p)) for p in facts["plan"]]

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

    def position(self, pool_shape: Callable[[int], Any]) -> Position | None:
        """Where the run stands; None at its start."""
        manifest = self.store.manifest
        if not manifest["saves"]:
            return None
        group = manifest["group"]
        pool = self.store.lanes(pool_shape(group)) if manifest["lanes"] else None
        return Position(group, manifest["taken"], tuple(manifest["in_lanes"]), pool)

    def save(self, position: Position, results: Results, ended: dict[int, Any], now: bool) -> bool:
        """Saves if it is time or `now`; says whether it did."""
        if not now and time.monotonic() - self._saved_at < SAVE_EVERY:
            return False
        with open(self.path / METRICS, "a", encoding="utf-8", newline="") as file:
            file.write(curve_csv(results.curves[self._curves :]))
            size = file.tell()
        self._curves = len(results.curves)
        progress = {
            "group": position.group,
            "taken": position.taken,
            "in_lanes": position.lanes,
            "metrics": size,
            "rows": [dataclasses.asdict(row) for row in results.rows],
        }
        self.store.save(position.pool, ended, progress)
        write(self.path / RESULTS, results.results_csv())
        self._saved_at = time.monotonic()
        return True


def check_out(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuses a folder that may not be written to.

    Raises:
      UserError: if it holds a run without `resume` or `overwrite`, or is none of ours.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{str(path)!r} is not a folder; give another one with --out")
    if "[" in str(path) or "]" in str(path):  # orbax takes them for a pattern and writes elsewhere
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


def stored_sweep(path: str | Path) -> Sweep:
    """The sweep that a run's folder holds."""
    facts = read_config(Path(path))
    return Sweep(override(Config(), facts["base"]), tuple(facts["sweep"]["points"]))


def load_results(path: str | Path) -> Results:
    """What a run's folder holds, without its corpus.

    Raises:
      UserError: if there is no run, or nothing has been saved yet.
    """
    path = Path(path)
    facts = read_config(path)
    store = Store(path / CHECKPOINTS)
    if not store.load():
        raise UserError(f"{str(path)!r} holds a run that has saved nothing yet; go on with it by --resume")
    rows = [Row(**row) for row in store.manifest["rows"]]
    sweep = stored_sweep(path)

    def trained(trial: int) -> Trained:
        if trial >= len(sweep) or trial < 0:
            raise UserError(f"trial {trial} is not of this run; it has trials 0 to {len(sweep) - 1}")
        config = validate(override(sweep.base, sweep.points[trial]))
        corpus = facts["corpus"]
        vocabulary = Vocabulary(corpus["characters"])
        return trained_of(trial, config, vocabulary, corpus["longest"], lambda shape: store.trial(trial, shape))

    return Results(sweep, rows, read_curves(path, store.manifest["metrics"]), trained, facts["programs"], str(path))


def load(path: str | Path, trial: int | str = "best") -> Trained:
    """A trained trial of a run's folder, ready for `sample`.

    Args:
      path: the run's folder.
      trial: its number, or "best" for the lowest validation loss.

    Raises:
      UserError: if there is no such run or trial.
    """
    results = load_results(path)
    if trial == "best":
        return results.best()
    try:
        return results.trained(int(trial))
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"trial is {trial!r}, expected a number or best") from None


def run_corpus(path: str | Path) -> Corpus:
    """The corpus that a run was trained on, read again.

    Raises:
      UserError: if the file has moved or changed.
    """
    facts = read_config(Path(path))["corpus"]
    corpus = load_corpus(facts["path"], facts["column"])
    if corpus.sha256 != facts["sha256"]:
        raise UserError(f"{facts['path']!r} has changed since the run; restore it")
    return corpus
