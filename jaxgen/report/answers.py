"""Pictures of a verdict: how far arms lie behind the winner, and what tuning them buys."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from jaxgen.judge.verdict import Comparison, Tried, Verdict
from jaxgen.report.style import ARMS, HEIGHT, band, below, colour, ink, limits, line, paper, room, subplots, upright
from jaxgen.report.text import short, wrapped
from jaxgen.tasks.metric import Metric

MOST = 15  # differences in one picture
LEAST = 5  # settings of an arm, of which the best of fewer would say something
NARROW = 42  # characters that fit below axes beside long names


def behind(verdict: Verdict) -> tuple[str, list[Comparison]]:
    """The winner, and its comparisons with it as the better arm: where another leads it, the difference is negative."""
    names = [one.better for one in verdict.comparisons] + [one.worse for one in verdict.comparisons]
    winner = max(Counter(names).items(), key=lambda one: one[1], default=("", 0))[0]  # each of the others is in one comparison
    return winner, [one if one.better == winner else _turned(one) for one in verdict.comparisons]


def _turned(one: Comparison) -> Comparison:
    signs = {"difference": -one.difference, "low": -one.high, "high": -one.low, "effect": -one.effect}
    return replace(one, better=one.worse, worse=one.better, **signs)


def differences(verdict: Verdict, measure: Metric, places: Mapping[str, int] | None = None) -> Figure | None:
    """How far each arm lies behind the winner, with 95% intervals; filled where that is resolved. None: no other arm.

    Args:
      places: of the arms, by their names: their looks.
    """
    winner, compared = behind(verdict)
    shown = [one for one in compared if math.isfinite(one.difference)][:MOST]
    if not shown:
        return None
    names = [wrapped(one.worse) for one in shown]
    figure, axes = subplots(0.85 + (0.42 if "\n" in "".join(names) else 0.34) * len(shown))
    axes.axvline(0, color=ink(), linewidth=1)
    left, right = reach(shown)
    off = False
    for place, one in enumerate(shown):
        dot = _dot(colour((places or {}).get(one.worse, 1 + place)), one.resolved)
        known = math.isfinite(one.low) and math.isfinite(one.high)
        error = [[max(0.0, one.difference - one.low)], [max(0.0, one.high - one.difference)]] if known else None
        axes.errorbar(one.difference, place, xerr=error, capsize=4, **dot)
        if not left <= one.difference <= right:  # an arrow at the edge stands for what lies far outside
            axes.plot(
                left if one.difference < left else right, place, **(dot | {"marker": "<" if one.difference < left else ">"})
            )
            off = True
    axes.set_yticks(range(len(shown)), names)
    air = 0.04 * (right - left)
    ends = {"xlim": (left - air, right + air), "ylim": (len(shown) - 0.5, -0.5)}
    axes.set(xlabel=f"{measure.measured_in or measure.name} behind\n{short(winner, NARROW)}", **ends)
    axes.grid(axis="y", visible=False)
    kinds = {"resolved": any(one.resolved for one in shown), "could be chance": not all(one.resolved for one in shown)}
    more = {name: Line2D([], [], **_dot(ink(), name == "resolved")) for name, there in kinds.items() if there}
    beyond = {"farther off": Line2D([], [], **{**_dot(ink(), True), "marker": ">"})} if off else {}
    below(figure, axes, **more, **beyond)
    return figure


def reach(shown: Sequence[Comparison]) -> tuple[float, float]:
    """The ends of an axis of differences that one wide interval does not stretch."""
    far = [max(abs(x) for x in (one.difference, one.low, one.high) if math.isfinite(x)) for one in shown]
    most = 4 * float(np.median(far)) or max(far) or 1e-3
    ends = [x for one in shown for x in (0.0, one.difference, one.low, one.high) if math.isfinite(x)]
    return max(min(ends), -most), min(max(max(ends), 1e-9), most)


def _dot(colour: str, filled: bool) -> dict[str, Any]:
    return {"marker": "o", "linestyle": "none", "color": colour, "mfc": colour if filled else paper(), "mew": 1.6, "ms": 7}


def tuned(verdict: Verdict) -> list[tuple[str, list[Tried]]]:
    """The arms of which it is known what the best of k settings comes to, the best ones first; none where none had LEAST."""
    found = [(name, [one for one in tried if math.isfinite(one.loss)]) for name, tried in verdict.budgets.items()]
    # The best of all its settings is what ranks an arm everywhere else, and gives it its colour.
    found = sorted(((name, tried) for name, tried in found if tried), key=lambda pair: pair[1][-1].loss)[:ARMS]
    most = max((tried[-1].settings for _, tried in found), default=0)
    return [] if most < LEAST else found


def budgets(verdict: Verdict, measure: Metric, places: Mapping[str, int] | None = None) -> Figure | None:
    """Expected validation score of the best of k settings of each arm, with its spread; None where none had LEAST of them.

    Args:
      places: of the arms, by their names: their looks.
    """
    found = tuned(verdict)
    if not found:
        return None
    figure, axes = subplots(HEIGHT)
    for order, (name, tried) in enumerate(found):
        place = (places or {}).get(name, order)
        at = [one.settings for one in tried]
        line(axes, place, at, [one.loss for one in tried], name)
        band(axes, place, at, [one.low for one in tried], [one.high for one in tried])
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
