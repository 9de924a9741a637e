"""The benchmark's picture, from its numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from jaxgen.report.style import COLOURS, LIGHT


def draw(rates: Mapping[str, float], own: Sequence[str], widths: Mapping[int, float], hidden: Mapping[int, float]) -> Figure:
    """Speeds beside each other, and how a step's cost grows.

    Args:
      rates: trial-steps a second of each subject, by its name.
      own: which of these are jaxgen's.
      widths: width -> microseconds a trial-step.
      hidden: units in a hidden layer -> microseconds a trial-step.
    """
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    with mpl.rc_context(LIGHT):  # axes take their style when they are made
        left, middle, right = figure.subplots(1, 3, width_ratios=(2, 1, 1))
    names = list(rates)[::-1]
    bars = left.barh(names, [rates[n] for n in names], color=[COLOURS[0] if n in own else COLOURS[1] for n in names])
    left.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
    left.margins(x=0.15)
    left.grid(axis="y", visible=False)
    left.set(xlabel="trial-steps a second", title="Speed at batch 32 (blue: jaxgen)")
    for axes, points, label in ((middle, widths, "width (lanes)"), (right, hidden, "units in a hidden layer")):
        axes.plot(list(points), list(points.values()), marker="o", color=COLOURS[0])
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(points), [str(point) for point in points])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set(xlabel=label, ylabel="microseconds a trial-step", title="Cost of a step")
    return figure
