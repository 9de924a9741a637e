"""Pictures in cells, by the values of two keys: losses, and where trials diverge."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from jaxgen.judge.results import DIVERGED, Results, Scalar
from jaxgen.judge.shown import cell
from jaxgen.report.style import BEST, WIDTH, axis, contrast, ink, levels, room, subplots, upright, varied
from jaxgen.report.text import head, short

CELLS = 14  # rows or columns of a heat map, at most
FILLED = 0.4  # the share of its cells that a heat map needs
BINS = 6  # of a key with many values


@dataclass(frozen=True)
class Grid:
    """Mean validation scores by two keys; less is better."""

    keys: tuple[str, str]
    down: list[Scalar]
    across: list[Scalar]
    losses: NDArray[np.float64]  # (down, across); infinite where all seeds diverged, nan where none was tried


def grid(results: Results) -> Grid | None:
    """None unless exactly two keys vary, over a grid that is small and of which a good part was tried."""
    keys, arms = varied(results), results.leaderboard()
    if len(keys) != 2:
        return None
    down, across = (levels(arm.values.get(key) for arm in arms) for key in keys)
    if max(len(down), len(across)) > CELLS:  # before there are as many cells
        return None
    losses = np.full((len(down), len(across)), np.nan)
    for arm in arms:
        losses[down.index(arm.values.get(keys[0])), across.index(arm.values.get(keys[1]))] = arm.mean("score")
    if (~np.isnan(losses)).mean() < FILLED or not np.isfinite(losses).any():
        return None
    return Grid((keys[0], keys[1]), down, across, losses)


def heat(results: Results) -> Figure | None:
    """Mean validation loss by two keys, the lowest in a frame; None where there is no `grid`."""
    found = grid(results)
    if found is None:
        return None
    figure, axes = _board(
        found.keys, [[cell(x, key) for x in side] for key, side in zip(found.keys, (found.down, found.across), strict=True)]
    )
    finite = np.where(np.isfinite(found.losses), found.losses, np.nan)
    low, high = room(found.losses.flat) or (0.0, 1.0)
    image = axes.imshow(finite, aspect="auto", vmin=low, vmax=max(high, low + 1e-9))
    notes = {
        at: f"{results.measure.sign * loss:.3f}" if math.isfinite(loss) else "div."
        for at, loss in np.ndenumerate(found.losses)
        if not math.isnan(loss)
    }
    _write(axes, image, finite, notes)
    row, column = np.unravel_index(np.nanargmin(finite), finite.shape)
    axes.add_patch(Rectangle((float(column) - 0.5, float(row) - 0.5), 1, 1, fill=False, edgecolor=BEST, linewidth=3))
    bar = figure.colorbar(image, ax=axes, extend="max" if np.nanmax(finite) > high else "neither", location="bottom", aspect=40)
    bar.set_label(axis(results))
    upright(results.measure, bar.ax.xaxis)
    return figure


def _board(keys: Sequence[str], names: Sequence[Sequence[str]]) -> tuple[Figure, Axes]:
    """Axes for cells: keys and their values' names, the first key's down and the second's across."""
    figure, axes = subplots(1.7 + 0.36 * len(names[0]), max(WIDTH, 1.6 + 0.46 * len(names[1])))
    down, across = [[short(name, 18) for name in side] for side in names]
    axes.set_yticks(range(len(down)), down)
    axes.set_xticks(range(len(across)), across)
    if sum(map(len, across)) > 48:
        axes.tick_params(axis="x", rotation=45)
    axes.set(ylabel=short(head(keys[0])), xlabel=short(head(keys[1])))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure, axes


def _write(axes: Axes, image: AxesImage, values: NDArray[np.float64], notes: Mapping[tuple[int, ...], str]) -> None:
    """Each cell's note on its colour; on the ground where the cell has no value."""
    for (row, column), note in notes.items():
        value = float(values[row, column])
        colour = contrast(image.to_rgba(np.array([value]))[0]) if math.isfinite(value) else ink()
        axes.text(column, row, note, ha="center", va="center", fontsize=8, color=colour)


def divergence(results: Results) -> Figure | None:
    """The share of trials that diverged, by the two keys that tell most about it; None where none diverged or no key varies."""
    bad = np.array([row.status == DIVERGED for row in results.rows])
    bins = {key: binned([row.values.get(key) for row in results.rows], key) for key in varied(results)}
    if not bad.any() or not bins:
        return None
    keys = sorted(bins, key=lambda key: -_told(bins[key][1], bad))[:2]
    keys.sort(key=lambda key: -len(bins[key][0]))  # there is more room down a page than across
    (down, row_at), (across, column_at) = (*(bins[key] for key in keys), ([""], [0] * len(bad)))[:2]
    counts = np.zeros((2, len(down), len(across)))
    np.add.at(counts, (0, row_at, column_at), bad)
    np.add.at(counts, (1, row_at, column_at), 1)
    shares = np.divide(counts[0], counts[1], out=np.full(counts[0].shape, np.nan), where=counts[0] > 0)
    figure, axes = _board([*keys, ""], [down, across])
    image = axes.imshow(shares, aspect="auto", vmin=0, vmax=1, cmap=mpl.colormaps[mpl.rcParams["image.cmap"]].reversed())
    notes = {at: f"{counts[0][at]:.0f}/{trials:.0f}" for at, trials in np.ndenumerate(counts[1]) if trials}
    _write(axes, image, shares, notes)
    bar = figure.colorbar(image, ax=axes, location="bottom", aspect=40)
    bar.set_label("share of the trials that diverged")
    return figure


def binned(values: Sequence[Scalar], key: str = "") -> tuple[list[str], list[int]]:
    """A key's values in at most a few bins: the bins' labels, and each value's bin. Bins of numbers hold about as many each."""
    found = levels(values)
    if len(found) <= BINS + 2:
        return [cell(value, key) for value in found], [found.index(value) for value in values]
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) < len(values):
        common = [value for value, _ in Counter(values).most_common(BINS)]
        return [*(cell(value, key) for value in common), "others"], [common.index(v) if v in common else BINS for v in values]
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1), method="nearest"))
    at = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
    return [f"{low:.2g} to {high:.2g}" for low, high in itertools.pairwise(edges)], [int(i) for i in at]


def _told(bins: Sequence[int], bad: NDArray[np.bool_]) -> float:
    """The share of the variance of divergence that lies between a key's bins (eta squared)."""
    at = np.asarray(bins)
    between = sum((at == i).sum() * (bad[at == i].mean() - bad.mean()) ** 2 for i in set(bins))
    return float(between) / max(float(bad.var()) * len(bad), 1e-12)
