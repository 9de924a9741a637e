"""Pictures of losses: learning curves, and sensitivity to the learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from jaxgen.judge.naming import arm_names, named
from jaxgen.judge.results import Arm, Results, Scalar
from jaxgen.report.arms import Contender, contenders, standing
from jaxgen.report.style import (
    ARMS,
    HEIGHT,
    axis,
    band,
    below,
    colour,
    ink,
    limits,
    line,
    logarithmic,
    look,
    room,
    subplots,
    upright,
)
from jaxgen.report.text import short

RATE = "optimizer.learning_rate"
MANY = 12  # rates that a line joins
MOST = 400  # rates that one picture can tell apart
CLOSE = 0.03  # of the picture's height: lines whose ends lie nearer to each other lie on one another


@dataclass(frozen=True)
class Course:
    """An arm's scores by step, of the trials at its best setting that did not diverge (of all, if all did); less is better."""

    place: int
    name: str
    arm: Arm
    steps: list[int]
    """(S,) that each of the trials reached."""
    validation: NDArray[np.float64]
    """(N, S), a row a trial."""
    training: NDArray[np.float64]
    """The same; nan where it was not measured."""
    seeds: tuple[int, ...]
    """(N,)"""

    @property
    def falling(self) -> bool:
        """Whether most of its trials were the best at the end of their budget."""
        ended = [row for row in self.arm.sound if row.status == "completed"]
        return 2 * sum(row.best_step == row.steps for row in ended) > len(self.arm.rows)


def courses(results: Results, most: int = ARMS) -> list[Course]:
    """How the best of what is compared came to where they are; without those that were never evaluated."""
    found = contenders(results, most)
    rows = [one.arm.sound or list(one.arm.rows) for one in found]
    of_trial: dict[int, dict[int, tuple[float, float]]] = {row.trial: {} for some in rows for row in some}
    for curve in results.curves:  # once for all arms: there may be many
        if curve.trial in of_trial and math.isfinite(cost := results.cost(curve)):
            of_trial[curve.trial][curve.step] = cost, results.measure.sign * results.selected(curve, "train")
    return [course for one, some in zip(found, rows, strict=True) if (course := _course(one, some, of_trial)).steps]


def _course(one: Contender, rows: Sequence[Any], of_trial: Mapping[int, Mapping[int, tuple[float, float]]]) -> Course:
    each = [of_trial[row.trial] for row in rows]
    steps = sorted(set.intersection(*map(set, each)))
    scores = np.array([[of[step] for step in steps] for of in each]).reshape(len(each), len(steps), 2)
    return Course(one.place, one.name, one.arm, steps, scores[..., 0], scores[..., 1], tuple(row.seed for row in rows))


def behind_the_first(found: Sequence[Course]) -> list[tuple[Course, list[int], NDArray[np.float64]]]:
    """How far each course lies behind the first one at the steps and the seeds that both have: steps, (N, S); not the first."""
    first, *others = found
    compared = []
    for one in others:
        steps = sorted({*one.steps} & {*first.steps})
        seeds = sorted({*one.seeds} & {*first.seeds})
        if steps and seeds:
            mine, its = (_at(course, steps, seeds) for course in (one, first))
            compared.append((one, steps, mine - its))
    return compared


def _at(course: Course, steps: Sequence[int], seeds: Sequence[int]) -> NDArray[np.float64]:
    rows = [course.seeds.index(seed) for seed in seeds]
    return course.validation[np.ix_(rows, [course.steps.index(step) for step in steps])]


def inside(found: Sequence[Course]) -> tuple[float, float]:
    """The ends of an axis for courses: the first evaluations lie high above all that tells the arms apart."""
    ends = room((float(loss) for one in found for loss in one.validation.flat), stretch=3)
    assert ends is not None
    lowest = min((float(loss) for one in found for loss in one.training.flat if math.isfinite(loss)), default=ends[0])
    framed = limits((min(ends[0], lowest), ends[1]))
    assert framed is not None
    return framed


def overlapping(found: Sequence[Course]) -> bool:
    """Whether most lines end so near to the next one that a picture cannot tell them apart."""
    last = sorted(float(one.validation[:, -1].mean()) for one in found)
    low, high = inside(found)
    return len(last) > 1 and float(np.median(np.diff(last))) < CLOSE * (high - low)


def curves(results: Results) -> Figure | None:
    """Validation loss by step of what is compared: the mean over seeds, a band from the lowest to the highest, training dashed.

    Below it, where lines lie on one another, how far each lies behind the first at the same seeds. None where nothing was
    evaluated.
    """
    found = courses(results)
    if not found:
        return None
    apart = behind_the_first(found) if overlapping(found) else []
    figure, grid = subplots(HEIGHT * (1.75 if apart else 1), rows=2 if apart else 1, sharex=True, squeeze=False)
    axes = grid[0, 0]
    for one in found:
        line(axes, one.place, one.steps, one.validation.mean(0), one.name)
        band(axes, one.place, one.steps, one.validation.min(0), one.validation.max(0))
    more: dict[str, Line2D] = {}
    for one in found:
        if np.isfinite(one.training).any():
            axes.plot(one.steps, one.training.mean(0), "--", color=colour(one.place), linewidth=1.1, alpha=0.8)
            more["training"] = Line2D([], [], linestyle="--", color=ink(), linewidth=1.1)
    low, high = inside(found)
    for one in found:
        last = one.validation[:, -1].mean()
        if one.falling and low <= last <= high:  # one far outside would take the picture's room
            axes.plot(one.steps[-1], last, **_mark(colour(one.place)))
            more[falling(results)] = Line2D([], [], **_mark(ink()))
    axes.set(ylabel=axis(results), ylim=(low, high))
    upright(results.measure, axes.yaxis)
    if apart:
        _apart(grid[1, 0], apart, found[0], results)
    grid[-1, 0].set_xlabel("step")
    below(figure, axes, **more)
    return figure


