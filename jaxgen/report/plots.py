"""The pictures of a run, each a matplotlib figure, from its results alone."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.figure import Figure

from jaxgen.files import write, writing
from jaxgen.results import Results, label

ARMS = 8  # arms that one picture can tell apart
# Okabe and Ito's colours, which colour-blind people can tell apart; black last.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#B8A800", "#000000")
RATE = "optimizer.learning_rate"
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.prop_cycle": cycler(color=COLOURS),
}


def plain(text: str) -> str:
    """Text that matplotlib shows as it is: a dollar sign would start a formula."""
    return text.replace("$", r"\$")


def curves(results: Results) -> Figure:
    """Validation loss by step of the best arms: the mean over seeds, and a band from the lowest to the highest."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    by_trial: dict[int, list[tuple[int, float]]] = {}
    for curve in results.curves:
        by_trial.setdefault(curve.trial, []).append((curve.step, curve.val_loss))
    for place, arm in enumerate(results.leaderboard()[:ARMS]):
        points: dict[int, list[float]] = {}
        for row in arm.rows:
            for step, loss in by_trial.get(row.trial, []):
                if math.isfinite(loss):
                    points.setdefault(step, []).append(loss)
        steps = sorted(points)
        colour = COLOURS[place]
        axes.plot(steps, [float(np.mean(points[s])) for s in steps], color=colour, label=plain(label(arm.values)))
        axes.fill_between(
            steps,
            [min(points[s]) for s in steps],
            [max(points[s]) for s in steps],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
    axes.set(xlabel="step", ylabel="validation loss (nats a character)", title="Learning curves of the best arms")
    if results.rows:
        axes.legend(fontsize=8)
    return figure


def rates(results: Results) -> Figure | None:
    """Final validation loss by learning rate, a line for each setting of the other keys; None unless the rate varies."""
    if RATE not in results.keys:
        return None
    lines: dict[str, list[tuple[float, float]]] = {}
    for arm in results.leaderboard():
        rest = {key: value for key, value in arm.values.items() if key != RATE}
        if math.isfinite(arm.mean("val_loss")) and arm.values[RATE] is not None:
            lines.setdefault(label(rest) if rest else "validation loss", []).append((arm.values[RATE], arm.mean("val_loss")))
    if not lines or len(lines) > ARMS:
        return None
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for place, (name, points) in enumerate(lines.items()):
        axes.plot(*zip(*sorted(points), strict=True), marker="o", color=COLOURS[place], label=plain(name))
    axes.set(
        xscale="log",
        xlabel="learning rate",
        ylabel="validation loss (nats a character)",
        title="Sensitivity to the learning rate",
    )
    axes.legend(fontsize=8)
    return figure


FIGURES = {"curves": curves, "learning_rate": rates}


def png(figure: Figure, path: Path) -> None:
    """Writes a picture.

    Raises:
      UserError: if the disk is full or fails.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    write(path, picture.getvalue())


def save(results: Results, folder: Path) -> list[Path]:
    """Writes the run's pictures as PNG and returns their paths; a picture that does not apply is left out.

    Raises:
      UserError: if the disk is full or fails.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with mpl.rc_context(STYLE):
        for name, draw in FIGURES.items():
            figure = draw(results)
            path = folder / f"{name}.png"
            if figure is None:
                with writing(path):
                    path.unlink(missing_ok=True)
                continue
            png(figure, path)
            paths.append(path)
    return paths
