"""One trained trial as a small folder that can be taken anywhere: numbers as safetensors, the rest as JSON, nothing pickled.

And a card that says what it is."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from jaxgen.config import resolve, validate
from jaxgen.fields import CHAIN, UserError, flatten, override
from jaxgen.judge.results import Trained, named_value, together
from jaxgen.storage.arrays import named, named_shapes, nested, unnamed
from jaxgen.storage.card import CARD, card, card_of_mixture, portable
from jaxgen.storage.facts import task_facts
from jaxgen.storage.files import CannotWrite, checked, read, settle, unfinished, write, writing
from jaxgen.storage.rows import row_of
from jaxgen.tasks import BUILT_IN, matching, stored
from jaxgen.tasks.base import Task

FORMAT = 2
READABLE = (1, FORMAT)  # 1: of names alone
FACTS, WEIGHTS, MIXTURE = "trial.json", "weights.safetensors", "mixture.json"
METADATA = {"format": "jaxgen", "framework": "jax"}


def export(trained: Trained | Sequence[Trained], out: str | Path) -> Path:
    """Writes a trial into a new folder, from which `jaxgen.load` reads it; returns the folder, whole or not there at all.

    Several trials make a folder of folders, which `sample` and `score` read as their mixture.

    Raises:
      UserError: if there is such a folder and it is not empty, it cannot be written, or the task has no mixtures.

    Examples:
      >>> folder = jaxgen.export(trained, "small")
      >>> sorted(path.name for path in folder.iterdir())
      ['README.md', 'trial.json', 'weights.safetensors']
      >>> elsewhere = jaxgen.load("small")  # without the corpus
    """
    out, members = Path(out), together(trained)
    if not out.name:
        raise UserError(f"{str(out)!r} is no name of a folder; give the name of a new one")
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise UserError(f"{str(out)!r} is there already; give the name of a new folder")
    numbers = [one.trial for one in members]
    if not members or len(set(numbers)) < len(numbers):
        raise UserError(f"the trials {numbers} are to be exported; expected one, or several different ones")
    if len(members) > 1 and type(members[0].task).sample is Task.sample:
        raise UserError(f"the task {members[0].task.name!r} has no mixtures; export one trial")
    made = mine = unfinished(out)
    try:
        with writing(out):
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(parents=True)
            if len(members) == 1:
                _fill(made, members[0])
            else:
                for one in members:
                    (made / place(one.trial)).mkdir()
                    _fill(made / place(one.trial), one)
                write(made / MIXTURE, json.dumps({"format": FORMAT, "trials": numbers}) + "\n")
                write(made / CARD, card_of_mixture(members))
            os.replace(made, out)
            mine = out
            settle(out.absolute().parent)
    except CannotWrite as error:
        shutil.rmtree(mine, ignore_errors=True)
        if mine == made and (is_exported(out) or is_mixture(out)):  # by another process, in between
            raise UserError(f"{str(out)!r} is there already; give the name of a new folder") from error
        raise UserError(
            f"cannot write {str(out)!r} ({error.why}); nothing was written: make room, or name another folder"
        ) from error
    return out


def _fill(folder: Path, trained: Trained) -> None:
    """Writes a trial's files into a folder."""
    chain, rows = trained.config.optimizer.chain, trained.task.remembered
    config = flatten(trained.config) | ({} if chain is None else {CHAIN: named_value(chain)})
    said, row = task_facts(trained.task), trained.row
    facts = {
        "format": FORMAT,
        "jaxgen": version("jaxgen"),
        "trial": trained.trial,
        "config": placeless(config),
        "filled_in": filled_in(trained.config),
        "task": said | {"place": portable(said["place"]), "rows": dict(rows)},
        "row": None if row is None else dataclasses.asdict(row) | {"values": placeless(row.values)},
        "data": placeless(trained.data),
    }
    arrays = named({"params": trained.params, "stats": trained.stats})
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write(folder / WEIGHTS, with_metadata(safetensors.numpy.save(whole), METADATA | {"task": trained.task.name}))
    write(folder / FACTS, json.dumps(facts, indent=1) + "\n")
    write(folder / CARD, card(trained))


def filled_in(config: Any) -> dict[str, Any]:
    """What a config leaves open, by what it is then: an optimizer's coefficients."""
    given, used = flatten(config), flatten(resolve(config))
    return {key: value for key, value in used.items() if value is not None and given.get(key) is None}


def place(trial: int) -> str:
    """The folder of a trial in that of a mixture."""
    return f"trial-{trial}"


def is_mixture(path: Path) -> bool:
    """Whether a folder is that of several exported trials."""
    return (path / MIXTURE).is_file()


def mixed(path: Path) -> list[int]:
    """The trials of a folder of several.

    Raises:
      UserError: if it is damaged.
    """
    try:
        facts = checked(json.loads(read(path / MIXTURE)), dict[str, Any])
        numbers = checked(facts["trials"], list[int])
        if facts["format"] not in READABLE or not numbers:
            raise ValueError(f"format {facts['format']!r}, trials {numbers}")
    except (FileNotFoundError, KeyError, ValueError, RecursionError) as error:
        raise UserError(f"{str(path)!r} holds no whole mixture ({error}); export it again") from None
    return numbers


def load_mixed(path: Path, trials: str, task: Task | None = None) -> list[Trained]:
    """Trials of a folder of several: all of them, or those that are asked for (3,5, or best-2: the first two).

    Raises:
      UserError: if one is not there or not whole.
    """
    numbers = mixed(path)
    first = trials.removeprefix("best-")
    wanted = numbers
    if first != trials and first.isdecimal() and 1 <= int(first) <= len(numbers):
        wanted = numbers[: int(first)]
    elif trials != "best":
        wanted = [number for text in trials.split(",") for number in numbers if text == str(number)]
        if len(wanted) != len(trials.split(",")):
            raise UserError(f"{str(path)!r} holds the trials {', '.join(map(str, numbers))}, and not {trials}")
    return [load_exported(path / place(number), task) for number in wanted]


def placeless(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values without the folders of this machine, which are nothing to who is given them."""
    return {key: portable(value) for key, value in values.items()}


def with_metadata(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """A safetensors file with what is said of it, in this order: the library's own order is another one each time."""
    size = int.from_bytes(content[:8], "little")
    head = json.dumps({"__metadata__": metadata, **json.loads(content[8 : 8 + size])}, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)  # so that numbers lie where processors read them best
    return len(head).to_bytes(8, "little") + head + content[8 + size :]


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
        row = None if facts.get("row") is None else row_of(facts["row"])  # neither was stored by every version
        data = checked(facts.get("data", {}), dict[str, Any])
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
        return Trained(trial, config, task, *task.restored(config, trial, state), row=row, data=data)
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
