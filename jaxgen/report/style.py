"""How the report's pictures look, in light and in dark, and what they are made of alike."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike

from jaxgen.judge.results import Results, Scalar
from jaxgen.report.text import FONT, short
from jaxgen.tasks.metric import Metric

WIDTH = 5.0  # inches: at 9 and 10 points, text is still read where a phone shrinks the picture to its own width
HEIGHT = 3.2  # inches of a picture of lines, without its legend
ARMS = 8  # lines that one picture can tell apart

# Okabe and Ito's colours, which colour-blind people can tell apart. Of these, yellow is not seen on white, where a brown stands
# for it; black is not seen on black, where white does; and blue is a little lighter there.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#663311", "#000000")
ON_DARK = ("#0A80CC", "#E69F00", "#009E73", "#D55E00", "#6CC0F2", "#CC79A7", "#F0E442", "#FFFFFF")
CRIMSON = "#DC143C"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # the same said twice, for prints without colour
BEST = "C8"  # crimson, which no arm and no colour map has
TWO = 26  # characters of a label, of which two have room side by side


def _look(palette: Sequence[str], ink: str, dim: str, paper: str, losses: str) -> dict[str, Any]:
    return {
        "font.family": FONT,
        "font.size": 10,
        "axes.labelsize": 10,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "legend.handlelength": 1.6,
        "legend.columnspacing": 1.4,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.alpha": 0.25,
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.7,
        "lines.markersize": 5,
        "axes.prop_cycle": cycler(color=[*palette, CRIMSON]),
        "image.cmap": losses,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": dim,
        "xtick.color": dim,
        "ytick.color": dim,
        "xtick.labelcolor": ink,
        "ytick.labelcolor": ink,
        "grid.color": dim,
        "figure.facecolor": paper,
        "axes.facecolor": paper,
        "savefig.facecolor": paper,
        "svg.fonttype": "path",  # a reader's own fonts would have other widths
        "svg.hashsalt": "jaxgen",  # the same report, the same bytes
    }


# What is good is dark on white and bright on black: what is bad fades into the ground.
LIGHT: Any = _look(COLOURS, "#1b2230", "#6b7482", "#ffffff", "viridis")
DARK: Any = _look(ON_DARK, "#e6e9ee", "#8b95a3", "#14171c", "viridis_r")


def axis(results: Results) -> str:
    """What an axis of the selecting metric says."""
    measure = results.measure
    return f"validation {measure.name}{f' ({measure.measured_in})' if measure.measured_in else ''}"


def upright(measure: Metric, axis: Any) -> None:
    """An axis on which scores were drawn, of which less is better: says the metric itself, and has more of it above."""
    if measure.higher_is_better:
        axis.set_major_formatter(lambda score, _: f"{-score:.6g}")
        axis.set_inverted(True)


def ink() -> str:
    """The colour of text in the style that is drawn."""
    return str(mpl.rcParams["text.color"])


def paper() -> str:
    """The colour of the ground in the style that is drawn."""
    return str(mpl.rcParams["axes.facecolor"])


def contrast(colour: Any) -> str:
    """Black or white, whichever is read on a colour."""
    red, green, blue, _ = colors.to_rgba(colour)
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "#ffffff"


def varied(results: Results) -> list[str]:
    """The keys of which the trials that ended have several values, without the seed."""
    return [key for key in results.keys if len({row.values.get(key) for row in results.rows}) > 1]


def levels(values: Iterable[Scalar]) -> list[Scalar]:
    """The different values, numbers in their order and then the others as they come."""
    found = list(dict.fromkeys(values))
    numbers = sorted(value for value in found if isinstance(value, int | float))
    return [*numbers, *(value for value in found if not isinstance(value, int | float))]


def room(losses: Iterable[float], stretch: float = 10) -> tuple[float, float] | None:
    """The lowest of some losses, and the highest that a picture shows, so that a few bad ones do not hide all else.

    That is `stretch` times as far above the lowest as the median is, unless all are lower. None where none is finite.
    """
    finite = [loss for loss in losses if math.isfinite(loss)]
    if not finite:
        return None
    low = min(finite)
    far = low + stretch * (float(np.median(finite)) - low)
    return low, min(max(finite), far) if far > low else max(finite)


def limits(room: tuple[float, float] | None) -> tuple[float, float] | None:
    """`room` as the ends of an axis, with some air."""
    if room is None:
        return None
    air = 0.05 * (room[1] - room[0]) or 0.05 * abs(room[0]) or 0.05
    return room[0] - air, room[1] + air


class Drawing(Figure):
    """A figure that a notebook shows, whether or not pyplot is in use."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png", dpi=110)
        return out.getvalue()


def subplots(height: float, width: float = WIDTH, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure of `width` by `height` inches and its axes."""
    figure = Drawing(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def look(place: int) -> dict[str, Any]:
    """The colour and the marker of an arm by its place, everywhere the same; beyond ARMS the markers are hollow."""
    fill = {} if place < ARMS else {"markerfacecolor": paper()}
    return {"color": colour(place), "marker": MARKERS[place % ARMS], **fill}


def colour(place: int) -> str:
    """The colour of an arm by its place."""
    return f"C{place % ARMS}"


def line(axes: Axes, place: int, at: Sequence[float], values: ArrayLike, name: str) -> None:
    """A line in the look of its place, with at most a few markers, which do not lie on those of other places."""
    every = max(1, len(at) // 8)
    axes.plot(at, values, **look(place), markevery=(place % every, every), label=short(name))


def band(axes: Axes, place: int, at: Sequence[float], low: ArrayLike, high: ArrayLike) -> None:
    """What lies between two lines, in the colour of its place."""
    low, high = np.asarray(low, float), np.asarray(high, float)
    known = np.isfinite(low) & np.isfinite(high)
    axes.fill_between(np.asarray(at)[known], low[known], high[known], color=colour(place), alpha=0.16, linewidth=0)


def below(figure: Figure, axes: Axes, **more: Any) -> None:
    """A legend under the picture, which grows by as much; `more`: artists by their labels."""
    handles, labels = axes.get_legend_handles_labels()
    handles, labels = [*handles, *more.values()], [*labels, *more]
    columns = 1 if max(map(len, labels), default=0) > TWO else 2
    figure.set_figheight(figure.get_figheight() + 0.2 * -(-len(labels) // columns) + 0.1)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def logarithmic(axes: Axes, values: Iterable[Scalar], which: str = "x") -> None:
    """A logarithmic axis that says its numbers as the config does: each of them if they are few."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())
    numbers = sorted({float(value) for value in values if isinstance(value, int | float) and 0 < value < math.inf})
    if len(numbers) <= 8 and which == "x":
        axis.set_ticks(numbers)
        axis.set_ticks([], minor=True)
    elif numbers and numbers[-1] < 10 * numbers[0]:
        axis.set_major_locator(MaxNLocator(4))  # there may be no power of ten among them
        axis.set_ticks([], minor=True)
    else:
        axis.set_major_locator(LogLocator(numticks=5))
