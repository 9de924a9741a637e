"""One trained trial as a small folder that can be taken anywhere: numbers as safetensors, the rest as JSON, nothing pickled."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from jaxgen import models
from jaxgen.checkpoint import named, named_shapes, nested, unnamed
from jaxgen.config import Config, UserError, flatten, override, validate
from jaxgen.corpus import Vocabulary
from jaxgen.files import CannotWrite, checked, read, settle, write, writing
from jaxgen.models.ngram import fits
from jaxgen.models.on_counts import COUNTS
from jaxgen.ngram import Order
from jaxgen.objective import next_character
from jaxgen.results import Trained, named_value
from jaxgen.trial import Stream, stream

FORMAT = 1
FACTS, WEIGHTS = "trial.json", "weights.safetensors"
LONGEST = 10_000_000  # characters of a corpus's longest name


def export(trained: Trained, out: str | Path) -> Path:
    """Writes a trial into a new folder, from which `jaxgen.load` reads it; returns the folder, whole or not there at all.

    Raises:
      UserError: if there is such a folder and it is not empty, or it cannot be written.
    """
    out = Path(out)
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise UserError(f"{str(out)!r} is there already; give the name of a new folder")
    chain = trained.config.optimizer.chain
    facts = {
        "format": FORMAT,
        "jaxgen": version("jaxgen"),
        "trial": trained.trial,
        "config": flatten(trained.config) | ({} if chain is None else {"optimizer.chain": named_value(chain)}),
        "characters": trained.vocabulary.characters,
        "longest": trained.longest,
    }
    arrays = named({"params": trained.params, "batch_stats": trained.stats})
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    made = out.with_name(out.name + ".new")
    try:
        with writing(out):
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(parents=True)
            write(made / WEIGHTS, safetensors.numpy.save(whole))
            write(made / FACTS, json.dumps(facts, indent=1) + "\n")
            os.replace(made, out)
            settle(out.absolute().parent)
    except CannotWrite as error:
        for folder in (made, out):  # which was empty or not there
            shutil.rmtree(folder, ignore_errors=True)
        raise UserError(
            f"cannot write {str(out)!r} ({error.why}); nothing was written: make room, or name another folder"
        ) from error
    return out


def trained_of(trial: int, config: Config, vocabulary: Vocabulary, longest: int, state: Callable[[Any], Any]) -> Trained:
    """A trained trial whose state comes from `state(shape of params and stats)`; of one that counts, from `state(None)`.

    Raises:
      UserError: where what was counted, or what stands on it, is not of the config's order and shapes.
    """
    model = config.model
    shape = network_shape(config, vocabulary) if models.FAMILIES[model.family].trained else None
    params, stats = state(None if model.counts else shape)
    if shape is None or model.counts:
        tables, order = (params, model.context) if shape is None else (stats.get(COUNTS), model.counts)
        network = None if shape is None else (params, {name: part for name, part in stats.items() if name != COUNTS})
        if not fits(tables, order, len(vocabulary)) or named_shapes(network) != named_shapes(shape):
            raise UserError(f"trial {trial} holds no counts of {order} characters; train it, or export it, again")
    return Trained(trial, config, vocabulary, longest, params, stats)


def network_shape(config: Config, vocabulary: Vocabulary) -> Any:
    """The shapes of a network's params and stats."""
    task = next_character(len(vocabulary))
    return jax.eval_shape(lambda: task.init(config, stream(0, Stream.START)))


def is_exported(path: Path) -> bool:
    """Whether a folder is that of an exported trial."""
    return (path / FACTS).is_file()


def load_exported(path: Path) -> Trained:
    """The trial that `export` wrote.

    Raises:
      UserError: if the folder is damaged, or of another version of the format.
    """

    def damaged(why: object) -> UserError:
        return UserError(f"{str(path)!r} holds no whole trial ({why}); export it again")

    try:
        facts = checked(json.loads(read(path / FACTS)), dict[str, Any])
        if facts.get("format") != FORMAT:
            raise UserError(
                f"{str(path)!r} is of format {facts.get('format')!r}, expected {FORMAT}; use the jaxgen that wrote it"
            )
        values = checked(facts["config"], dict[str, Any])
        checked(values.get("optimizer.chain", ""), str)
        config = validate(override(Config(), values))
        vocabulary = Vocabulary(checked(facts["characters"], str))
        trial, longest = checked(facts["trial"], int), checked(facts["longest"], int)
        arrays = safetensors.numpy.load(read(path / WEIGHTS))
    except UserError:
        raise
    except (FileNotFoundError, KeyError, ValueError, OverflowError, RecursionError, SafetensorError) as error:
        raise damaged(error) from None
    characters = vocabulary.characters
    if list(characters) != sorted(set(characters)) or not set(characters).isdisjoint("\r\n"):
        raise damaged("its characters are not different ones in order")
    if trial < 0 or not 1 <= longest <= LONGEST:
        raise damaged(f"trial {trial}, longest {longest}")
    rotten = next((name for name, x in arrays.items() if x.dtype.kind == "f" and not np.isfinite(x).all()), None)
    if rotten is not None:
        raise damaged(f"{rotten} is not finite")

    def state(shape: Any) -> Any:
        wanted = _counted(config, vocabulary) if shape is None else _named(shape)
        off = next((name for name in sorted(wanted.keys() | arrays.keys()) if not _fits(wanted, arrays, name)), None)
        if off is not None:
            raise UserError(f"{str(path / WEIGHTS)!r} does not fit its config at {off}; export the trial again")
        if shape is None:
            found = nested(arrays)
            return found["params"], found.get("batch_stats", {})
        found = unnamed({"params": shape[0], "batch_stats": shape[1]}, arrays)
        return found["params"], found["batch_stats"]

    return trained_of(trial, config, vocabulary, longest, state)


def _named(shape: tuple[Any, Any]) -> dict[str, Any]:
    return named_shapes({"params": shape[0], "batch_stats": shape[1]})


def _counted(config: Config, vocabulary: Vocabulary) -> dict[str, Any]:
    """The names of what an ngram, or a network on counts, has; None for counts, whose shapes depend on what was counted."""
    model = config.model
    place, highest = (f"batch_stats.{COUNTS}", model.counts) if model.counts else ("params", model.context)
    tables = {f"{place}.order_{length}.{part}": None for length in range(highest + 1) for part in Order._fields}
    return tables | (_named(network_shape(config, vocabulary)) if model.counts else {})


def _fits(wanted: Mapping[str, Any], arrays: Mapping[str, Any], name: str) -> bool:
    if name not in wanted or name not in arrays:
        return False
    return wanted[name] is None or wanted[name] == (arrays[name].shape, arrays[name].dtype)
