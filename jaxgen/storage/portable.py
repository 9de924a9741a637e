"""One trained trial as a small folder that can be taken anywhere: numbers as safetensors, the rest as JSON, nothing pickled."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from jaxgen.config import validate
from jaxgen.fields import CHAIN, UserError, flatten, override
from jaxgen.judge.results import Trained, named_value
from jaxgen.storage.arrays import named, named_shapes, nested, unnamed
from jaxgen.storage.facts import task_facts
from jaxgen.storage.files import CannotWrite, checked, read, settle, unfinished, write, writing
from jaxgen.tasks import BUILT_IN, matching, stored
from jaxgen.tasks.base import Task

FORMAT = 2
READABLE = (1, FORMAT)  # 1: of names alone
FACTS, WEIGHTS = "trial.json", "weights.safetensors"


def export(trained: Trained, out: str | Path) -> Path:
    """Writes a trial into a new folder, from which `jaxgen.load` reads it; returns the folder, whole or not there at all.

    Raises:
      UserError: if there is such a folder and it is not empty, or it cannot be written.

    Examples:
      >>> folder = jaxgen.export(trained, "small")
      >>> sorted(path.name for path in folder.iterdir())
      ['trial.json', 'weights.safetensors']
      >>> elsewhere = jaxgen.load("small")  # without the corpus
    """
    out = Path(out)
    if not out.name:
        raise UserError(f"{str(out)!r} is no name of a folder; give the name of a new one")
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise UserError(f"{str(out)!r} is there already; give the name of a new folder")
    chain, rows = trained.config.optimizer.chain, trained.task.remembered
    facts = {
        "format": FORMAT,
        "jaxgen": version("jaxgen"),
        "trial": trained.trial,
        "config": flatten(trained.config) | ({} if chain is None else {CHAIN: named_value(chain)}),
        "task": task_facts(trained.task) | {"rows": dict(rows)},
    }
    arrays = named({"params": trained.params, "stats": trained.stats})
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    made = mine = unfinished(out)
    try:
        with writing(out):
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(parents=True)
            write(made / WEIGHTS, safetensors.numpy.save(whole))
            write(made / FACTS, json.dumps(facts, indent=1) + "\n")
            os.replace(made, out)
            mine = out
            settle(out.absolute().parent)
    except CannotWrite as error:
        shutil.rmtree(mine, ignore_errors=True)
        if mine == made and is_exported(out):  # by another process, in between
            raise UserError(f"{str(out)!r} is there already; give the name of a new folder") from error
        raise UserError(
            f"cannot write {str(out)!r} ({error.why}); nothing was written: make room, or name another folder"
        ) from error
    return out


class Unfit(Exception):
    """Says where arrays are not those of a config."""


def is_exported(path: Path) -> bool:
    """Whether a folder is that of an exported trial."""
    return (path / FACTS).is_file()


def load_exported(path: Path, task: Task | None = None) -> Trained:
    """The trial that `export` wrote.

    Raises:
      UserError: if the folder is damaged, or of another version of the format.
    """

    def damaged(why: object) -> UserError:
        return UserError(f"{str(path)!r} holds no whole trial ({why}); export it again")

    try:
        facts = checked(json.loads(read(path / FACTS)), dict[str, Any])
        if facts.get("format") not in READABLE:
            raise UserError(
                f"{str(path)!r} is of format {facts.get('format')!r}, expected {FORMAT}; use the jaxgen that wrote it"
            )
        values = checked(facts["config"], dict[str, Any])
        checked(values.get(CHAIN, ""), str)
        said = checked(facts["task"] if facts["format"] > 1 else _of_names(facts), dict[str, Any])
        checked((said["name"], said["place"]), tuple[str, str])
        rows = checked(said["rows"], dict[str, Any])
        task = stored(said) if task is None else matching(task, said)
        try:
            config = validate(override(task.Config(), values))
        except UserError as error:
            raise damaged(error) from None
        trial = checked(facts["trial"], int)
        arrays = safetensors.numpy.load(read(path / WEIGHTS))
    except UserError:
        raise
    except (FileNotFoundError, KeyError, ValueError, OverflowError, RecursionError, SafetensorError) as error:
        raise damaged(error) from None
    try:
        task = task.reopened(rows)
    except UserError as error:
        raise damaged(error) from None
    if trial < 0:
        raise damaged(f"trial {trial}")
    rotten = next((name for name, x in arrays.items() if x.dtype.kind == "f" and not np.isfinite(x).all()), None)
    if rotten is not None:
        raise damaged(f"{rotten} is not finite")
    arrays = {name.replace("batch_stats", "stats", 1) if facts["format"] == 1 else name: x for name, x in arrays.items()}

    def state(shape: Any) -> Any:
        if shape is None:
            found = nested(arrays)
            strange = sorted(found.keys() - {"params", "stats"})
            if strange:
                raise Unfit(f"at {strange[0]}")
            return found.get("params", {}), found.get("stats", {})
        wanted = named_shapes({"params": shape[0], "stats": shape[1]})
        off = next((name for name in sorted(wanted.keys() | arrays.keys()) if not _fits(wanted, arrays, name)), None)
        if off is not None:
            raise Unfit(f"at {off}")
        found = unnamed({"params": shape[0], "stats": shape[1]}, arrays)
        return found["params"], found["stats"]

    try:
        return Trained(trial, config, task, *task.restored(config, trial, state))
    except Exception as error:  # of what a file says, or of a task that was edited since, anything may come
        why = error if isinstance(error, Unfit) else f"({error})"
        raise UserError(f"{str(path / WEIGHTS)!r} does not fit its config {why}; export the trial again") from None


def _of_names(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The task of an export from before there were others than names."""
    characters, longest = checked(facts["characters"], str), checked(facts["longest"], int)
    rows = {"characters": characters, "longest": longest}
    return {"name": "names", "place": BUILT_IN, "rows": rows}


def _fits(wanted: Mapping[str, Any], arrays: Mapping[str, Any], name: str) -> bool:
    if name not in wanted or name not in arrays:
        return False
    return wanted[name] == (arrays[name].shape, arrays[name].dtype)
