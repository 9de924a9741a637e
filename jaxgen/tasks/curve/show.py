"""What people see of a curve: the points, what they scatter around, and what the best trial makes of them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from jaxgen.fields import UserError
from jaxgen.report.style import BEST, HEIGHT, below, ink, subplots
from jaxgen.tasks.base import Section
from jaxgen.tasks.curve.config import MADE, SUNSPOTS
from jaxgen.tasks.curve.data import FIRST, TRUTHS, Points

PLACES = 400  # at which curves are drawn
ROOM = 0.5  # above and below the points, as a share of half their span; a polynomial that overfits leaves it
Floats = NDArray[np.floating[Any]]


def sections(task: Any, found: Any) -> list[Section]:
    """What the best trial says; none where no trial has ended, or the file is not there."""
    if found.best is None:
        return []
    config = found.best.config.data
    try:
        task = task.opened(config)
        parts = task.parts(config)
    except UserError:
        return []
    if task.series:
        first = FIRST + config.lags if config.path == SUNSPOTS else config.lags
        sizes = [len(part[1]) for part in (parts.train, parts.validation, parts.test)]
        y = np.concatenate([part[1] for part in (parts.train, parts.validation, parts.test)])
        said = np.concatenate([task.predict(found.best, part[0]) for part in (parts.validation, parts.test)])
        note = "What the best trial says of each value from those before it, on validation and test, beside what was."
        draw = functools.partial(series, y, said, first, sizes, task.target)
        return [Section("curve", "The series, and what is said of it", note, figure=draw)]
    train = Points(*parts.train)
    if train.x.shape[1] == 1:
        left, right = float(train.x.min()), float(train.x.max())
        x = np.linspace(left, right, PLACES, dtype=np.float32)
        said = task.predict(found.best, x[:, None])
        note = f"From {len(train.y)} training points. Whatever leaves the picture is far off."
        truth = TRUTHS[config.path](x) if config.path in MADE else None
        names = (task.columns[0], task.target)
        return [Section("curve", "The best trial's curve", note, figure=functools.partial(curve, train, x, said, truth, names))]
    test = Points(*parts.test)
    note = "Each test row: what it is, and what the best trial says. On the line both are the same."
    draw = functools.partial(beside, test.y, task.predict(found.best, test.x), task.target)
    return [Section("curve", "What is, and what is said", note, figure=draw)]


def curve(known: Points, x: Floats, said: Floats, truth: Floats | None, names: tuple[str, str]) -> Figure:
    """The points, the truth where it is known, and the prediction."""
    figure, axes = subplots(HEIGHT)
    ends = known.y if truth is None else np.append(known.y, truth)
    if truth is not None:
        axes.plot(x, truth, color=ink(), linestyle="--", linewidth=1.2, label="truth")
    axes.plot(x, said, color=BEST, label="best trial")
    axes.plot(known.x[:, 0], known.y, "o" if len(known.y) < PLACES else ".", color="C0", label="training points")
    low, high = float(ends.min()), float(ends.max())
    air = ROOM * (high - low) / 2
    axes.set(xlabel=names[0], ylabel=names[1], ylim=(low - air, high + air))
    below(figure, axes)
    return figure


def series(y: Floats, said: Floats, first: int, sizes: list[int], name: str) -> Figure:
    """A series' last values, and what is said of them."""
    figure, axes = subplots(HEIGHT)
    start = max(0, sizes[0] - sizes[1] - sizes[2])
    times = first + np.arange(len(y))
    axes.plot(times[start:], y[start:], color=ink(), linewidth=1.2, label="what was")
    axes.plot(times[sizes[0] :], said, color=BEST, label="best trial")
    for end in np.cumsum(sizes)[:-1]:
        axes.axvline(times[end] - 0.5, color=ink(), linewidth=0.6, linestyle=":")
    axes.set(xlabel="year" if first >= FIRST else "value", ylabel=name)
    below(figure, axes)
    return figure


def beside(y: Floats, said: Floats, name: str) -> Figure:
    """What is, across, and what is said, up."""
    figure, axes = subplots(4.0)
    ends = [float(min(y.min(), said.min())), float(max(y.max(), said.max()))]
    axes.plot(ends, ends, color=ink(), linewidth=0.8, linestyle="--")
    axes.plot(y, said, "o", color=BEST, markersize=3, alpha=0.6)
    axes.set(xlabel=name, ylabel="said by the best trial")
    return figure
