"""What a report compares: each arm once, with its name, and with its place, which gives it one look on the whole page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxgen.judge.naming import arm_names
from jaxgen.judge.results import Arm, Results, Scalar

RUNNING = "running"  # the status of a trial that has not ended (`Results.running`)


@dataclass(frozen=True)
class Contender:
    """What is compared, at its best setting of those with the most seeds that did not diverge."""

    place: int
    """From the best one, 0, on."""
    name: str
    arm: Arm


def contenders(results: Results, most: int | None = None) -> list[Contender]:
    """What the sweep compares, the best first.

    Args:
      most: how many of them at most.
    """
    names = arm_names(results)
    found: dict[tuple[Scalar, ...], list[Arm]] = {}
    for arm in standing(results):
        found.setdefault(tuple(arm.values.get(key) for key in names.keys), []).append(arm)
    best = [max(settings, key=lambda arm: len(arm.sound)) for settings in found.values()]  # the first of equals
    ordered = sorted(best, key=lambda arm: arm.mean("score"))[:most]
    return [Contender(place, names(arm.values), arm) for place, arm in enumerate(ordered)]


def standing(results: Results) -> list[Arm]:
    """Every setting, the best first: by its trials that have ended, or where none has, by how far they are."""
    if len(results.rows) >= len(results.sweep):
        return results.leaderboard()
    found = results.leaderboard(running=True)
    ended = [(arm, tuple(row for row in arm.rows if row.status != RUNNING)) for arm in found]
    arms = [Arm(arm.values, rows) if rows else arm for arm, rows in ended]
    return sorted(arms, key=lambda arm: arm.mean("score"))


def places(found: Sequence[Contender]) -> Mapping[str, int]:
    """Of each by its name."""
    return {one.name: one.place for one in found}
