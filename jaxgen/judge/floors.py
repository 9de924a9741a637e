"""How the best network stands beside the best floor: what the same parts give without a network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxgen.tasks.base import Task

FEW = 4  # data sections, of each of which there is a sentence


def standings(task: Task, results: Any) -> list[str]:
    """Sentences on how the best network of a run stands beside what is had without one: the task's own, or those of its floors.

    Args:
      task: on its rows.
    """
    own = task.standings(results)
    return beside_floors(task, results) if own is None else own


def reference(task: Task, results: Any) -> tuple[str, Mapping[str, float]] | None:
    """What a leaderboard shows beside the networks: what is had without one, by a name, where there is one such thing.

    Args:
      task: on its rows.
    """
    own = task.reference(results)
    if own is not None or type(task).floors is Task.floors:
        return own
    sections = {config.data for config in results.sweep if task.trains(config)}
    floors = floors_of(task, sections.pop()) if len(sections) == 1 else {}
    selecting = f"val_{results.measure.name}"
    known = [name for name, values in floors.items() if math.isfinite(values.get(selecting, math.nan))]
    name = min(known, key=lambda name: results.measure.sign * floors[name][selecting], default=None)
    return None if name is None else (name, floors[name])


def cost(results: Any, metrics: Mapping[str, float]) -> float:
    """What ranks something of these metrics among a run's trials: the less the better; infinite where that is not known."""
    value = metrics.get(f"val_{results.measure.name}", math.nan)
    return results.measure.sign * value if math.isfinite(value) else math.inf


def beside_floors(task: Task, results: Any) -> list[str]:
    """How the best network stands beside the best floor, on each data section that networks were trained on.

    They are compared on validation, which chose both, in the first of the task's metrics in which there are floors.
    """
    if type(task).floors is Task.floors:
        return []
    configs = list(results.sweep)
    trained = {row.trial: row for row in results.rows if task.trains(configs[row.trial])}
    networks = [trial for trial, config in enumerate(configs) if task.trains(config)]
    sections = list(dict.fromkeys(configs[trial].data for trial in networks))
    differ = [key for key in results.keys if key.startswith("data.")]
    said, leads = [], []
    for section in sections:
        rows = [row for trial, row in trained.items() if configs[trial].data == section]
        trials = [trial for trial in networks if configs[trial].data == section]
        name = ", ".join(f"{key} {results.values(trials[0])[key]}" for key in differ)
        sentence, lead = _beside(task, floors_of(task, section), rows, len(trials))
        said.append(f"With {name}: {sentence}" if name else sentence[:1].upper() + sentence[1:])
        leads.append(lead)
    if len(said) <= FEW:
        return said
    beaten = sum(lead > 0 for lead in leads)
    return [
        f"The best network beats the best floor without one on validation in {beaten} of {len(said)} ({', '.join(differ)})."
    ]


def diverged(ended: int, trials: int) -> str:
    """What to say of networks of which none has come to a finite number."""
    if not ended:
        return "no network has ended yet"
    return "every network diverged" if ended == trials else f"every network that has ended ({ended} of {trials}) diverged"


def floors_of(task: Task, data: Any) -> Mapping[str, Mapping[str, float]]:
    """The floors of a data section's parts, found once for a task that is opened: a report asks several times."""
    found: dict[Any, Mapping[str, Mapping[str, float]]] = task.__dict__.setdefault("_floors", {})
    if data not in found:
        found[data] = task.floors(task.parts(data))
    return found[data]


def _beside(task: Task, floors: Mapping[str, Mapping[str, float]], rows: Sequence[Any], trials: int) -> tuple[str, float]:
    """A sentence on the networks of one data section, and by how much the best of them is better than the best floor."""
    told = [one for one in task.metrics if any(f"val_{one.name}" in floor for floor in floors.values())]
    if not told:
        known = ", ".join(f"val_{one.name}" for one in task.metrics)
        return f"the floor without a network is not known: what `floors` gives says none of {known}.", math.nan
    metric = told[0]

    def cost(values: Mapping[str, float]) -> float:
        found = metric.sign * values.get(f"val_{metric.name}", math.nan)
        return found if math.isfinite(found) else math.inf

    def both(values: Mapping[str, float]) -> str:
        found = {part: values.get(f"{part}_{metric.name}", math.nan) for part in ("val", "test")}
        first = f"{found['val']:.4f}{f' {metric.measured_in}' if metric.measured_in else ''} on validation"
        return first if math.isnan(found["test"]) else f"{first}, {found['test']:.4f} on test"

    name = min(floors, key=lambda name: cost(floors[name]))
    floor = f"the floor without a network, {name}, has {metric.name.replace('_', ' ')} {both(floors[name])}"
    sound = [row for row in rows if row.status != "diverged" and cost(row.metrics) < math.inf]
    if not sound:
        return f"{floor}; {diverged(len(rows), trials)}.", -math.inf
    best = min(sound, key=lambda row: (cost(row.metrics), row.score, row.trial))
    lead = cost(floors[name]) - cost(best.metrics)
    if lead > 0:
        return f"{floor}; the best network, trial {best.trial}, is better: {both(best.metrics)}.", lead
    return f"{floor}; no network is better on validation: the best, trial {best.trial}, has {both(best.metrics)}.", lead
