"""The library as a notebook meets it: what its objects print, tables to go on with, and slips."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas
import pytest
from invented import EVIL, large, trained, verdict

import jaxgen
from jaxgen.job import sweep_of
from jaxgen.tasks import task_of
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus

LONGEST = 2000  # characters that an object prints
CORPUS = Corpus(tuple(f"name{number}" for number in range(100_000)), "names.txt", None, "")
OBJECTS: dict[str, Any] = {
    "results": large(),
    "sweep": jaxgen.grid(Config(), {"seed": range(1000), "model.hidden": range(1, 100)}),
    "corpus": CORPUS,
    "config": Config(),
    "trained": trained("abc", width=1000),
    "verdict": verdict(),
}


class Text(HTMLParser):
    """What of a page is text, and which tags it has."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_print_a_line_or_two(name: str) -> None:
    assert len(repr(OBJECTS[name])) < LONGEST
    assert "\n" not in repr(OBJECTS[name])


def test_what_they_print_says_what_they_are() -> None:
    assert repr(OBJECTS["results"]) == "Results(200 of 200 trials ended)"
    assert repr(OBJECTS["sweep"]) == "Sweep(99000 trials over seed, model.hidden)"
    assert repr(jaxgen.Sweep(Config())) == "Sweep(1 trial)"
    assert repr(CORPUS) == "Corpus(100,000 names of 'names.txt': 'name0', 'name1', 'name2', ...)"
    assert repr(trained("abc")) == "Trained(trial 0 of names, 20 parameters)"
    assert repr(OBJECTS["verdict"]).startswith("Verdict('adam beats ")


@pytest.mark.parametrize("name", ["results", "verdict"])
def test_a_notebook_shows_text_and_tables_whatever_names_hold(name: str) -> None:
    page = Text()
    html = OBJECTS[name]._repr_html_()
    page.feed(html)
    assert page.tags <= {"p", "b", "table", "thead", "tbody", "tr", "th", "td", *(["img"] if name == "results" else [])}
    assert (EVIL in page.text) == (name == "verdict")
    if name == "results":
        best = OBJECTS[name].leaderboard()[0]
        assert f"{best.mean('val_loss'):.4f} ± {best.spread('val_loss'):.4f}" in page.text
        assert html.count("<tr>") == 11


def test_tables_for_pandas_are_those_of_the_files() -> None:
    results = large()
    wanted = pandas.read_csv(io.StringIO(results.results_csv()))
    pandas.testing.assert_frame_equal(results.to_pandas(), wanted, check_dtype=False)
    curves = results.curves_to_pandas()
    assert len(curves) == len(results.curves)
    assert list(curves)[:3] == ["trial", "step", "seed"]
    row = curves.iloc[-1]
    assert row["optimizer.name"] == results.values(int(row["trial"]))["optimizer.name"]


def test_a_table_without_pandas_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(jaxgen.UserError, match="needs pandas, which is not installed"):
        large().to_pandas()


def test_the_best_config_has_every_value() -> None:
    found = large().best_config()
    row = large().best_row()
    assert found.optimizer.name == row.values["optimizer.name"]
    assert found.optimizer.learning_rate == row.values["optimizer.learning_rate"]
    assert None not in (found.optimizer.b1, found.optimizer.b2, found.optimizer.eps)


def test_a_config_is_a_sweep_of_one() -> None:
    assert sweep_of(Config()) == jaxgen.Sweep(Config())


@pytest.mark.parametrize(("given", "says"), [(3, "3 was given for a config"), ("adam", "'a' was given"), ([1], "1 was given")])
def test_what_is_no_sweep_is_a_line(given: Any, says: str) -> None:
    with pytest.raises(jaxgen.UserError, match=says):
        sweep_of(given)


def test_the_version_is_the_packages() -> None:
    assert jaxgen.__version__ == metadata.version("jaxgen")
    assert re.match(r"\d+\.\d+", jaxgen.__version__)


@pytest.mark.parametrize("make", [jaxgen.sample, jaxgen.score, jaxgen.predict, jaxgen.export])
@pytest.mark.parametrize("given", [large(), [], ["adam"], 3, None])
def test_what_is_no_trained_trial_is_a_line(make: Any, given: Any) -> None:
    with pytest.raises(jaxgen.UserError, match=r"given for a trained trial; expected results.best\(\)"):
        make(given) if make is jaxgen.sample else make(given, "x")


def test_a_section_that_is_none_is_a_line() -> None:
    wrong: Any = {"steps": 10}
    with pytest.raises(jaxgen.UserError, match=r"train is \{'steps': 10\}, expected a TrainConfig; to set single keys"):
        list(jaxgen.Sweep(Config(train=wrong)))


def test_names_from_python_are_those_of_a_file(corpus: Corpus, tmp_path: Path) -> None:
    """And so the same trial: to the bit."""
    path = tmp_path / "names.txt"
    path.write_text("\n".join(corpus.names) + "\n", encoding="utf-8")
    read, given = jaxgen.load_corpus(path), jaxgen.load_corpus(name for name in corpus.names)
    assert (given.names, given.sha256) == (read.names, read.sha256)
    for names in (list(corpus.names), tuple(corpus.names), path, str(path)):
        assert task_of(names).corpus.sha256 == read.sha256  # pyright: ignore[reportAttributeAccessIssue]  (of names)


@pytest.mark.parametrize(
    ("given", "says"),
    [([], "no names were given"), (["a", 3], "3 is among them"), (["a\nb"], "a line break in"), ([" "], "no names")],
)
def test_names_that_are_none_are_a_line(given: Any, says: str) -> None:
    with pytest.raises(jaxgen.UserError, match=says):
        jaxgen.load_corpus(given)
    with pytest.raises(jaxgen.UserError, match="lie in no file"):
        jaxgen.load_corpus("names given in Python")
