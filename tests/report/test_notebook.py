"""Pictures and reports as a notebook asks for them."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path

import invented
import pytest
from matplotlib.figure import Figure

import jaxgen
from jaxgen import runs
from jaxgen.judge.results import Results
from jaxgen.report import page, plots
from jaxgen.report.pictures import PICTURES, told
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus
from jaxgen.tasks.names.ensemble import mixtures
from jaxgen.tasks.names.standing import standings


@pytest.fixture(scope="module")
def large() -> Results:
    return invented.large()


@pytest.mark.parametrize("kind", [*PICTURES, "sensitivity"])
def test_every_picture_of_a_report_is_had_alone(kind: str, large: Results) -> None:
    """With its title, in the light style whatever is on; the same picture as the report's."""
    sweep = jaxgen.grid(
        Config(), {"optimizer.name": ["sgd", "adam"], "optimizer.learning_rate": invented.RATES, "seed": range(3)}
    )
    if kind == "budgets":
        results = replace(large, question=replace(large.question, arms=("optimizer.name",)))
    else:
        results = invented.results_of(sweep) if kind == "heat" else large
    figure = results.plot(kind)
    assert isinstance(figure, Figure)
    name = "learning_rate" if kind == "sensitivity" else kind
    assert figure.get_suptitle() == told(results.measure)[name].title
    assert figure.axes
    shown = getattr(figure, "_repr_png_")()  # noqa: B009  (what a notebook looks for)
    assert shown.startswith(b"\x89PNG")


def test_a_picture_that_there_is_not_is_refused_with_those_that_there_are(large: Results) -> None:
    with pytest.raises(jaxgen.UserError) as raised:
        large.plot("curve")
    assert str(raised.value) == (
        "there is no picture 'curve'; expected one of differences, budgets, curves, learning_rate, heat, parallel, divergence, "
        "layers, sensitivity"
    )
    with pytest.raises(jaxgen.UserError, match="no picture 'heat': it takes exactly two varied keys"):
        large.plot("heat")
    nothing = Results(jaxgen.Sweep(Config()))
    for kind, picture in PICTURES.items():
        with pytest.raises(jaxgen.UserError) as raised:
            jaxgen.plot(nothing, kind)
        assert str(raised.value).endswith(f"it takes {picture.needs}")


def test_a_notebook_shows_results_with_a_picture(large: Results) -> None:
    """The differences where there are some, else the curves, else none."""
    for results, title in ((large, "Behind the winner"), (replace(large, rows=[]), "Learning curves")):
        html = results._repr_html_()
        assert html.startswith("<p>")
        assert html.count("<img ") == 1
        (shown,) = re.findall(r'<img alt="([^"]*)" style="max-width: 100%" src="data:image/png;base64,([^"]*)">', html)
        assert shown[0] == title
        assert base64.b64decode(shown[1]).startswith(b"\x89PNG")
    assert "<img" not in Results(jaxgen.Sweep(Config()))._repr_html_()


def test_curves_of_a_running_sweep_are_drawn(large: Results) -> None:
    figure = replace(large, rows=[]).plot("curves")
    assert len(figure.axes[0].lines) >= len(plots.courses(replace(large, rows=[])))


def test_a_report_from_python(small: Config, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run in a folder, by its results or by its path; and one picture of the task's own."""
    asked = jaxgen.Question(verdict="ensembles")
    results = runs.run(jaxgen.seeds(small, 2), corpus, tmp_path / "run", question=asked)
    with monkeypatch.context() as patch:
        patch.setattr(page, "save", lambda *_: {})  # once with its pictures is enough
        assert results.report() == tmp_path / "run" / "report.html"
    assert jaxgen.write_report(tmp_path / "run") == tmp_path / "run" / "report.html"
    assert (tmp_path / "run" / "plots" / "curves.png").exists()
    assert results.plot("embeddings").get_suptitle() == "Characters as the best trial sees them"
    # Its own picture: what mixtures come to, beside the best trial and the counts.
    text = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert text.index('<figure id="mixture"') < text.index('<section id="names"') < text.index('<section id="leaderboard"')
    mixture, best, floor = results.plot("mixture").axes[0].lines
    losses = mixtures([results.trained(trial) for trial in (0, 1)], corpus).by_size
    assert dict(zip(*mixture.get_data(), strict=True)) == losses
    assert set(best.get_ydata()) == {results.best_row().val_loss}
    assert set(floor.get_ydata()) == {standings(results, corpus)[0].floor.val_loss}
    one = replace(results, question=jaxgen.Question())
    with pytest.raises(jaxgen.UserError, match="there is no picture 'mixture'"):
        one.plot("mixture")
    with pytest.raises(jaxgen.UserError, match=r"in memory alone.*give `jaxgen.run` out="):
        replace(results, out=None).report()
