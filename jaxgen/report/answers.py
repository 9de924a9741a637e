"""Pictures of a verdict: how far arms lie behind the winner, and what tuning them buys."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from jaxgen.judge.verdict import Comparison, Verdict
from jaxgen.report.style import ARMS, HEIGHT, band, below, ink, limits, line, paper, room, subplots, upright
from jaxgen.report.text import short, wrapped
from jaxgen.tasks.metric import Metric

MOST = 15  # differences in one picture
FEW = 6  # settings whose spreads are bars and not a band
NARROW = 42  # characters that fit below axes beside long names


def behind(verdict: Verdict) -> tuple[str, list[Comparison]]:
    """The winner, and its comparisons with it as the better arm: where another leads it, the difference is negative."""
    names = [one.better for one in verdict.comparisons] + [one.worse for one in verdict.comparisons]
    winner = max(Counter(names).items(), key=lambda one: one[1], default=("", 0))[0]  # each of the others is in one comparison
    return winner, [one if one.better == winner else _turned(one) for one in verdict.comparisons]


def _turned(one: Comparison) -> Comparison:
    signs = {"difference": -one.difference, "low": -one.high, "high": -one.low, "effect": -one.effect}
    return replace(one, better=one.worse, worse=one.better, **signs)


def differences(verdict: Verdict, measure: Metric) -> Figure | None:
    """How far each arm lies behind the winner, with 95% intervals; filled where that is resolved. None: no other arm."""
    winner, compared = behind(verdict)
    shown = [one for one in compared if math.isfinite(one.difference)][:MOST]
    if not shown:
        return None
    names = [wrapped(one.worse) for one in shown]
    figure, axes = subplots(0.85 + (0.42 if "\n" in "".join(names) else 0.34) * len(shown))
    axes.axvline(0, color=ink(), linewidth=1)
    left, right = _reach(shown)
    for place, one in enumerate(shown):
        colour = "C0" if one.resolved else "C1"
        dot = {"color": colour, "mfc": colour if one.resolved else paper(), "mew": 1.6, "ms": 7}
        known = math.isfinite(one.low) and math.isfinite(one.high)
        error = [[max(0.0, one.difference - one.low)], [max(0.0, one.high - one.difference)]] if known else None
        axes.errorbar(one.difference, place, xerr=error, fmt="o", capsize=4, **dot)
        if not left <= one.difference <= right:  # an arrow at the edge stands for what lies far outside
            axes.plot(left if one.difference < left else right, place, "<" if one.difference < left else ">", **dot)
    axes.set_yticks(range(len(shown)), names)
    air = 0.04 * (right - left)
    ends = {"xlim": (left - air, right + air), "ylim": (len(shown) - 0.5, -0.5)}
    axes.set(xlabel=f"{measure.measured_in or measure.name} behind\n{short(winner, NARROW)}", **ends)
    axes.grid(axis="y", visible=False)
    kinds = {"resolved": "C0" if any(one.resolved for one in shown) else ""}
    kinds["could be chance"] = "C1" if not all(one.resolved for one in shown) else ""
    below(figure, axes, **{name: _dot(colour, name == "resolved") for name, colour in kinds.items() if colour})
    return figure


def _reach(shown: Sequence[Comparison]) -> tuple[float, float]:
    """The ends of an axis of differences that one wide interval does not stretch."""
    far = [max(abs(x) for x in (one.difference, one.low, one.high) if math.isfinite(x)) for one in shown]
    most = 4 * float(np.median(far)) or max(far) or 1e-3
    ends = [x for one in shown for x in (0.0, one.difference, one.low, one.high) if math.isfinite(x)]
    return max(min(ends), -most), min(max(max(ends), 1e-9), most)


def _dot(colour: str, filled: bool) -> Line2D:
    return Line2D([], [], marker="o", color=colour, mfc=colour if filled else paper(), mew=1.6, ms=7)


def budgets(verdict: Verdict, measure: Metric) -> Figure | None:
    """Expected validation score of the best of k settings of each arm, with its spread; None where none was tuned."""
    found = [(name, [one for one in tried if math.isfinite(one.loss)]) for name, tried in verdict.budgets.items()]
    # The best of all its settings is what ranks an arm everywhere else, and gives it its colour.
    found = sorted(((name, tried) for name, tried in found if tried), key=lambda pair: pair[1][-1].loss)[:ARMS]
    most = max((tried[-1].settings for _, tried in found), default=0)
    if most < 2:
        return None
    figure, axes = subplots(HEIGHT)
    for place, (name, tried) in enumerate(found):
        shift = 0.05 * (place - (len(found) - 1) / 2) if most <= FEW else 0.0  # so that the bars stand side by side
        at, losses = [one.settings + shift for one in tried], [one.loss for one in tried]
        line(axes, place, at, losses, short(name))
        low, high = np.array([(one.low, one.high) for one in tried]).T
        if most <= FEW:
            known = np.isfinite(low) & np.isfinite(high)
            axes.vlines(np.array(at)[known], low[known], high[known], color=f"C{place}", linewidth=1.2, alpha=0.5)
        else:
            band(axes, place, at, low, high)
    unit = f" ({measure.measured_in})" if measure.measured_in else ""
    axes.set(
        xlabel="settings tried (k)",
        ylabel=f"validation {measure.name}{unit}",
        ylim=limits(room(one.loss for _, tried in found for one in tried)),
    )
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    upright(measure, axes.yaxis)
    below(figure, axes)
    return figure
