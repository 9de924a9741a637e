"""The config that a command starts from: a task's own, another run's or a file's, a preset's, and then what its flags say."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from jaxgen import given
from jaxgen.fields import UserError, flatten, override, quoted
from jaxgen.tasks.base import Task

SHORT = {"data": "data.path", "column": "data.column"}  # flags that stand for a config's key


def base_of(flags: Any, task: Task, named: Collection[str]) -> Any:
    """The base config of a command line.

    Args:
      flags: with `config`, which holds the values of the flags of a config's keys; `start`, `preset`, `data` and `column`.
      named: the config's keys that the command line gives: all others are as the preset has them, or else what is started from.

    Raises:
      UserError: for a start or a preset that is not there, a value that is not allowed, a short flag and its long form that say
        different things, or a key that the task does not have.
    """
    config = task.Config() if flags.start is None else started(flags.start, task)
    if flags.preset is not None:
        config = override(config, preset(flags.preset, task))
    typed = flatten(flags.config)
    config = override(config, {key: typed[key] for key in named})
    defaults = flatten(task.Config())
    for name, key in SHORT.items():
        short = getattr(flags, name)
        if short is None:
            continue
        if key not in typed:
            raise UserError(f"--{name} is short for --{key}, which this task does not have; see --help for what it reads")
        if typed[key] not in (defaults[key], short):
            raise UserError(f"--{name} is {short!r}, but its long form says {typed[key]!r}; give one of them")
        config = override(config, {key: short})
    return config


def preset(name: str, task: Task) -> Mapping[str, Any]:
    """The values of a task's preset.

    Raises:
      UserError: if there is none of that name.
    """
    if name not in task.presets:
        known = "; ".join(f"{known}: {one.text}" for known, one in task.presets.items())
        what = f"expected one of these: {known}" if known else f"the task {task.name!r} has none; leave --preset out"
        raise UserError(f"there is no preset {quoted(name)}; {what}")
    return task.presets[name].values


def started(where: str, task: Task) -> Any:
    """The config of a run (of its best setting, or its base config where no trial has ended), of an export, or in a file.

    A file is JSON, or TOML by its ending: keys with dots, or a section for each part.

    Raises:
      UserError: if there is none, it is of another task, or it says what a config has not.
    """
    from jaxgen.reopen import load_results  # heavy, and seldom asked for
    from jaxgen.storage.claim import CONFIG
    from jaxgen.storage.portable import is_exported, load_exported

    path = Path(where)
    path = path.parent if path.name == CONFIG else path
    if not path.exists():
        raise UserError(f"--config is {where!r}, which is not there; give a run's folder, an export, or a JSON or TOML file")
    if not path.is_dir():
        return override(task.Config(), read_values(path))
    if is_exported(path):
        return load_exported(path, task).config
    results = load_results(path, task)
    best = next((arm for arm in results.leaderboard() if arm.sound), None)
    values = {} if best is None else results.sweep.points[best.rows[0].trial]
    return override(results.sweep.base, {key: value for key, value in values.items() if key != "seed"})


def read_values(path: Path) -> dict[str, Any]:
    """The values of a config's keys that a file holds.

    Raises:
      UserError: if it is no JSON or TOML, or nothing by name.
    """
    kind = "TOML" if path.suffix.lower() == ".toml" else "JSON"
    text = given.text(path, given.read(path))
    try:
        found = tomllib.loads(text) if kind == "TOML" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{str(path)!r} is no {kind} ({str(error).splitlines()[0]}); mend it, or give a run's folder") from None
    if not isinstance(found, dict):
        raise UserError(f'{str(path)!r} holds no keys by name; expected a {kind} object such as {{"train.steps": 2000}}')
    return _dotted(found)


def _dotted(found: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in found.items():
        values |= _dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return values
