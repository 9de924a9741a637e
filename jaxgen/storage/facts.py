"""A run's `config.json`: what is needed to do the run again, with a SHA-256 of it, and read without trust."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import jax

from jaxgen.config import coefficients
from jaxgen.engine.plan import Plan, Planned
from jaxgen.engine.precision import chosen
from jaxgen.fields import CHAIN, UserError, flatten, quoted
from jaxgen.judge.results import Scalar, named_value
from jaxgen.search.sweep import Question, Sweep
from jaxgen.storage.files import checked, read
from jaxgen.storage.manifest import FORMAT, READABLE
from jaxgen.storage.rows import scalars
from jaxgen.storage.session import Session
from jaxgen.tasks import BUILT_IN
from jaxgen.tasks.base import Task

CONFIG = "config.json"
STEPS = "train.steps"
SECTIONS = "sections"  # among what is said of rows, of all that a sweep reads: the name of our own in the task's words
PACKAGES = ("jaxgen", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class SweepFacts(TypedDict):
    name: str
    text: str
    arms: list[str]
    verdict: str
    names: NotRequired[dict[str, str]]  # since there are any
    keys: list[str]
    stages: NotRequired[list[int]]
    longer: NotRequired[list[int]]  # since format 10
    points: list[Any]  # each a dict[str, Scalar], which is looked at by hand: there may be many
    beside: NotRequired[list[Any]]  # of a part of a run, as points


class TaskFacts(TypedDict):
    name: str
    place: str
    metrics: list[dict[str, Any]]
    rows: dict[str, Any]
    program: str


class PlanFacts(TypedDict):
    lanes: dict[str, int]
    measured: list[dict[str, float]]
    known: NotRequired[bool]  # False: it is no plan, and stands for one


class PartFacts(TypedDict):
    group: int
    trials: list[int]


class Facts(TypedDict):
    """What a run's `config.json` holds, and what of it is relied on."""

    format: int
    flags: list[str]
    sweep: SweepFacts
    base: dict[str, Scalar]
    task: TaskFacts
    versions: dict[str, str]
    devices: list[str]
    precision: NotRequired[str]  # since it is chosen
    plan: list[PlanFacts]
    programs: int
    filled_in: NotRequired[dict[str, dict[str, float]]]
    sessions: NotRequired[list[Session]]
    parts: NotRequired[list[PartFacts]]  # of a run that is trained by parts
    sha256: str


def describe(
    sweep: Sweep, task: Task, programs: int, question: Question, flags: Sequence[str], program: str = ""
) -> dict[str, Any]:
    """What `config.json` holds.

    Args:
      program: tells what a task of one's own computes from what it computed before.
    """
    points, beside = (
        [{key: named_value(value) for key, value in point.items()} for point in some] for some in (sweep.points, sweep.beside)
    )
    chain, asked = sweep.base.optimizer.chain, dataclasses.asdict(question)
    grown = {"stages": [*sweep.stages], "longer": [*sweep.longer]}
    return {
        "format": FORMAT,
        "flags": list(flags),
        "sweep": {**asked, "arms": list(question.arms), "keys": list(sweep.keys), **grown, "points": points}
        | ({"beside": beside} if beside else {}),
        "base": flatten(sweep.base) | ({} if chain is None else {CHAIN: named_value(chain)}),
        "task": task_facts(task) | {"rows": rows_of(task, sweep), "program": program},
        "versions": {package: version(package) for package in PACKAGES},
        "devices": [str(device) for device in jax.local_devices()],
        "precision": chosen(),
        "plan": [],  # of each group, from when it begins
        "programs": programs,
        "filled_in": filled_in(sweep),
        "sessions": [],  # from when something is trained
    }


def filled_in(sweep: Sweep) -> dict[str, dict[str, float]]:
    """Optimizer -> the coefficients that neither the base config nor a trial says, at what they are then.

    A Python object in place of an optimizer has no name here.
    """
    optimizer, key = sweep.base.optimizer, "optimizer.name"
    if optimizer.chain is not None or CHAIN in sweep.keys:
        return {}
    names = dict.fromkeys(str(point.get(key, optimizer.name)) for point in sweep.points)
    return {
        name: {
            f"optimizer.{part}": value
            for part, value in coefficients(name).items()
            if getattr(optimizer, part) is None and f"optimizer.{part}" not in sweep.keys
        }
        for name in names
    }


def rows_of(task: Task, sweep: Sweep) -> dict[str, Any]:
    """What a task says of its rows; where the sweep varies what is read, with a SHA-256 over all of that."""
    facts = task.facts(sweep.base.data)
    if not any(key.startswith("data.") for key in sweep.keys):
        return facts
    sections = dict.fromkeys(config.data for config in sweep)
    if len(sections) < 2:
        return facts
    sums = "".join(task.facts(data)["sha256"] for data in sections)
    return facts | {SECTIONS: hashlib.sha256(sums.encode()).hexdigest()}


