"""What people see of points: the boundary that the best trial draws between two kinds, and how it came there."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from jaxgen.fields import UserError
from jaxgen.report.style import paper, subplots
from jaxgen.tasks.base import Section
from jaxgen.tasks.points.data import Points
from jaxgen.tasks.rows import parts_of

ACROSS = 120  # places of a picture, along either axis
SHOWN = 400  # points
AIR = 0.15  # about the points, as a share of their span
FRAMES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)  # of the steps to the best one
Floats = NDArray[np.floating[Any]]


def sections(task: Any, found: Any) -> list[Section]:
    """The boundary of the best trial, and how it came there; none where no trial has ended, or points are not of the plane."""
    if found.best is None:
        return []
    try:
        train = Points(*parts_of(task, found.best.config.data).train)
    except UserError:  # the file is not there
        return []
    if train.x.shape[1] != 2:
        return []
    best = found.best
    places, extent = plane(train.x)
    steps = sorted({round(share * found.results.best_row().best_step) for share in FRAMES})
    said = functools.cache(lambda: frames(task, best, places, steps))
    return [
        Section(
            "boundary",
            "The boundary between the two kinds",
            "Of the best trial, over training points: the darker, the surer it is of a kind.",
            figure=lambda: board(task, train, [said()[-1]], [""], extent),
            place="answer",
        ),
        Section(
            "frames",
            "How the boundary came there",
            "The best trial, trained again: what it says before the first step, and after more and more of them.",
            figure=lambda: board(task, train, said(), [f"step {step:,}" for step in steps], extent),
        ),
    ]


def plane(x: Floats) -> tuple[NDArray[np.float32], tuple[float, float, float, float]]:
    """Places (ACROSS * ACROSS, 2) row after row, upwards, where points (N, 2) lie; and their ends: left, right, bottom, top."""
    low, high = x.min(0), x.max(0)
    air = AIR * (high - low)
    (left, bottom), (right, top) = (low - air).tolist(), (high + air).tolist()
    across, up = np.meshgrid(np.linspace(left, right, ACROSS), np.linspace(bottom, top, ACROSS))
    return np.stack([across.ravel(), up.ravel()], 1).astype(np.float32), (left, right, bottom, top)


def frames(task: Any, trained: Any, places: NDArray[np.float32], steps: Sequence[int]) -> list[Floats]:
    """The probability of kind 1 at each place, (places,), after each number of steps of a trial that is trained again."""
    import jax

    from jaxgen.train import optimizers
    from jaxgen.train import trial as trials

    task = task.opened(trained.config.data)
    functions, rows = task.functions(), parts_of(task, trained.config.data).train
    config = optimizers.lower(trained.config, len(rows[1]), count=max(1, steps[-1]))

    @jax.jit
    def on(state: Any, more: Any) -> Any:
        return jax.lax.fori_loop(
            0, more, lambda _, s: trials.update(functions, config, s, trials.draw(functions, rows, config, s.step))[0], state
        )

    @jax.jit
    def said(state: Any) -> Any:
        return jax.nn.sigmoid(task.apply(config, state.params, state.stats, places, False)[0])

    state, at, found = trials.init(functions, config, trials.stream(trained.config.seed, trials.Stream.START)), 0, []
    for step in steps:
        state, at = on(state, step - at), step
        found.append(np.asarray(said(state)))
    return found


def board(
    task: Any, train: Points, said: Sequence[Floats], titles: Sequence[str], extent: tuple[float, float, float, float]
) -> Figure:
    """What is said of the plane, frame by frame, under the training points."""
    across = min(3, len(said))
    down = -(-len(said) // across)
    figure, grid = subplots(4.0 if across == 1 else 1.8 * down, rows=down, columns=across, squeeze=False)
    shown = slice(SHOWN)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, shares, title in zip(grid.flat, said, titles, strict=False):
        axes.imshow(
            shares.reshape(ACROSS, ACROSS),
            origin="lower",
            extent=extent,
            aspect="auto",
            cmap="RdBu_r",
            vmin=0,
            vmax=1,
            alpha=0.75,
        )
        with np.errstate(all="ignore"):
            if shares.min() < 0.5 < shares.max():
                axes.contour(shares.reshape(ACROSS, ACROSS), [0.5], colors=["black"], linewidths=1.2, extent=extent)
        for kind, (colour, marker) in enumerate((("#0072B2", "o"), ("#D55E00", "s"))):
            mine = train.x[shown][train.y[shown] == kind]
            axes.scatter(*mine.T, s=14 if across == 1 else 4, c=colour, marker=marker, edgecolors=paper(), linewidths=0.3)
        axes.set_title(title, fontsize=9)
    return figure
