"""Parallel coordinates: every varied key of every setting in one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from jaxgen.judge.results import Arm, Results, Scalar
from jaxgen.judge.shown import cell
from jaxgen.report.maps import grid
from jaxgen.report.style import BEST, WIDTH, ink, levels, paper, room, subplots, varied
from jaxgen.report.text import head, short

AXES = 10  # keys, at most
LINES = 1000  # settings, at most
LOST = 1.1  # where on the axis of losses, from 0 to 1, those lie that diverged
FAR = 20  # from one end of an axis to the other: from there on it is logarithmic
FEW = 8  # values that are all written beside their axis
KNOT = 0.035  # how far settings of the same value lie around it


@dataclass(frozen=True)
class Lines:
    """Settings, the best first, as lines over axes of which each is 1 high."""

    arms: list[Arm]
    heads: list[str]
    """(A,) what the axes are called; the last is the validation score."""
    heights: NDArray[np.float64]
    """(arms, A): where each setting lies on each axis."""
    shares: NDArray[np.float64]
    """(arms,) of the last axis, LOST not among them: 0 is the best."""
    notes: list[tuple[int, float, str]]
    """On which axis, at what height, stands which value."""


def lines(results: Results) -> Lines | None:
    """None where fewer than two keys vary, or a heat map shows them."""
    keys, arms = varied(results)[:AXES], results.leaderboard()[:LINES]
    means = np.array([arm.mean("score") for arm in arms])
    inside = room(means)
    if len(keys) < 2 or inside is None or grid(results) is not None:
        return None
    notes: list[tuple[int, float, str]] = []
    heights = [_heights(notes, place, [arm.values.get(key) for arm in arms]) for place, key in enumerate(keys)]
    low, high = inside
    shares, lost = np.clip((means - low) / max(high - low, 1e-12), 0, 1), np.isinf(means)
    heights.append(np.where(lost, LOST, shares))
    for share in (0.0, 0.5, 1.0):
        sign = "≤ " if results.measure.higher_is_better else "≥ "
        more = sign if share == 1 and means[~lost].max() > high else ""
        notes.append((len(keys), share, f"{more}{results.measure.sign * (low + share * (high - low)):.3f}"))
    if lost.any():
        notes.append((len(keys), LOST, "diverged"))
    heads = [*(short(head(key), 16) for key in keys), f"validation {results.measure.name}"]
    return Lines(arms, heads, np.stack(heights, 1), shares, notes)


def parallel(results: Results) -> Figure | None:
    """A line for each setting through its values of the varied keys to its mean validation loss.

    None where fewer than two keys vary, or a heat map shows them.
    """
    found = lines(results)
    if found is None:
        return None
    count, last = found.heights.shape[1], found.heights.shape[1] - 1
    figure, axes = subplots(4.2, max(WIDTH, 1.25 * count))
    axes.imshow(np.linspace(1, 0, 256)[:, None], aspect="auto", extent=(last - 0.03, last + 0.03, 0, 1), zorder=3)
    for place, height, text in found.notes:
        _tick(axes, place, height, text)
    paths = np.stack([np.tile(np.arange(count), (len(found.arms), 1)), found.heights], -1)  # (arms, axes, 2)
    colours = mpl.colormaps[mpl.rcParams["image.cmap"]](found.shares)
    colours[:, 3] = 0.9 - 0.65 * found.shares  # what is bad recedes
    axes.add_collection(LineCollection(list(paths[::-1]), colors=colours[::-1], linewidths=1.2))
    axes.plot(*paths[0].T, color=BEST, linewidth=2.8, marker="o", zorder=5, clip_on=False)
    axes.vlines(range(last), 0, 1, color=ink(), linewidth=1, zorder=4)
    axes.set_xticks(range(count), found.heads)
    top = LOST if found.heights[:, last].max() > 1 else 1
    axes.set(xlim=(-0.1, last + 0.45), ylim=(-0.04 - KNOT, top + 0.04 + KNOT), yticks=[])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return figure


def _heights(notes: list[tuple[int, float, str]], place: int, values: Sequence[Scalar]) -> NDArray[np.float64]:
    """Where a key's values lie on its axis, from 0 to 1, numbers by their size and all else evenly; notes what is where.

    Settings that share one of a few values lie side by side around it, the best lowest, so that each line can be followed.
    """
    found = levels(values)
    numbers = [float(value) for value in found if isinstance(value, int | float) and math.isfinite(value)]
    if len(numbers) == len(found) > 1:
        far = numbers[0] > 0 and numbers[-1] / numbers[0] >= FAR
        scaled = np.log(numbers) if far else np.array(numbers)
        spread = (scaled - scaled[0]) / (scaled[-1] - scaled[0])
    else:
        spread = np.linspace(0, 1, len(found))
    heights = dict(zip(found, spread.tolist(), strict=True))
    notes += _said(place, heights)
    at = np.array([heights[value] for value in values])
    if 1 < len(found) <= FEW:
        reach = min(KNOT, float(np.diff(np.sort(spread)).min()) / 3)
        for height in set(at.tolist()):
            mine = np.flatnonzero(at == height)
            at[mine] += np.linspace(-reach, reach, len(mine)) if len(mine) > 1 else 0
    return at


def _said(place: int, heights: Mapping[Scalar, float]) -> list[tuple[int, float, str]]:
    """The values beside their axis: the ends, and of the others as many as there is room for."""
    room = 0.085 if len(heights) <= FEW else 0.2
    said, notes = [0.0, 1.0], []
    for value, height in heights.items():
        if height in (0.0, 1.0) or min(abs(height - other) for other in said) >= room:
            said.append(height)
            notes.append((place, height, f"{value:.2g}" if isinstance(value, float) else cell(value)))
    return notes


def _tick(axes: Axes, place: int, height: float, text: str) -> None:
    ground = {"facecolor": paper(), "edgecolor": "none", "alpha": 0.75, "pad": 1.0}
    axes.text(place + 0.05, height, short(text, 14), va="center", fontsize=8.5, zorder=6, bbox=ground)
