"""What people see of a curve: the points, what they scatter around, and what the best trial makes of them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from jaxgen.report.style import BEST, HEIGHT, below, ink, subplots
from jaxgen.tasks.base import Section
from jaxgen.tasks.curve.data import Points, truth
from jaxgen.tasks.rows import parts_of

PLACES = 400  # at which curves are drawn
ROOM = 0.5  # above and below the points; a polynomial that overfits leaves it


def sections(task: Any, found: Any) -> list[Section]:
    """The best trial's curve; none where no trial has ended."""
    if found.best is None:
        return []
    known = Points(*parts_of(task, found.best.config.data).train)
    x = np.linspace(0, 1, PLACES, dtype=np.float32)
    said = task.predict(found.best, x[:, None])
    note = f"From {len(known.y)} training points. Whatever leaves the picture is far off."
    return [Section("curve", "The best trial's curve", note, figure=functools.partial(curve, known, x, said))]


def curve(known: Points, x: NDArray[np.floating[Any]], said: NDArray[np.floating[Any]]) -> Figure:
    """The points, the sine and the prediction."""
    figure, axes = subplots(HEIGHT)
    axes.plot(x, truth(x), color=ink(), linestyle="--", linewidth=1.2, label="truth")
    axes.plot(x, said, color=BEST, label="best trial")
    axes.plot(known.x[:, 0], known.y, "o", color="C0", label="training points")
    low, high = min(-1.0, float(known.y.min())), max(1.0, float(known.y.max()))
    axes.set(xlabel="x", ylabel="y", ylim=(low - ROOM, high + ROOM))
    below(figure, axes)
    return figure
