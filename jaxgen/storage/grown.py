"""A run that is gone on with by a command for more trials than it has: what is trained stays, and the new ones come behind."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgen.config import by_budget
from jaxgen.fields import CHAIN, UserError, flatten, override, quoted, shortened
from jaxgen.judge.results import Scalar, named_value
from jaxgen.search.sweep import Sweep
from jaxgen.storage.facts import CONFIG, STEPS, read_config, stages_of
from jaxgen.storage.manifest import RESUMED

BUDGET = (STEPS, "train.eval_every", "optimizer.schedule", "optimizer.warmup")  # what `by_budget` reads
SHOWN = 6  # values that a message names
Values = tuple[Scalar, ...]


def grown(path: Path, sweep: Sweep) -> Sweep:
    """The sweep of the run that a folder holds, with those trials of another one behind that it has not.

    The trials keep their numbers, and so the order in which they are trained. What a trial computes depends on its config and
    its seed, so that the new ones come to what they would have come to in the larger sweep.

    Raises:
      UserError: if the run has a trial that the other sweep has not: the message names the key, and both values.
    """
    if not (path / CONFIG).exists():
        return sweep
    facts = read_config(path, RESUMED)
    there: Mapping[str, Any] = facts["base"]
    here = flatten(sweep.base) | {CHAIN: named_value(sweep.base.optimizer.chain)}
    if there.keys() - {CHAIN} != here.keys() - {CHAIN}:
        return sweep  # of another task, which opening the folder refuses
    points: Sequence[Mapping[str, Any]] = facts["sweep"]["points"]
    varied = [*facts["sweep"]["keys"], *sweep.keys]
    more_steps = STEPS not in varied and here[STEPS] > there[STEPS]
    if more_steps:
        _check_longer(path, sweep, points, there)
        there = {**there, STEPS: here[STEPS]}
    keys = list(dict.fromkeys([*varied, *(key for key in here if here[key] != there.get(key))]))
    old = [tuple(point.get(key, there.get(key)) for key in keys) for point in points]
    new = [tuple(named_value(point.get(key, here[key])) for key in keys) for point in sweep.points]
    if missing := Counter(old) - Counter(new):
        raise UserError(f"{str(path)!r} holds a run of {_difference(keys, list(missing), old, new)}")
    objects = dict(zip(new, sweep.points, strict=True))
    kept = [
        _only(point, dict(zip(keys, values, strict=True)), objects[values]) for point, values in zip(points, old, strict=True)
    ]
    left, more = Counter(new) - Counter(old), []
    for values, point in zip(new, sweep.points, strict=True):
        if left[values] > 0:
            left[values] -= 1
            more.append({**dict(zip(keys, values, strict=True)), **point})
    base = override(sweep.base, {key: there[key] for key in keys if key in there and key != CHAIN})
    stages, longer = stages_of(facts["sweep"])
    stages, longer = (*stages, *((len(points),) if more else ())), (*longer, *((len(points),) if more_steps else ()))
    return dataclasses.replace(sweep, base=base, points=(*kept, *more), stages=stages, longer=longer)


def _check_longer(path: Path, sweep: Sweep, points: Sequence[Mapping[str, Any]], there: Mapping[str, Any]) -> None:
    """Refuses more steps for a run of which some trial would have been another one with them from its first steps on.

    Raises:
      UserError: then.
    """
    base = override(sweep.base, {key: there[key] for key in BUDGET})
    for trial, point in enumerate(points):
        config = override(base, {key: value for key, value in point.items() if key in BUDGET})
        if why := by_budget(config):
            raise UserError(
                f"{str(path)!r} holds a run of {STEPS} {there[STEPS]}, and here it is {sweep.base.train.steps}; "
                f"its trial {trial} cannot go on: {why}; give another --out, or --overwrite"
            )


def _only(point: Mapping[str, Any], values: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Any]:
    """A point of a run's folder, with the Python objects that it names."""
    return {key: here.get(key, values[key]) for key in point}


def _difference(keys: Sequence[str], missing: Sequence[Values], old: Sequence[Values], new: Sequence[Values]) -> str:
    """In what a run has trials that a command has not."""
    told = []
    for place, key in enumerate(keys):
        then, now = (list(dict.fromkeys(values[place] for values in some)) for some in (old, new))
        lacking = [value for value in then if value not in now]
        if lacking:
            told.append(f"{key} {_list(lacking)}, and here it is {_list(now)}")
    if not told:
        told = [_list([", ".join(f"{key} {value}" for key, value in zip(keys, values, strict=True)) for values in missing])]
        told[0] = f"trials that the command has not ({told[0]})"
    more = "by --resume it takes more seeds, values, points and steps, and keeps what it has"
    advice = f"{more}: give what it was started with and more"
    return f"{'; '.join(told[:SHOWN])}; {advice}, --overwrite, or another --out"


def _list(values: Sequence[Any]) -> str:
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return (
        ", ".join(
            quoted(value) if isinstance(value, str) and " " not in value else shortened(str(value)) for value in values[:SHOWN]
        )
        + more
    )
