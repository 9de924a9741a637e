"""What people see of images: which class is taken for which, what the best trial gets wrong, and what it looks at."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from jaxgen.fields import UserError, register
from jaxgen.report.style import contrast, ink, subplots
from jaxgen.tasks.base import Section
from jaxgen.tasks.digits.images import Images
from jaxgen.tasks.rows import parts_of

SHOWN, ACROSS = 24, 6  # images that are shown, and in a row
FILTERS, FILTERS_ACROSS = 32, 8  # of a first layer, that are shown, and in a row
MAPS = 8  # of what a block's channels see, that are shown
LOOKED_AT = 6  # images of whose pixels is shown which matter
BRIEF = 9  # letters of a class's name below an image
Labels = NDArray[np.integer[Any]]


def sections(task: Any, found: Any) -> list[Section]:
    """The best trial's confusions on the test images, those that it gets wrong, and what it looks at; none where no trial has
    ended."""
    if found.best is None:
        return []
    try:
        test = Images(*parts_of(task, found.best.config.data).test)
        task = found.best.task
        said = np.argmax(task.predict(found.best, test.images), -1)
    except UserError:  # the images are not there, or others
        return []
    wrong = np.flatnonzero(said != test.labels)
    first = wrong[:SHOWN]
    shown = f"; the first {SHOWN} of them" if len(wrong) > SHOWN else ""
    return [
        Section(
            "confusion",
            "Which class is taken for which",
            f"By the best trial, of the {len(said)} test images: {len(wrong)} are taken for another class.",
            figure=functools.partial(confusion, test.labels, said, task.classes),
        ),
        Section(
            "wrong",
            "Images that the best trial gets wrong",
            f"Of the test part{shown}." if len(wrong) else "There are none.",
            figure=functools.partial(images, Images(test.images[first], test.labels[first]), said[first], task.classes),
        ),
        *_insides(task, found.best, test),
    ]


def _insides(task: Any, best: Any, test: Images) -> list[Section]:
    """What the first layer's units answer to, which pixels matter, and what each convolution makes of an image."""
    family = best.config.model.family
    firsts = [int(np.argmax(test.labels == label)) for label in np.unique(test.labels)][:LOOKED_AT]
    some = Images(test.images[firsts], test.labels[firsts])
    what = "the weights of each class" if family == "logistic" else "the weights of its first units"
    made = [
        Section(
            "filters",
            "What the first layer answers to",
            f"Of the best trial, {what}: red raises a unit's value, blue lowers it.",
            figure=functools.partial(filters, weights(task, best), task.classes if family == "logistic" else ()),
            place="insides",
        ),
        Section(
            "saliency",
            "Which pixels matter",
            "Below some test images, how much the score of their class changes with each pixel (the size of its gradient; "
            "Simonyan et al. 2014).",
            figure=functools.partial(salient, some, saliency(task, best, some), task.classes),
            place="insides",
        ),
    ]
    if family == "cnn":
        made.append(
            Section(
                "convolutions",
                "What each convolution sees",
                f"An image, and below it what the first {MAPS} channels of each block make of it.",
                figure=functools.partial(convolutions, some.images[0], seen(task, best, some.images[:1])),
                place="insides",
            )
        )
    return made


# Computed. ------------------------------------------------------------------------------------------------------------------


def counted(labels: Labels, said: Labels, classes: int) -> NDArray[np.intp]:
    """How many images of each class (down) are said to be of which one (across): (classes, classes)."""
    return np.bincount(labels * classes + said, minlength=classes**2).reshape(classes, classes)


def weights(task: Any, best: Any) -> NDArray[np.floating[Any]]:
    """The weights of the first layer's units as images: (units, H, W), or (units, H, W, C) in colour."""
    shape = task.like.shape[1:]
    if best.config.model.family != "cnn":
        return np.asarray(best.params["dense_0"]["kernel"]).T.reshape(-1, *shape)
    kernel = best.config.model.kernel
    found = np.asarray(best.params["block_0"]["conv"]["kernel"]).T  # (units, kernel * kernel * C)
    return found.reshape(-1, kernel, kernel, *shape[2:])


def saliency(task: Any, best: Any, images: Images) -> NDArray[np.floating[Any]]:
    """The size of the gradient of the score of each image's class by its pixels: (N, H, W), in colour the largest of three."""
    import jax
    import jax.numpy as jnp

    def scores(x: jax.Array) -> jax.Array:
        outputs, _ = task.apply(_of_network(best.config), best.params, best.stats, x, False)
        return outputs[jnp.arange(len(images.labels)), images.labels].sum()

    found = np.abs(np.asarray(jax.jit(jax.grad(scores))(images.images.astype(np.float32))))
    return found if found.ndim == 3 else found.max(-1)


