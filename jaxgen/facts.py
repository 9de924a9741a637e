"""A run's `config.json`: what is needed to do the run again, with a SHA-256 of it, and read without trust."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

import jax

from jaxgen.checkpoint import FORMAT, READABLE
from jaxgen.config import UserError, flatten
from jaxgen.corpus import Corpus
from jaxgen.files import checked, read
from jaxgen.plan import Plan, Planned
from jaxgen.results import Scalar, named_value
from jaxgen.sweep import Question, Sweep

CONFIG = "config.json"
PACKAGES = ("jaxgen", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class SweepFacts(TypedDict):
    name: str
    text: str
    arms: list[str]
    verdict: str
    keys: list[str]
    points: list[dict[str, Scalar]]


class CorpusFacts(TypedDict):
    path: str
    column: str | None
    names: int
    different: int
    windows: int
    vocabulary: int
    characters: str
    longest: int
    sha256: str


class PlanFacts(TypedDict):
    lanes: dict[str, int]
    measured: list[dict[str, float]]


class Facts(TypedDict):
    """What a run's `config.json` holds, and what of it is relied on."""

    format: int
    flags: list[str]
    sweep: SweepFacts
    base: dict[str, Scalar]
    corpus: CorpusFacts
    source: str | None
    versions: dict[str, str]
    devices: list[str]
    plan: list[PlanFacts]
    programs: int
    sha256: str


def describe(
    sweep: Sweep, corpus: Corpus, programs: int, question: Question, flags: Sequence[str], source: Corpus | None
) -> dict[str, Any]:
    """What `config.json` holds."""
    points = [{key: named_value(value) for key, value in point.items()} for point in sweep.points]
    chain = sweep.base.optimizer.chain
    return {
        "format": FORMAT,
        "flags": list(flags),
        "sweep": {**dataclasses.asdict(question), "arms": list(question.arms), "keys": list(sweep.keys), "points": points},
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
        "source": None if source is None else source.sha256,
        "versions": {package: version(package) for package in PACKAGES},
        "devices": [str(device) for device in jax.local_devices()],
        "plan": [],  # of each group, from when it begins
        "programs": programs,
    }


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
    return {"lanes": dataclasses.asdict(planned.plan), "measured": measured}


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
    return Planned(plan, measured)


def check_ours(path: Path) -> dict[str, Any]:
    """What a folder's `config.json` says, of whatever format.

    Raises:
      UserError: if the folder holds no run.
    """
    try:
        facts = json.loads(read(path / CONFIG))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{str(path)!r} holds no run ({CONFIG} is not there); give the folder that --out named") from None
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or not {"format", "sweep", "corpus"} <= facts.keys():
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
    try:
        checked(facts, Facts)
        for stored in facts["plan"]:
            planned_of(stored)
    except (ValueError, TypeError):
        raise UserError(damaged) from None
    if facts["sha256"] != _digest(facts):
        raise UserError(damaged)
    return facts
