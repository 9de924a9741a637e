"""One trained trial as a small folder that can be taken anywhere: numbers as safetensors, the rest as JSON, nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from jaxgen import models
from jaxgen.checkpoint import nested
from jaxgen.config import Config, UserError, flatten, override, validate
from jaxgen.corpus import Vocabulary
from jaxgen.files import checked, read, write, writing
from jaxgen.models.ngram import fits
from jaxgen.objective import next_character
from jaxgen.results import Trained
from jaxgen.trial import Stream, stream

FORMAT = 1
FACTS, WEIGHTS = "trial.json", "weights.safetensors"


def export(trained: Trained, out: str | Path) -> Path:
    """Writes a trial into a new folder, from which `jaxgen.load` reads it; returns the folder.

    Raises:
      UserError: if there is such a folder and it is not empty, or it cannot be written.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{str(out)!r} is there already; give the name of a new folder")
    facts = {
        "format": FORMAT,
        "jaxgen": version("jaxgen"),
        "trial": trained.trial,
        "config": flatten(trained.config),
        "characters": trained.vocabulary.characters,
        "longest": trained.longest,
    }
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    write(out / WEIGHTS, safetensors.numpy.save(named(trained.params, trained.stats)))
    write(out / FACTS, json.dumps(facts, indent=1) + "\n")  # last: with it the folder is whole
    return out


def named(params: Any, stats: Any) -> dict[str, np.ndarray]:
    """A trial's arrays by their path, such as params.output.linear.kernel."""
    leaves = jax.tree_util.tree_leaves_with_path({"params": params, "batch_stats": stats})
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.ascontiguousarray(jax.device_get(leaf))
        for path, leaf in leaves
    }


def trained_of(trial: int, config: Config, vocabulary: Vocabulary, longest: int, state: Callable[[Any], Any]) -> Trained:
    """A trained trial whose state comes from `state(shape of params and stats)`; of one that counts, from `state(None)`.

    Raises:
      UserError: where what was counted is not of the config's order.
    """
    if models.FAMILIES[config.model.family].trained:
        task = next_character(len(vocabulary))
        shape = jax.eval_shape(lambda: task.init(config, stream(0, Stream.START)))
    else:
        shape = None
    params, stats = state(shape)
    if shape is None and not fits(params, config.model.context):
        raise UserError(f"trial {trial} holds no counts of {config.model.context} characters; train it, or export it, again")
    return Trained(trial, config, vocabulary, longest, params, stats)


def is_exported(path: Path) -> bool:
    """Whether a folder is that of an exported trial."""
    return (path / FACTS).is_file()


def load_exported(path: Path) -> Trained:
    """The trial that `export` wrote.

    Raises:
      UserError: if the folder is damaged, or of another version of the format.
    """
    try:
        facts = checked(json.loads(read(path / FACTS)), dict[str, Any])
        if facts.get("format") != FORMAT:
            raise UserError(
                f"{str(path)!r} is of format {facts.get('format')!r}, expected {FORMAT}; use the jaxgen that wrote it"
            )
        config = validate(override(Config(), checked(facts["config"], dict[str, Any])))
        vocabulary = Vocabulary(checked(facts["characters"], str))
        trial, longest = checked(facts["trial"], int), checked(facts["longest"], int)
        arrays = safetensors.numpy.load(read(path / WEIGHTS))
    except (FileNotFoundError, KeyError, ValueError, SafetensorError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{str(path)!r} holds no whole trial ({error}); export it again") from None

    def state(shape: Any) -> Any:
        if shape is None:
            return nested(arrays).get("params"), {}
        wanted = named(*jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shape))
        off = sorted(
            name
            for name in wanted.keys() | arrays.keys()
            if name not in wanted
            or name not in arrays
            or (wanted[name].shape, wanted[name].dtype) != (arrays[name].shape, arrays[name].dtype)
        )
        if off:
            raise UserError(f"{str(path / WEIGHTS)!r} does not fit its config at {off[0]}; export the trial again")
        leaves, tree = jax.tree.flatten({"params": shape[0], "batch_stats": shape[1]})
        assert len(leaves) == len(wanted)
        found = jax.tree.unflatten(tree, [arrays[name] for name in wanted])
        return found["params"], found["batch_stats"]

    return trained_of(trial, config, vocabulary, longest, state)
