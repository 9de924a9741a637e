"""Pictures of losses: learning curves, and sensitivity to the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from jaxgen.judge.results import Arm, Results, Scalar
from jaxgen.report.style import (
    ARMS,
    HEIGHT,
    MARKERS,
    axis,
    band,
    below,
    contenders,
    ink,
    limits,
    line,
    logarithmic,
    room,
    subplots,
    upright,
)
from jaxgen.report.text import named

RATE = "optimizer.learning_rate"
MANY = 12  # rates that a line joins
MOST = 400  # rates that one picture can tell apart


def evaluations(results: Results, arms: Sequence[Arm]) -> Iterator[tuple[list[int], NDArray[np.float64]]]:
    """Validation scores of each arm's seeds that did not diverge (of all, if all did), at the steps that each of them reached.

    Yields:
      for each arm the S steps, and (N, S) losses, a row a seed.
    """
    trials = [[row.trial for row in (arm.sound or arm.rows)] for arm in arms]
    of_trial: dict[int, dict[int, float]] = {trial: {} for some in trials for trial in some}
    for curve in results.curves:  # once for all arms: there may be many
        if curve.trial in of_trial and math.isfinite(results.cost(curve)):
            of_trial[curve.trial][curve.step] = results.cost(curve)
    for some in trials:
        each = [of_trial[trial] for trial in some]
        steps = sorted(set.intersection(*map(set, each)))
        yield steps, np.array([[losses[step] for step in steps] for losses in each]).reshape(len(each), -1)


def curves(results: Results) -> Figure | None:
    """Validation loss by step of what is compared: the mean over seeds, and a band from the lowest to the highest.

    None where no trial has ended that was evaluated.
    """
    names, arms = [list(part) for part in zip(*contenders(results, ARMS), strict=True)] or ([], [])
    drawn = zip(names, evaluations(results, arms), strict=True)
    shown = [(name, steps, losses) for name, (steps, losses) in drawn if steps]
    if not shown:
        return None
    figure, axes = subplots(HEIGHT)
    for place, (name, steps, losses) in enumerate(shown):
        line(axes, place, steps, losses.mean(0), name)
        band(axes, place, steps, losses.min(0), losses.max(0))
    # The first evaluations lie high above all that tells the arms apart.
    inside = limits(room((float(loss) for _, _, losses in shown for loss in losses.flat), stretch=3))
    axes.set(xlabel="step", ylabel=axis(results), ylim=inside)
    upright(results.measure, axes.yaxis)
    below(figure, axes)
    return figure


def _at_rates(results: Results) -> list[tuple[str, dict[float, Arm]]]:
    """What is compared, the best first: its label, and by learning rate its best setting of all other keys."""
    arms = results.leaderboard()
    keys = [key for key in results.question.arms or results.keys if key != RATE]
    if not results.question.arms:  # a line for each value of a key that was drawn at random would be no line
        keys = [key for key in keys if len({arm.values.get(key) for arm in arms}) <= ARMS]
    lines: dict[tuple[Scalar, ...], tuple[str, dict[float, Arm]]] = {}
    for arm in arms:
        rate = arm.values.get(RATE)
        if isinstance(rate, int | float) and rate > 0:
            values = {key: arm.values.get(key) for key in keys}
            name = named(values) if keys else "all trials"
            lines.setdefault(tuple(values.values()), (name, {}))[1].setdefault(float(rate), arm)
    return [(name, _some(dict(sorted(arms.items())))) for name, arms in lines.values()]


def _some(arms: dict[float, Arm]) -> dict[float, Arm]:
    """At most MOST of many rates: the best one, and others evenly between the lowest and the highest."""
    if len(arms) <= MOST:
        return arms
    best = min(arms, key=lambda rate: arms[rate].mean("score"))
    places = {round(place * (len(arms) - 1) / (MOST - 1)) for place in range(MOST)}
    return {rate: arm for place, (rate, arm) in enumerate(arms.items()) if place in places or rate == best}


def rates(results: Results) -> Figure | None:
    """Validation loss by learning rate, a line for each of what is compared: mean over seeds, and a band over them.

    At each rate the best setting of the other keys counts; many rates are dots and bars. A cross is a rate at which trials of
    that setting diverged, at the top where all did. None unless two rates were tried, and one of them did not diverge.
    """
    lines = _at_rates(results)[:ARMS]
    tried = {rate for _, arms in lines for rate in arms}
    inside = limits(room(arm.mean("score") for _, arms in lines for arm in arms.values()))
    if len(tried) < 2 or inside is None:
        return None
    figure, axes = subplots(HEIGHT)
    crosses = []
    for place, (name, arms) in enumerate(lines):
        sound = {rate: [row.score for row in arm.sound] for rate, arm in arms.items() if arm.sound}
        means = [float(np.mean(losses)) for losses in sound.values()]
        low, high = [min(losses) for losses in sound.values()], [max(losses) for losses in sound.values()]
        if len(arms) <= MANY:
            line(axes, place, list(sound), means, name)
            band(axes, place, list(sound), low, high)
        else:
            axes.plot(list(sound), means, MARKERS[place], color=f"C{place}", label=name)
            axes.vlines(list(sound), low, high, color=f"C{place}", linewidth=1.2, alpha=0.5)
        bad = {rate: arm for rate, arm in arms.items() if len(arm.sound) < len(arm.rows)}
        top = inside[1] - 0.035 * (1 + place) * (inside[1] - inside[0])  # one below the other where several do at one rate
        heights = [arm.mean("score") if arm.sound else top for arm in bad.values()]
        crosses += axes.plot(list(bad), heights, "x", color=f"C{place}", ms=9, mew=2.2) if bad else []
    axes.set(xlabel="learning rate", ylabel=axis(results), ylim=inside)
    logarithmic(axes, tried)
    upright(results.measure, axes.yaxis)
    cross = Line2D([], [], marker="x", linestyle="none", color=ink(), ms=8, mew=2)
    below(figure, axes, **({"diverged": cross} if crosses else {}))
    return figure