def stages_of(sweep: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How the sweep of a run's `config.json` has grown: `Sweep.stages` and `Sweep.longer`."""
    return tuple(sweep.get("stages", ())), tuple(sweep.get("longer", ()))


def said_by_the_task(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Of what `rows_of` says, that which the task itself does."""
    return {name: value for name, value in rows.items() if name != SECTIONS}


def task_facts(task: Task) -> dict[str, Any]:
    """What says which task something is of."""
    metrics = [dataclasses.asdict(metric) for metric in task.metrics]
    return {"name": task.name, "place": task.place, "metrics": metrics}  # the place is for people: nothing imports it


def measured(task: Mapping[str, Any]) -> list[str]:
    """The metrics that `task_facts` tells of, in words; the first one selects.

    Raises:
      TypeError, ValueError, KeyError: where there is none.
    """
    found = [checked((one["name"], one["higher_is_better"]), tuple[str, bool]) for one in task["metrics"]]
    if not found:
        raise ValueError("no metrics")
    return [f"{name} (the higher the better)" if higher else name for name, higher in found]


def of_names(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts of a run or an export from before there were other tasks than names, as those of today."""
    corpus, metric = facts.pop("corpus"), {"name": "loss", "unit": "nats", "per": "a character", "higher_is_better": False}
    rows = {**corpus, "source": facts.pop("source", None)}
    return {**facts, "task": {"name": "names", "place": BUILT_IN, "metrics": [metric], "rows": rows, "program": ""}}


def config_text(facts: Mapping[str, Any]) -> bytes:
    """`config.json`, with the SHA-256 of the rest of it. A path need not be UTF-8: what is not stays as it is."""
    text = json.dumps({**facts, "sha256": _digest(facts)}, indent=1, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "surrogatepass")


def _digest(facts: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in facts.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def stored_plan(planned: Planned) -> dict[str, Any]:
    """A plan as JSON."""
    measured = [dataclasses.asdict(p) | {"seconds": s} for p, s in planned.measured.items() if math.isfinite(s)]
    return {"lanes": dataclasses.asdict(planned.plan), "measured": measured} | ({} if planned.known else {"known": False})


def planned_of(stored: Mapping[str, Any]) -> Planned:
    """The plan that `stored_plan` made JSON of.

    Raises:
      TypeError, ValueError: where that is none.
    """
    plan = Plan(**stored["lanes"])
    if min(plan.devices, plan.width, plan.chunk) < 1 or plan.width % (plan.devices * plan.chunk):
        raise ValueError(plan)
    measured = {}
    for entry in stored["measured"]:
        lanes = {key: value for key, value in entry.items() if key != "seconds"}
        measured[Plan(**lanes)] = entry.get("seconds", math.nan)
    return Planned(plan, measured, known=stored.get("known", True))


def _inside(path: Path) -> list[str]:
    """The first runs that lie in a folder, as an error shows them."""
    try:
        found = sorted(one.parent for one in path.glob(f"*/{CONFIG}"))
    except OSError:
        return []
    return [quoted(str(one)) for one in found[:10]] + ["..."] * (len(found) > 10)


def check_ours(path: Path) -> dict[str, Any]:
    """What a folder's `config.json` says, of whatever format.

    Raises:
      UserError: if the folder holds no run.
    """
    if path.is_file():
        raise UserError(f"{str(path)!r} is a file, and a run is a folder; give the one that --out named")
    try:
        facts = json.loads(read(path / CONFIG))
    except (FileNotFoundError, NotADirectoryError):
        inside = _inside(path)
        instead = f"give one of those in it: {', '.join(inside)}" if inside else "give the folder that --out named"
        raise UserError(f"{str(path)!r} holds no run ({CONFIG} is not there); {instead}") from None
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or not {"format", "sweep"} <= facts.keys() or not {"task", "corpus"} & facts.keys():
        raise UserError(f"{str(path / CONFIG)!r} is damaged or not of a run; give another folder")
    return facts


def read_config(path: Path, formats: Collection[int] = READABLE) -> dict[str, Any]:
    """A run's `config.json`, of one of these formats.

    Raises:
      UserError: if the folder holds no run, one of another format, or a damaged one.
    """
    facts = check_ours(path)
    if facts["format"] not in formats:
        raise UserError(
            f"{str(path)!r} holds a run of format {facts['format']!r}, expected {FORMAT}; "
            "use the version of jaxgen that wrote it"
        )
    damaged = f"{str(path / CONFIG)!r} is damaged: it is not as it was written; restore it, or give another folder"
    digest = _digest(facts)
    try:
        facts = of_names(facts) if "corpus" in facts else facts
        checked(facts, Facts)
        (stages, longer), points = ([*part] for part in stages_of(facts["sweep"])), facts["sweep"]["points"]
        beside = facts["sweep"].get("beside", [])
        if not all(map(scalars, (*points, *beside))) or sorted({0, *stages, len(points)}) != [0, *stages, len(points)]:
            raise ValueError("points")
        dealt = sorted(itertools.chain(*(part["trials"] for part in facts.get("parts", ()))))
        if dealt != [*range(len(dealt))] or len(dealt) > len(points):  # it may have been made longer since
            raise ValueError("parts")
        if longer != sorted(longer) or not {*longer} <= {*stages, len(points)}:
            raise ValueError("longer")
        if not isinstance(facts["task"]["rows"]["sha256"], str):
            raise ValueError("sha256")
        measured(facts["task"])
        for stored in facts["plan"]:
            planned_of(stored)
    except (ValueError, TypeError, KeyError):
        raise UserError(damaged) from None
    if facts["sha256"] != digest:
        raise UserError(damaged)
    return facts
