"""All pictures of a report, as files and for the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.style
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from jaxgen.judge.results import Results, Trained
from jaxgen.judge.verdict import Verdict
from jaxgen.report import answers, insides, maps, parallel, plots
from jaxgen.report.arms import contenders, places
from jaxgen.report.style import DARK, LIGHT, WIDTH
from jaxgen.report.text import short
from jaxgen.storage.files import write, writing
from jaxgen.tasks.base import Section
from jaxgen.tasks.metric import Metric

DPI = 160
TITLE = 0.36  # inches above a picture
SVG_MOST = 180_000  # bytes; a larger drawing is a PNG on the page


@dataclass(frozen=True)
class Found:
    """What a report is drawn from: what a run has found, what that answers, and the best trial if there is one."""

    results: Results
    verdict: Verdict
    best: Trained | None


@dataclass(frozen=True)
class Picture:
    """Its texts may hold {metric}, the name of what ranks trials, and {above}, where its bad values lie."""

    title: str
    caption: str
    draw: Callable[[Found], Figure | None]
    """None: it does not apply."""
    needs: str = ""
    """What it takes to apply."""

    @staticmethod
    def of(section: Section) -> Picture:
        """That of a section of a task's own."""
        draw = section.figure
        assert draw is not None
        return Picture(section.title, section.note, lambda found: draw(), "what its task says")


PICTURES: Mapping[str, Picture] = {
    "differences": Picture(
        "Behind the winner",
        "Mean difference in validation {metric} over the seeds that two arms share, each at its best setting, with 95% "
        "intervals; full where the difference is resolved, hollow where it could be chance.",
        lambda found: answers.differences(found.verdict, found.results.measure, places(contenders(found.results))),
        "two arms that have ended at a seed that they share",
    ),
    "budgets": Picture(
        "What tuning buys",
        "Expected validation {metric} of the best of k settings of each arm, had only k been tried, and how it spreads.",
        lambda found: answers.budgets(found.verdict, found.results.measure, places(contenders(found.results))),
        "an arm of five settings or more",
    ),
    "curves": Picture(
        "Learning curves",
        "What is compared (the best eight), each at its best setting: validation, mean over seeds, with a band from the lowest "
        "seed to the highest; training dashed; a triangle at the end where most seeds were at their best then. Evaluations far "
        "{above} all others are left out. Where lines lie on one another, how far each is behind the best at the same seeds "
        "stands below.",
        lambda found: plots.curves(found.results),
        "a trial that was evaluated",
    ),
    "learning_rate": Picture(
        "Sensitivity to the learning rate",
        "At each rate the best setting of all other keys: mean over seeds, and bands from the lowest seed to the highest; "
        "a cross is a rate at which trials diverged, and what lies far {above} all others is left out. "
        f"Where there are more than {plots.MOST} rates, the best one and others evenly between are shown.",
        lambda found: plots.rates(found.results),
        "two learning rates",
    ),
    "heat": Picture(
        "{Metric} by two keys",
        "Mean validation {metric} of each setting that was tried; the best has a frame, div. is where all seeds diverged.",
        lambda found: maps.heat(found.results),
        "exactly two varied keys, and a good part of their grid",
    ),
    "parallel": Picture(
        "Every setting at once",
        "Each line is a setting, from its values to its mean validation {metric}, by which it is coloured; the best is thick. "
        f"Of more than {parallel.LINES:,} settings, the best. Settings of the same value lie side by side around it.",
        lambda found: parallel.parallel(found.results),
        "two varied keys or more, and no grid that a heat map shows",
    ),
    "divergence": Picture(
        "Where trials diverged",
        "Diverged trials of all trials, by the keys that tell most about it.",
        lambda found: maps.divergence(found.results),
        "a trial that diverged, and a varied key",
    ),
    "layers": Picture(
        "Layer by layer",
        "Mean over seeds when first and when last evaluated, of what is compared, each at its best setting; of more than six "
        "the best, the worst and four between.",
        lambda found: insides.layers(found.results),
        "train.diagnostics",
    ),
}


def told(measure: Metric) -> dict[str, Picture]:
    """The pictures, with texts about a metric."""
    above = "below" if measure.higher_is_better else "above"
    said = {"metric": measure.name, "Metric": measure.name.capitalize(), "above": above}
    return {n: replace(one, title=one.title.format(**said), caption=one.caption.format(**said)) for n, one in PICTURES.items()}


@dataclass(frozen=True)
class Drawn:
    """A picture for the page: addresses that hold it, in light and in dark, and its size in CSS pixels."""

    title: str
    caption: str
    light: Markup
    dark: Markup
    width: int
    height: int
    broad: bool
    """Wider than a phone can show at once."""


def save(found: Found, folder: Path, shown: Sequence[Section] = ()) -> dict[str, Drawn]:
    """Writes a run's pictures as PNG, in light, and returns them for the page; one that does not apply is left out.

    Args:
      shown: the task's own sections, of which some have a picture.

    Raises:
      UserError: if the disk is full or fails.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    own = {one.name: Picture.of(one) for one in shown if one.figure}
    for name, picture in {**told(found.results.measure), **own}.items():
        path = folder / f"{name}.png"
        with matplotlib.style.context(["default", LIGHT]):
            figure = picture.draw(found)
            if figure is None:
                with writing(path):
                    path.unlink(missing_ok=True)
                continue
            light = address(figure)
            write(path, titled(figure, f"{picture.title}: {found.results.question.name}"))
        with matplotlib.style.context(["default", DARK]):
            again = picture.draw(found)
            assert again is not None
            dark = address(laid_out_as(figure, again))
        width, height = (round(96 * inches) for inches in figure.get_size_inches())
        drawn[name] = Drawn(picture.title, picture.caption, light, dark, width, height, width > 96 * WIDTH)
    return drawn


def laid_out_as(figure: Figure, again: Figure) -> Figure:
    """`again`, a drawing of the same, with its axes where those of `figure` are: to measure all texts twice takes time."""
    again.set_layout_engine("none")
    for axes, there in zip(again.axes, figure.axes, strict=True):
        axes.set_position(there.get_position(original=True))
    return again


def rendered(figure: Figure, kind: str, dpi: int = DPI, **options: Any) -> bytes:
    """A figure as the bytes of a png or svg file, the same for the same figure."""
    out = io.BytesIO()
    said = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(out, format=kind, dpi=dpi, metadata=said, **options)
    figure.set_layout_engine("none")  # it is laid out now
    return out.getvalue()


def titled(figure: Figure, title: str) -> bytes:
    """A figure that is laid out as the bytes of a png file, with a title above it: elsewhere than on the page it has none."""
    width, height = figure.get_size_inches()
    figure.text(0.08 / width, 1 + 0.1 / height, short(title), fontsize=11, fontweight="bold", va="bottom")
    return rendered(figure, "png", bbox_inches=Bbox([[0, 0], [width, height + TITLE]]))


def address(figure: Figure) -> Markup:
    """A figure as a data: address, lines if these are few and else pixels."""
    kind, content = "svg+xml", rendered(figure, "svg")
    if len(content) > SVG_MOST:
        kind, content = "png", rendered(figure, "png")
    return Markup(f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}")  # no character to escape


def png(figure: Figure, path: Path) -> None:
    """Writes a picture that is no part of a report.

    Raises:
      UserError: if the disk is full or fails.
    """
    write(path, rendered(figure, "png", dpi=150))
