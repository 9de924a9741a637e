"""Parallel coordinates: every varied key of every setting in one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from jaxgen.judge.results import Results, Scalar
from jaxgen.report.maps import grid
from jaxgen.report.style import BEST, WIDTH, ink, levels, paper, room, subplots, varied
from jaxgen.report.terminal import cell
from jaxgen.report.text import head, short

AXES = 10  # keys, at most
LINES = 1000  # settings, at most
LOST = 1.1  # where on the axis of losses, from 0 to 1, those lie that diverged
FAR = 20  # from one end of an axis to the other: from there on it is logarithmic
FEW = 8  # values that are all written beside their axis


def parallel(results: Results) -> Figure | None:
    """A line for each setting through its values of the varied keys to its mean validation loss.

    None where fewer than two keys vary, or a heat map shows them.
    """
    keys, arms = varied(results)[:AXES], results.leaderboard()[:LINES]
    means = np.array([arm.mean("score") for arm in arms])
    inside = room(means)
    if len(keys) < 2 or inside is None or grid(results) is not None:
        return None
    figure, axes = subplots(4.2, max(WIDTH, 1.25 * (len(keys) + 1)))
    heights = [_heights(axes, place, [arm.values.get(key) for arm in arms]) for place, key in enumerate(keys)]
    low, high = inside
    shares = np.clip((means - low) / max(high - low, 1e-12), 0, 1)
    lost = np.isinf(means)
    heights.append(np.where(lost, LOST, shares))
    for share in (0.0, 0.5, 1.0):
        sign = "≤ " if results.measure.higher_is_better else "≥ "
        more = sign if share == 1 and means[~lost].max() > high else ""
        _tick(axes, len(keys), share, f"{more}{results.measure.sign * (low + share * (high - low)):.3f}")
    if lost.any():
        _tick(axes, len(keys), LOST, "diverged")
    lines = np.stack([np.tile(np.arange(len(heights)), (len(arms), 1)), np.stack(heights, 1)], -1)  # (arms, keys + 1, 2)
    colours = mpl.colormaps[mpl.rcParams["image.cmap"]](shares)
    colours[:, 3] = 0.9 - 0.65 * shares  # what is bad recedes
    axes.add_collection(LineCollection(list(lines[::-1]), colors=colours[::-1], linewidths=1.2))
    axes.plot(*lines[0].T, color=BEST, linewidth=2.8, marker="o", zorder=5, clip_on=False)
    axes.vlines(range(len(heights)), 0, 1, color=ink(), linewidth=1, zorder=4)
    axes.set_xticks(range(len(heights)), [*(short(head(key), 16) for key in keys), f"validation {results.measure.name}"])
    axes.set(xlim=(-0.1, len(keys) + 0.45), ylim=(-0.04, LOST + 0.04 if lost.any() else 1.04), yticks=[])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return figure


def _heights(axes: Axes, place: int, values: Sequence[Scalar]) -> NDArray[np.float64]:
    """Where a key's values lie on its axis, from 0 to 1, numbers by their size and all else evenly; writes what is where."""
    found = levels(values)
    numbers = [float(value) for value in found if isinstance(value, int | float) and math.isfinite(value)]
    if len(numbers) == len(found) > 1:
        far = numbers[0] > 0 and numbers[-1] / numbers[0] >= FAR
        scaled = np.log(numbers) if far else np.array(numbers)
        spread = (scaled - scaled[0]) / (scaled[-1] - scaled[0])
    else:
        spread = np.linspace(0, 1, len(found))
    heights = dict(zip(found, spread.tolist(), strict=True))
    _say(axes, place, heights)
    return np.array([heights[value] for value in values])


def _say(axes: Axes, place: int, heights: Mapping[Scalar, float]) -> None:
    """Writes values beside their axis: the ends, and of the others as many as there is room for."""
    room = 0.085 if len(heights) <= FEW else 0.2
    said = [0.0, 1.0]
    for value, height in heights.items():
        if height in (0.0, 1.0) or min(abs(height - other) for other in said) >= room:
            said.append(height)
            _tick(axes, place, height, f"{value:.2g}" if isinstance(value, float) else short(cell(value), 14))


def _tick(axes: Axes, place: int, height: float, text: str) -> None:
    ground = {"facecolor": paper(), "edgecolor": "none", "alpha": 0.75, "pad": 1.0}
    axes.text(place + 0.05, height, text, va="center", fontsize=8.5, zorder=6, bbox=ground)
