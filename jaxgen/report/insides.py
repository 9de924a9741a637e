"""Pictures of what goes on inside the networks: layers while they train, and the winner's embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from jaxgen.report.style import BEST, below, contenders, line, logarithmic, subplots
from jaxgen.report.text import drawable, plain, short
from jaxgen.results import Diagnostic, Results, Trained

T = TypeVar("T")
PROFILES = 6  # arms whose layers one picture can tell apart
NAMES = 12  # layers with a name
LABELS = 300  # characters with a label; the others are dots
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
    taken = {one.trial for one in results.diagnostics}
    arms = [(name, {row.trial for row in arm.sound or arm.rows}) for name, arm in contenders(results)]
    arms = spread([(name, trials) for name, trials in arms if taken & trials], PROFILES)
    if not arms:
        return None
    names = layer_names(results.diagnostics, set[int]().union(*(trials for _, trials in arms)))
    shown = [(name, ends(results.diagnostics, trials)) for name, trials in arms]
    figure, grid = subplots(1.3 + 1.6 * len(MEASURES), rows=len(MEASURES), columns=2, sharex=True, sharey="row")
    for (measure, (title, scale)), row in zip(MEASURES.items(), grid, strict=True):
        drawn: list[float] = []
        for place, (name, halves) in enumerate(shown):
            for axes, half in zip(row, halves, strict=True):
                found = profile(half, measure)
                at = [i for i, layer in enumerate(names) if layer in found]
                line(axes, place, at, [found[names[i]] for i in at], name)
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


def plane(table: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two directions in which vectors differ most (principal components, by the singular value decomposition).

    Args:
      table: (V, E).

    Returns:
      (V, 2) coordinates, and the (2,) shares of the variance that lie along them. A second direction that is not there is 0.
    """
    centred = np.asarray(table, np.float64) - np.mean(table, 0, dtype=np.float64)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    points, shares = np.zeros((len(table), 2)), np.zeros(2)
    kept = min(2, len(sizes))
    points[:, :kept] = (left * sizes)[:, :kept]
    shares[:kept] = (sizes**2 / max(float((sizes**2).sum()), 1e-300))[:kept]
    return points, shares


def embedding_table(params: Any) -> NDArray[np.float32] | None:
    """A model's (V, E) embeddings; None where it has none."""
    part = params.get("embedding") if isinstance(params, Mapping) else None
    table = part.get("embedding") if isinstance(part, Mapping) else None
    return None if table is None else np.asarray(table)


def character(text: str) -> str:
    """A character as a label: a space by the sign for it, what cannot be seen by its code point."""
    return "␣" if text == " " else plain(text) if drawable(text) else f"{ord(text):04X}"


def embeddings(trained: Trained) -> Figure | None:
    """The embeddings of a trial's characters in two dimensions, the boundary a dot; None where the model has none."""
    table = embedding_table(trained.params)
    if table is None or len(table) < 2 or not np.isfinite(table).all():
        return None
    points, shares = plane(table)
    figure, axes = subplots(4.6)
    size = 12 if len(table) <= 60 else 9
    labelled = [(i, character(c)) for i, c in enumerate(trained.vocabulary.characters[:LABELS], 1)]
    for i, text in labelled:
        axes.text(*points[i], text, ha="center", va="center", fontsize=size if len(text) == 1 else 6, clip_on=True)
    rest = points[len(labelled) + 1 :]
    axes.plot(*rest.T, "o", color="C4", ms=2, alpha=0.6)
    axes.plot(*points[0], "o", color=BEST, ms=9, label="boundary", zorder=0)
    axes.update_datalim(points)
    axes.autoscale_view()
    axes.margins(0.07)
    says = (f"component {i} ({100 * share:.0f}% of the variance)" for i, share in enumerate(shares, 1))
    axes.set(xlabel=next(says), ylabel=next(says))
    below(figure, axes)
    return figure
