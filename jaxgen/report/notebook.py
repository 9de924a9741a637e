"""What a notebook asks for: one picture, or the whole report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

from jaxgen.fields import UserError, quoted
from jaxgen.judge.answers import answer
from jaxgen.judge.results import Results
from jaxgen.judge.verdict import Verdict
from jaxgen.report.page import report
from jaxgen.report.pictures import Found, Picture, told
from jaxgen.report.style import LIGHT
from jaxgen.report.text import short

ALSO = {"sensitivity": "learning_rate"}  # what a picture is called, too


def plot(results: Results, kind: str) -> Figure:
    """A picture of a report, as a matplotlib figure: `savefig` writes it, and a notebook shows it.

    Args:
      kind: "differences", "budgets", "curves", "sensitivity" (to the learning rate), "heat", "parallel", "divergence" or
        "layers", or a picture of the task's own, such as "embeddings".

    Raises:
      UserError: for another kind, or one that does not apply to these results.

    Examples:
      >>> figure = jaxgen.plot(results, "curves")  # or results.plot("curves")
      >>> figure.savefig("curves.png")
    """
    name, ended = ALSO.get(kind, kind), any(math.isfinite(row.score) for row in results.rows)
    verdict = answer(results) if ended else Verdict(("nothing has ended",))
    pictures = told(results.measure)
    if name not in pictures and ended and results.task is not None and results.trained is not None:
        shown = results.task.show(Found(results, verdict, results.best()))
        pictures |= {one.name: Picture.of(one) for one in shown if one.figure}
    picture = pictures.get(name)
    if picture is None:
        raise UserError(f"there is no picture {quoted(kind)}; expected one of {', '.join([*pictures, *ALSO])}")
    with matplotlib.style.context(["default", LIGHT]):
        figure = picture.draw(Found(results, verdict, None))
        if figure is None:
            raise UserError(f"these results have no picture {quoted(kind)}: it takes {picture.needs}")
        figure.suptitle(short(picture.title), fontsize=11, fontweight="bold")
    return figure


def write_report(of: Results | str | Path, task: Any = None) -> Path:
    """Writes `report.html` and `plots/*.png` into a run's folder, from what it holds; returns the page's path.

    Args:
      of: the folder, or results of a run that has one.
      task: of a run of a task of your own: that.

    Raises:
      UserError: if the results are in memory alone, or the folder holds no run.

    Examples:
      >>> run = jaxgen.run(sweep, corpus, out="runs/reported", progress=False, report=False)
      >>> jaxgen.write_report("runs/reported").name
      'report.html'
    """
    if not isinstance(of, Results):
        return report(of, task)
    if of.out is None:
        raise UserError("these results are in memory alone, and a report lies in a run's folder; give `jaxgen.run` out=")
    return report(of.out, task if task is not None else of.task)