def falling(results: Results) -> str:
    """What is said of a line that ends at its best."""
    return f"still {'rising' if results.measure.higher_is_better else 'falling'} at the end"


def _mark(colour: str) -> dict[str, Any]:
    return {"marker": "v", "linestyle": "none", "ms": 10, "mfc": "none", "mec": colour, "mew": 1.8, "clip_on": False}


def _apart(axes: Any, apart: Sequence[tuple[Course, list[int], NDArray[np.float64]]], first: Course, results: Results) -> None:
    """Differences from the first course, with the bands of the seeds."""
    axes.axhline(0, color=colour(first.place), linewidth=1.7)
    for one, steps, behind in apart:
        line(axes, one.place, steps, behind.mean(0), one.name)
        band(axes, one.place, steps, behind.min(0), behind.max(0))
    low, high = room((float(x) for _, _, behind in apart for x in behind.mean(0)), stretch=3) or (0.0, 0.0)
    axes.set(ylabel=f"behind\n{short(first.name, 24)}", ylim=limits((min(low, 0.0), max(high, 0.0))))


@dataclass(frozen=True)
class Rates:
    """One line of the picture of learning rates: by rate its best setting of all other keys."""

    place: int
    name: str
    arms: Mapping[float, Arm]


def at_rates(results: Results) -> list[Rates]:
    """What is compared, the best first, by learning rate. A line has the look of the best arm on it."""
    found, names = standing(results), arm_names(results)
    looks = {tuple(one.arm.values.items()): one.place for one in contenders(results)}
    keys = [key for key in names.keys if key != RATE]
    if not results.question.arms:  # a line for each value of a key that was drawn at random would be no line
        keys = [key for key in keys if len({arm.values.get(key) for arm in found}) <= ARMS]
    lines: dict[tuple[Scalar, ...], dict[float, Arm]] = {}
    best: dict[tuple[Scalar, ...], int] = {}
    for arm in found:
        rate = arm.values.get(RATE)
        if isinstance(rate, int | float) and rate > 0:
            at = tuple(arm.values.get(key) for key in keys)
            lines.setdefault(at, {}).setdefault(float(rate), arm)
            place = looks.get(tuple(arm.values.items()), len(found))
            best[at] = min(best.get(at, place), place)
    own = keys == list(names.keys)
    points = [dict(zip(keys, at, strict=True)) for at in lines]
    said = [names(point) for point in points] if own else named(points) if keys else ["all trials"] * len(points)
    return [
        Rates(best[at], name, _some(dict(sorted(arms.items())))) for name, (at, arms) in zip(said, lines.items(), strict=True)
    ]


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
    lines = at_rates(results)[:ARMS]
    inside = reach(lines)
    if inside is None:
        return None
    figure, axes = subplots(HEIGHT)
    crosses = []
    for row, one in enumerate(lines):
        sound = {rate: [row.score for row in arm.sound] for rate, arm in one.arms.items() if arm.sound}
        means = [float(np.mean(losses)) for losses in sound.values()]
        low, high = [min(losses) for losses in sound.values()], [max(losses) for losses in sound.values()]
        if len(one.arms) <= MANY:
            line(axes, one.place, list(sound), means, one.name)
            band(axes, one.place, list(sound), low, high)
        else:
            axes.plot(list(sound), means, linestyle="none", **look(one.place), label=short(one.name))
            axes.vlines(list(sound), low, high, color=colour(one.place), linewidth=1.2, alpha=0.5)
        bad = {rate: arm for rate, arm in one.arms.items() if len(arm.sound) < len(arm.rows)}
        top = inside[1] - 0.035 * (1 + row) * (inside[1] - inside[0])  # one below the other where several do at one rate
        heights = [arm.mean("score") if arm.sound else top for arm in bad.values()]
        crosses += axes.plot(list(bad), heights, "x", color=colour(one.place), ms=9, mew=2.2) if bad else []
    axes.set(xlabel="learning rate", ylabel=axis(results), ylim=inside)
    logarithmic(axes, {rate for one in lines for rate in one.arms})
    upright(results.measure, axes.yaxis)
    cross = Line2D([], [], marker="x", linestyle="none", color=ink(), ms=8, mew=2)
    below(figure, axes, **({"diverged": cross} if crosses else {}))
    return figure


def reach(lines: Sequence[Rates]) -> tuple[float, float] | None:
    """The ends of an axis of scores; None unless two rates were tried, and one of them did not diverge."""
    if len({rate for one in lines for rate in one.arms}) < 2:
        return None
    return limits(room(score for one in lines for arm in one.arms.values() for score in _ends(arm)))


def _ends(arm: Arm) -> list[float]:
    """A setting's mean and its best seed, so that no band is cut at the bottom."""
    return [arm.mean("score"), min((row.score for row in arm.sound), default=math.inf)]
