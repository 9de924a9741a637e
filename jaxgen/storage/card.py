"""The model card of an exported trial: `README.md` as model hubs read it, the same for the same trial, whatever it holds."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import jax
import numpy as np
from jinja2 import Environment, PackageLoader

from jaxgen.config import resolve
from jaxgen.fields import CHAIN, flatten
from jaxgen.judge.results import PARTS, Trained, named_value
from jaxgen.storage.facts import SECTIONS
from jaxgen.tasks import BUILT_IN
from jaxgen.tasks.base import Task

CARD = "README.md"
PACKAGES = ("jaxgen", "jax", "flax", "optax", "numpy")
KNOWN = ("cc-by-4.0", "cc-by-sa-3.0", "mit")  # licences that hubs list; others have a name of their own there
LEFT_OUT = (
    "path",
    "column",
    "source",
    "characters",
    "inputs",
    "row",
)  # facts of the rows that are said elsewhere, or for machines


def card(trained: Trained) -> str:
    """The card, in Markdown with a head in YAML."""
    task, config, row = trained.task, resolve(trained.config), trained.row
    values = flatten(config) | ({} if config.optimizer.chain is None else {CHAIN: config.optimizer.chain})
    used = {key: value for key, value in values.items() if value not in (None, False, 0) or key == "seed"}
    metrics = {} if row is None else row.metrics
    found = [
        (one.name, part, metrics[f"{short}_{one.name}"])
        for one in task.metrics
        for part, short in SAID
        if f"{short}_{one.name}" in metrics
    ]
    return rendered(
        "card.md.jinja",
        trained,
        family=values.get("model.family"),
        trial=trained.trial,
        row=row,
        params=parameters(trained.params),
        names=[one.name for one in task.metrics] if found else [],
        finite=[one for one in found if math.isfinite(one[2])],
        measures=[
            {"said": f"{one.what or one.name}{f' ({one.measured_in})' if one.measured_in else ''}"}
            | {part: metrics.get(f"{part}_{one.name}", math.nan) for part in PARTS}
            for one in task.metrics
        ]
        if found
        else [],
        measured={} if row is None else row.measured,
        samples=type(task).sample is not Task.sample,
        predicts=type(task).predict is not Task.predict,
        data=data_of(trained.data),
        setting={key: portable(named_value(value)) for key, value in used.items()},
        versions=[f"{name} {version(name)}" for name in PACKAGES],
    )


def card_of_mixture(members: Sequence[Trained]) -> str:
    """The card of several trials that are used as one."""
    name = members[0].task.metrics[0].name
    rows = [
        {"trial": one.trial, "params": parameters(one.params)}
        | {part: math.nan if one.row is None else one.row.value(f"{part}_{name}") for part in ("val", "test")}
        for one in members
    ]
    scores = members[0].task.name == "names"
    return rendered("mixture.md.jinja", members[0], "mixture", members=rows, measure=name, scores=scores)


def rendered(template: str, trained: Trained, *more: str, **values: Any) -> str:
    """A card from its template, with what all cards say.

    Args:
      more: further words of its title and tags.
    """
    environment = Environment(loader=PackageLoader("jaxgen", "storage"), trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"code": code, "quoted": quoted, "number": number}
    task, family = trained.task, flatten(trained.config).get("model.family")
    words = [task.name, *([] if family is None or more else [str(family)]), *more]
    origin = task.origin(trained.data)
    return environment.get_template(template).render(
        title=" ".join(["jaxgen", *words]),
        task=task.name,
        tags=list(dict.fromkeys(["jaxgen", "jax", *words])),
        own=task.place != BUILT_IN,
        origin=origin,
        known=origin.identifier in KNOWN,
        **values,
    )


SAID = (("validation", "val"), ("test", "test"), ("training", "train"))


def parameters(params: Any) -> int:
    """How many numbers a network has learnt."""
    return sum(math.prod(x.shape) for x in map(np.asarray, jax.tree.leaves(params)) if x.dtype.kind == "f")


def data_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of the rows, flat, without what is said elsewhere."""
    found: dict[str, Any] = {}
    for name, value in facts.items():
        if name in (*LEFT_OUT, SECTIONS) or value is None:
            continue
        name = f"{name} (of the base: the sweep varied what was read)" if name == "sha256" and SECTIONS in facts else name
        found |= {f"{name}: {part}": one for part, one in value.items()} if isinstance(value, dict) else {name: value}
    return found


def portable(value: Any) -> Any:
    """A value without the folders of this machine: of a path that leaves the folder it is read from, its last part."""
    if isinstance(value, str):
        for path in (PurePosixPath(value), PureWindowsPath(value)):
            if path.is_absolute() or ".." in path.parts or value.startswith("~"):
                return path.name
    return value


def seen(text: str) -> str:
    """Text on one line, whose control characters, and those that turn what follows, are shown and not obeyed."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def quoted(text: str) -> str:
    """A text of the card's head: one in JSON is one in YAML, too."""
    return json.dumps(seen(text), ensure_ascii=False)


def code(value: Any) -> str:
    """A text in a cell of a table or a sentence, as a code span that it cannot leave: it is no markup, whatever it holds."""
    text = seen(f"{value:g}" if isinstance(value, float) else str(value)).strip() or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    around = " " if "`" in text else ""
    return f"{fence}{around}{text}{around}{fence}".replace("|", "\\|")


def number(value: float) -> str:
    """A measure as people read it."""
    return f"{value:.4f}" if math.isfinite(value) else "-"
