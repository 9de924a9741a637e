"""What people see of digits: which are taken for which, and the images that the best trial gets wrong."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from jaxgen.fields import UserError
from jaxgen.report.style import contrast, ink, subplots
from jaxgen.tasks.base import Section
from jaxgen.tasks.digits.data import CLASSES, INK, Images
from jaxgen.tasks.rows import parts_of

SHOWN, ACROSS = 24, 6  # images that are shown, and in a row


def sections(task: Any, found: Any) -> list[Section]:
    """The best trial's confusions on the test images, and those that it gets wrong; none where no trial has ended."""
    if found.best is None:
        return []
    try:
        test = Images(*parts_of(task, found.best.config.data).test)
    except UserError:  # the bundled file is not there
        return []
    said = np.argmax(task.predict(found.best, test.images), -1)
    wrong = np.flatnonzero(said != test.labels)
    first = wrong[:SHOWN]
    shown = f"; the first {SHOWN} of them" if len(wrong) > SHOWN else ""
    return [
        Section(
            "confusion",
            "Which digit is taken for which",
            f"By the best trial, of the {len(said)} test images: {len(wrong)} are taken for another digit.",
            figure=functools.partial(confusion, test.labels, said),
        ),
        Section(
            "wrong",
            "Images that the best trial gets wrong",
            f"Of the test part{shown}." if len(wrong) else "There are none.",
            figure=functools.partial(images, Images(test.images[first], test.labels[first]), said[first]),
        ),
    ]


def counted(labels: NDArray[np.integer[Any]], said: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """How many images of each digit (down) are said to be which one (across): (10, 10)."""
    return np.bincount(labels * CLASSES + said, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def confusion(labels: NDArray[np.integer[Any]], said: NDArray[np.integer[Any]]) -> Figure:
    """`counted` in cells, coloured by the share of a digit's images; what never happens is left blank."""
    counts = counted(labels, said)
    figure, axes = subplots(4.6)
    shares = np.where(counts > 0, counts / np.maximum(counts.sum(1, keepdims=True), 1), np.nan)
    image = axes.imshow(shares, vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = contrast(image.to_rgba(np.array([shares[row, column]]))[0])
            axes.text(column, row, str(count), ha="center", va="center", fontsize=9, color=colour)
    axes.set(xlabel="what the trial says", ylabel="digit", xticks=range(CLASSES), yticks=range(CLASSES))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def images(wrong: Images, said: NDArray[np.integer[Any]]) -> Figure | None:
    """Images with their digits and what is said instead; None where there are none."""
    if not len(said):
        return None
    down = -(-len(said) // ACROSS)
    figure, board = subplots(1.1 * down, rows=down, columns=ACROSS, squeeze=False)
    for axes in board.flat:
        axes.set_axis_off()
    for axes, image, label, other in zip(board.flat, wrong.images, wrong.labels, said, strict=False):
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=INK)
        axes.set_title(f"{label} taken for {other}", fontsize=9, color=ink())
    return figure
