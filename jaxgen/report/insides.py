"""Pictures of what goes on inside the networks: layers while they train."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure

from jaxgen.judge.results import Diagnostic, Results
from jaxgen.report.arms import Contender, contenders
from jaxgen.report.style import below, line, logarithmic, subplots
from jaxgen.report.text import short

T = TypeVar("T")
PROFILES = 6  # arms whose layers one picture can tell apart
NAMES = 12  # layers with a name
MEASURES = {  # of a Diagnostic: what it is called, and its axis
    "activation": ("activation (std)", "log"),
    "saturation": ("saturated share", "linear"),
    "gradient": ("gradient norm", "log"),
    "update": ("update / weight", "log"),
}


def layers(results: Results) -> Figure | None:
    """Activations, saturation, gradients and updates by layer, at the first and the last evaluation; mean over seeds.

    None where no diagnostics were taken.
    """
    found = taken(results)
    if found is None:
        return None
    names, shown = found
    figure, grid = subplots(1.3 + 1.6 * len(MEASURES), rows=len(MEASURES), columns=2, sharex=True, sharey="row")
    for (measure, (title, scale)), row in zip(MEASURES.items(), grid, strict=True):
        drawn: list[float] = []
        for one, halves in shown:
            for axes, half in zip(row, halves, strict=True):
                found = profile(half, measure)
                at = [i for i, layer in enumerate(names) if layer in found]
                line(axes, one.place, at, [found[names[i]] for i in at], one.name)
                drawn += found.values()
        row[0].set_ylabel(title)
        if scale == "log" and any(value > 0 for value in drawn):
            for axes in row:
                logarithmic(axes, drawn, "y")
    every = -(-len(names) // NAMES)
    for axes, when in zip(grid[0], ("first evaluation", "last evaluation"), strict=True):
        axes.set_title(when, fontsize=10)
    for axes in grid[-1]:
        texts = [short(name, 14) for name in names[::every]]
        axes.set_xticks(range(0, len(names), every), texts, rotation=60, ha="right", rotation_mode="anchor")
    below(figure, grid[0, 0])
    return figure


Halves = tuple[list[Diagnostic], list[Diagnostic]]


def taken(results: Results) -> tuple[list[str], list[tuple[Contender, Halves]]] | None:
    """The layers' names, and of what is compared what was taken at the first and at the last evaluation.

    None where no diagnostics were taken.
    """
    trials = {one.trial for one in results.diagnostics}
    arms = [(one, {row.trial for row in one.arm.sound or one.arm.rows}) for one in contenders(results)] if trials else []
    arms = spread([(one, mine) for one, mine in arms if trials & mine], PROFILES)
    if not arms:
        return None
    names = layer_names(results.diagnostics, set[int]().union(*(mine for _, mine in arms)))
    return names, [(one, ends(results.diagnostics, mine)) for one, mine in arms]


def spread(ordered: Sequence[T], most: int) -> list[T]:
    """At most so many of some things, the first and the last among them and the others evenly between."""
    if len(ordered) <= most:
        return list(ordered)
    return [ordered[round(place * (len(ordered) - 1) / (most - 1))] for place in range(most)]


def layer_names(diagnostics: Sequence[Diagnostic], trials: set[int]) -> list[str]:
    """The layers of some trials in the order of the network: that of the deepest, and then what only others have."""
    of_trial: dict[int, dict[str, None]] = {}
    for one in diagnostics:
        if one.trial in trials:
            of_trial.setdefault(one.trial, {})[one.layer] = None
    deepest_first = sorted(of_trial.values(), key=lambda layers: -len(layers))
    return list(dict.fromkeys(layer for layers in deepest_first for layer in layers))


def ends(diagnostics: Sequence[Diagnostic], trials: set[int]) -> tuple[list[Diagnostic], list[Diagnostic]]:
    """Of each of some trials, the layers at its first evaluation, and those at its last."""
    mine = [one for one in diagnostics if one.trial in trials]
    steps: dict[int, list[int]] = {}
    for one in mine:
        steps.setdefault(one.trial, []).append(one.step)
    first, last = ({trial: pick(taken) for trial, taken in steps.items()} for pick in (min, max))
    return [one for one in mine if one.step == first[one.trial]], [one for one in mine if one.step == last[one.trial]]


def profile(taken: Sequence[Diagnostic], measure: str) -> dict[str, float]:
    """A measure by layer, the mean over those trials where it is finite."""
    found: dict[str, list[float]] = {}
    for one in taken:
        if math.isfinite(value := getattr(one, measure)):
            found.setdefault(one.layer, []).append(value)
    return {layer: float(np.mean(values)) for layer, values in found.items()}
