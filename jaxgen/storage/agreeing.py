"""Whether what a folder holds is the run that is asked for, by what is said of both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.engine.precision import FULL
from jaxgen.fields import UserError
from jaxgen.storage.facts import SECTIONS, STEPS, measured, stages_of


def agreeing(path: Path, facts: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """What a user should know of a run that goes on.

    Args:
      facts: of the run that is asked for, as `facts.describe` says them; it may have more trials, or more steps.
      stored: of the one that the folder holds.

    Raises:
      UserError: if they are not the same run: of another task, sweep or base config, or on other rows.
    """
    if (name := stored["task"]["name"]) != facts["task"]["name"]:
        raise UserError(f"{str(path)!r} holds a run of the task {name!r}; give that one, or --overwrite")
    has = len(stored["sweep"]["points"])
    longer = len(facts["sweep"]["longer"]) > len(stages_of(stored["sweep"])[1])
    for what, here, there in (
        ("sweep", facts["sweep"]["points"][:has], stored["sweep"]["points"]),
        ("sweep", facts["sweep"].get("beside", []), stored["sweep"].get("beside", [])),
        ("base", facts["base"], stored["base"] | ({STEPS: facts["base"][STEPS]} if longer else {})),
    ):
        if json.loads(json.dumps(here)) != there:  # another process has been there since it was looked at
            raise UserError(f"{str(path)!r} holds a run of another {what}; give the flags it was started with, or --overwrite")
    return [*_of_tasks(path, facts["task"], stored["task"]), *_of_places(facts, stored)]


def _of_tasks(path: Path, here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Refuses a task that is on other rows, or measures something else; says so where its program has changed."""
    now, then = (", ".join(measured(task)) for task in (here, there))
    if now != then:
        raise UserError(
            f"{str(path)!r} holds a run whose metrics are {then}, and those of the task are {now} now; "
            "give it as it was, or --overwrite"
        )
    for key, what in (("sha256", "rows"), (SECTIONS, "rows"), ("source", "data.source")):
        if here["rows"].get(key) != there["rows"].get(key):
            where = there["rows"].get("path", there["name"])
            raise UserError(
                f"{str(path)!r} holds a run on other rows: {what if key == 'source' else repr(where)} has changed "
                "since; restore it, or --overwrite"
            )
    if here["program"] == there["program"]:
        return []
    return [
        f"the task {there['name']!r} computes something else than when the run began (its network, its loss, or a "
        "library has changed): trials from here on do not compare with those before; --overwrite starts it again"
    ]


def _of_places(facts: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """What is otherwise where a run goes on, and may change last bits."""
    here, there = ({**f["versions"], "devices": f["devices"], "precision": f.get("precision", FULL)} for f in (facts, stored))
    return [
        f"the run began with {key} {there.get(key)}, and this is {here[key]}; its last bits may differ"
        for key in here
        if here[key] != there.get(key)
    ]