def seen(task: Any, best: Any, images: NDArray[np.uint8]) -> list[NDArray[np.floating[Any]]]:
    """What each block's channels make of images, before the pooling: block after block, (N, H, W, channels)."""
    import jax

    from jaxgen.tasks.digits.model import SEEN, made

    module = made(_of_network(best.config).model, len(task.classes))

    def looked(x: jax.Array) -> Any:
        variables = {"params": best.params, **best.stats}
        return module.apply(variables, x / task.ink, train=False, mutable=["intermediates"])[1]["intermediates"]

    found = jax.device_get(jax.jit(looked)(images))
    return [found[f"block_{place}"][SEEN][0] for place in range(best.config.model.blocks)]


def _of_network(config: Any) -> Any:
    register(type(config))
    return dataclasses.replace(config, data=None, optimizer=None)  # of which a network knows nothing


# Drawn. ---------------------------------------------------------------------------------------------------------------------


def confusion(labels: Labels, said: Labels, classes: Sequence[str]) -> Figure:
    """`counted` in cells, coloured by the share of a class's images; what never happens is left blank."""
    counts = counted(labels, said, len(classes))
    figure, axes = subplots(4.6)
    shares = np.where(counts > 0, counts / np.maximum(counts.sum(1, keepdims=True), 1), np.nan)
    image = axes.imshow(shares, vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        if count and len(classes) <= 2 * FILTERS:
            colour = contrast(image.to_rgba(np.array([shares[row, column]]))[0])
            axes.text(column, row, str(count), ha="center", va="center", fontsize=9, color=colour)
    places = range(len(classes))
    axes.set(xlabel="what the trial says", ylabel="class", xticks=places, yticks=places)
    axes.set_yticklabels(classes)
    axes.set_xticklabels(classes, rotation=90 if max(map(len, classes)) > 2 else 0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def images(wrong: Images, said: Labels, classes: Sequence[str]) -> Figure | None:
    """Images with their classes and what is said instead; None where there are none."""
    if not len(said):
        return None
    short = max(map(len, classes)) <= 2
    titles = [
        f"{classes[label]} taken for {classes[other]}" if short else f"{classes[label][:BRIEF]},\nsaid {classes[other][:BRIEF]}"
        for label, other in zip(wrong.labels, said, strict=True)
    ]
    return _board([*wrong.images], titles, ACROSS, 1.1 if short else 1.25)


def filters(weights: NDArray[np.floating[Any]], names: Sequence[str]) -> Figure:
    """Weights as images, in colours about 0."""
    found = weights[:FILTERS] if weights.ndim == 3 else weights[:FILTERS].mean(-1)
    most = np.abs(found).max() or 1.0
    titles = [name[:BRIEF] for name in names][:FILTERS] or [""] * len(found)
    return _board([*found], titles, FILTERS_ACROSS, 0.95 if any(titles) else 0.7, cmap="RdBu_r", vmin=-most, vmax=most)


def salient(some: Images, found: NDArray[np.floating[Any]], classes: Sequence[str]) -> Figure:
    """Images, and below each which of its pixels matter."""
    figure, board = subplots(2.0, rows=2, columns=len(found), squeeze=False)
    for place, (image, pixels) in enumerate(zip(some.images, found, strict=True)):
        _put(board[0][place], image, str(classes[some.labels[place]])[:BRIEF])
        _put(board[1][place], pixels, cmap="magma", vmin=0, vmax=pixels.max() or 1)
    return figure


def convolutions(image: NDArray[np.uint8], blocks: Sequence[NDArray[np.floating[Any]]]) -> Figure:
    """An image, and what the first channels of each block make of it."""
    figure, board = subplots(0.75 * (len(blocks) + 1), rows=len(blocks) + 1, columns=MAPS, squeeze=False)
    for axes in board.flat:
        axes.set_axis_off()
    _put(board[0][0], image)
    for row, channels in enumerate(blocks, 1):
        for place in range(min(MAPS, channels.shape[-1])):
            _put(board[row][place], channels[0, :, :, place], cmap="magma")
    return figure


def _board(pictures: Sequence[NDArray[Any]], titles: Sequence[str], across: int, height: float, **how: Any) -> Figure:
    down = -(-len(pictures) // across)
    figure, board = subplots(height * down, rows=down, columns=across, squeeze=False)
    for axes in board.flat:
        axes.set_axis_off()
    for axes, picture, title in zip(board.flat, pictures, titles, strict=False):
        _put(axes, picture, title, **how)
    return figure


def _put(axes: Any, picture: NDArray[Any], title: str = "", **how: Any) -> None:
    axes.set_axis_off()
    axes.imshow(picture, **({"cmap": "gray_r"} | how if picture.ndim == 2 else how))
    axes.set_title(title, fontsize=9, color=ink())
