from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.resources
import io
import math
import re
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import invented
import matplotlib.image as mpimg
import pytest
from markupsafe import Markup
from pages import Parsed, evil_page
from rich.console import Console

import jaxgen
import jaxgen.report
from jaxgen import runs
from jaxgen.engine.lanes import SegmentDone
from jaxgen.judge.results import Results
from jaxgen.judge.verdict import Verdict
from jaxgen.report.page import command_of, heads, html, layout, no_answer, question_of, report, sections
from jaxgen.report.pictures import DPI, PICTURES, TITLE, Drawn, Found, save, titled
from jaxgen.report.style import COLOURS, ON_DARK
from jaxgen.report.terminal import Watch, leaderboard
from jaxgen.tasks.base import Section
from jaxgen.tasks.names.config import TEMPERATURE, Config
from jaxgen.tasks.names.data import Corpus
from jaxgen.tasks.names.generate import labels

BESIDE = ("results.csv", "metrics.csv", "config.json", "plots/")  # what a page has addresses of

pytestmark = pytest.mark.usefixtures("compiled_quickly")


@pytest.mark.parametrize("terminal", [True, False])
def test_watch_shows_the_standing_and_its_end(terminal: bool, small: Config, corpus: Corpus) -> None:
    """A live leaderboard in a terminal, plain lines in a log."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, height=60)
    sweep = jaxgen.grid(small, {"optimizer.learning_rate": [1e-3, 1e30], "seed": range(3)})
    with Watch(console) as watch:

        def slowly(event: Any, results: Results) -> None:
            watch(event, results)
            if terminal and isinstance(event, SegmentDone):
                time.sleep(0.3)  # the live table is drawn four times a second

        results = runs.run(sweep, corpus, width=2, listener=slowly)
    shown = out.getvalue()
    if terminal:
        assert "all running" in shown or "2 running" in shown or "1 running" in shown
        assert "of 240 steps" in shown
    else:
        assert "\x1b" not in shown
        plan, shown = shown.split("\n", 1)
        assert plan == "2 networks at a time on 2 cores"
        # The first line comes after the first segment: two lanes of 20 steps, unless a trial had diverged by then.
        assert re.match(
            r"17% \(40 of 240 steps\), \d:\d\d elapsed, [\d,]+ steps a second, 2 training, 0 of 6 trials ended, best", shown
        )
    text = io.StringIO()
    Console(file=text, width=100).print(leaderboard(results))
    lines = [line.split() for line in text.getvalue().splitlines()]
    best = results.leaderboard()[0]
    assert ["1", "0.001", f"{best.mean('val_loss'):.4f}", "±", f"{best.spread('val_loss'):.4f}"] == lines[4][:5]
    assert lines[5][-3:] == ["3", "(all", "diverged)"]


def test_empty_results_have_a_leaderboard(small: Config) -> None:
    nothing = Results(jaxgen.Sweep(small))
    assert nothing.leaderboard() == []
    with pytest.raises(jaxgen.UserError, match="no trial has ended"):
        nothing.best()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evil_page(tmp_path_factory.mktemp("page"))


def test_the_page_has_every_section_in_its_order(shown: Path) -> None:
    page = Parsed(shown.read_text(encoding="utf-8"))
    assert shown.stat().st_size < 5_000_000
    ids = [attributes["id"] for tag, attributes in page.elements if "id" in attributes and tag != "script"]
    assert ids == [
        "differences", "names", "comparisons", "budgets", "leaderboard", "curves", "learning_rate", "parallel",
        "diverged", "divergence", "layers", "embeddings", "again",
    ]  # fmt: skip
    links = [link["href"] for link in page.all("a") if link["href"].startswith("#")]
    assert links == [f"#{name}" for name in ids if name not in ("budgets", "divergence")]
    assert {path.stem for path in (shown.parent / "plots").iterdir()} == {*PICTURES, "embeddings"} - {"heat"}
    text = " ".join(page.text)
    first, *others = invented.verdict().sentences
    assert text.index(f"Which wins, {invented.EVIL}?") < text.index(first) < text.index(others[0]) < text.index("Leaderboard")
    for said in ("200 of 200 trials ended", "jaxlib", "64 lanes on 2 devices, 4 at once on each", "4 new, 4 in the corpus"):
        assert said in text
    assert shlex.join(["python", "-m", "experiments.sweep", "--data", f"a b/{invented.EVIL}", "--grid"]) in text


def test_the_page_has_each_picture_in_light_and_in_dark(shown: Path) -> None:
    page = Parsed(shown.read_text(encoding="utf-8"))
    lights, darks = [image["src"] for image in page.all("img")], [source["srcset"] for source in page.all("source")]
    assert len(lights) == len(set(lights)) == len(set(darks)) == 8
    curves = [image["alt"].startswith("Learning curves") for image in page.all("img")].index(True)
    for address, colour in ((lights[curves], COLOURS[0]), (darks[curves], ON_DARK[0])):
        kind, _, content = address.partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert colour.lower().encode() in base64.b64decode(content)
    assert all(image["alt"] and int(image["width"]) and int(image["height"]) for image in page.all("img"))
    assert all(source["media"] == "(prefers-color-scheme: dark)" for source in page.all("source"))


def test_the_page_holds_no_script_but_ours_and_no_address_outside(shown: Path) -> None:
    page = Parsed(shown.read_text(encoding="utf-8"))
    run = [script for script in page.all("script") if "type" not in script]
    assert len(run) == len(page.all("style")) == 1
    assert [(script["type"], script["id"]) for script in page.all("script") if script not in run] == [
        ("application/json", "charts"), ("text/plain", "plotly"),
    ]  # fmt: skip
    (policy,) = (one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    plotly = importlib.resources.files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
    digests = [hashlib.sha256(content).digest() for content in (page.inline["script"][0].encode(), plotly)]
    assert rules["script-src"] == " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    assert gzip.decompress(base64.b64decode(page.inline["data"][1])) == plotly
    assert page.inline["script"][0] == (Path(jaxgen.report.__file__).parent / "page.js").read_text(encoding="utf-8")
    for tag, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on") or key == "style"]
        addresses = [attributes[key] for key in ("src", "srcset", "href") if key in attributes]
        assert all(one.startswith(("#", "data:")) or one in BESIDE for one in addresses)
        assert tag not in ("iframe", "object", "embed", "base", "form")
    assert not re.search(r"url\(|@import", page.inline["style"][0])


def test_names_that_mean_harm_stay_text(shown: Path) -> None:
    page = Parsed(shown.read_text(encoding="utf-8"))
    codes = {"\u202eevil": r"\u202eevil", "a\x01b": r"a\x01b"}  # what is not seen, or turns what is, is shown by its code
    for name in invented.NAMES:
        assert codes.get(name, name) in page.text
    # In the title, as the run's name, in the question, a sentence, as an arm, a name, and in two commands.
    assert "".join(page.text).count(invented.EVIL) == 8


def test_a_section_of_a_tasks_own_is_text_too(tmp_path: Path) -> None:
    """Its table, in which words stand to the left and numbers to the right, and what stands above and below it."""
    evil = invented.EVIL
    rows = [[1, "sgd", f"{evil}0", "0.5"], [2, "adam", "-", "-"], [3, "-", "x", "1e-3"]]
    section = Section(
        "own", f"Title {evil}", f"Note {evil}", [(evil, evil)], evil, None, ("place", "name", evil, "n"), rows, evil
    )
    found = Found(replace(invented.large(), out="runs/x"), invented.verdict(), None)
    facts = invented.facts_of(found, invented.evil_corpus(tmp_path))
    page = Parsed(html(found, facts, {}, [section]))
    assert len(page.all("script")) == 1  # no picture, so no chart
    assert [attributes["href"] for attributes in page.all("a") if attributes["href"][0] == "#"][-2:] == ["#own", "#again"]
    without = Parsed(html(found, facts, {}, []))
    assert (
        "".join(page.text).count(evil) - "".join(without.text).count(evil) == 9
    )  # the title stands in the list of sections, too
    own = [attributes.get("class", "") for tag, attributes in page.elements if tag in ("th", "td")]
    head, *lines = ([own[-16:][4 * i : 4 * i + 4]] for i in range(4))
    assert head == [["", "word", "word", ""]]
    assert all(line == head for line in lines)


def test_heads_and_commands() -> None:
    assert heads(["optimizer.name", "optimizer.learning_rate"]) == ["optimizer", "learning rate"]
    assert heads(["model.init", "other.init", "model.name"]) == ["model.init", "other.init", "model"]
    facts = {"sweep": {"name": "optimizers"}, "flags": []}
    assert command_of(facts) == "python -m experiments.sweep"
    assert (
        command_of({"sweep": {"name": "train"}, "flags": ["--resume", "--seed", "3"]}) == "python -m experiments.train --seed 3"
    )
    assert command_of({"sweep": {"name": "sweep"}, "flags": []}) is None  # from Python
    assert command_of({"sweep": {"name": "mine"}, "flags": ["mine", "--out", "a b; $c"]}) == (
        "python -m experiments.sweep mine --out 'a b; $c'"
    )


def test_the_report_of_a_run(small: Config, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder: where a trial diverged, names with true labels, the same bytes again, nothing stale left."""
    monkeypatch.setattr("jaxgen.report.page.answer", lambda results, task: Verdict((f"{len(results.rows)} trials",)))
    axes = {"optimizer.name": ["sgd"], "optimizer.learning_rate": [0.1, 1e30]}
    results = runs.run(jaxgen.grid(small, axes), corpus, tmp_path / "run", width=2, chunk=1)
    (row,) = (row for row in results.rows if row.status == "diverged")
    (tmp_path / "run" / "plots").mkdir()
    (tmp_path / "run" / "plots" / "heat.png").write_bytes(b"of an earlier report")
    page = report(tmp_path / "run").read_text(encoding="utf-8")
    assert "<p>2 trials</p>" in page
    assert f"<td>{row.steps}</td>" in page
    assert f"<code>{row.flaw}</code>" in page
    names = re.findall(r'<li><bdi>(.*?)</bdi> <span class="mark (\w+)">', page)
    sampled = jaxgen.sample(results.best(), temperature=TEMPERATURE, unique=True)
    marked = list(zip(sampled, labels(sampled, corpus), strict=True))
    assert names == [one for one in marked if one[1] == "new"] + [one for one in marked if one[1] != "new"]
    assert {path.stem for path in (tmp_path / "run" / "plots").iterdir()} == {
        "curves",
        "learning_rate",
        "divergence",
        "embeddings",
    }
    assert report(tmp_path / "run").read_text(encoding="utf-8") == page


@pytest.mark.parametrize("place", [0, 3, 36])
def test_what_is_had_without_a_network_has_a_row_in_its_place(place: int, tmp_path: Path) -> None:
    """Of 40 arms, four of which diverged and have no loss; and its name stays text."""
    results = invented.large()
    losses = sorted(loss for arm in results.leaderboard() if math.isfinite(loss := arm.mean("val_loss")))
    edges = [losses[0] - 2, *losses, losses[-1] + 2]
    loss = (edges[place] + edges[place + 1]) / 2
    found = Found(results, invented.verdict(), None)
    page = html(found, invented.facts_of(found, invented.evil_corpus(tmp_path)), {}, beside=(invented.EVIL, {"val_loss": loss}))
    assert invented.EVIL not in page
    board = page[page.index('class="sortable board"') :].partition("</table>")[0]
    rows = board.partition("<tbody>")[2].split("<tr")[1:]
    assert [
        (
            "no network:" in row,
            row.startswith((f"><td>{at + (at < place)}</td>", f' class="best"><td>{at + (at < place)}</td>')),
        )
        for at, row in enumerate(rows)
    ] == [(at == place, at != place) for at in range(41)]
    assert f">{loss:.4f}</td>" in rows[place]


def test_a_run_in_which_nothing_ended_well_has_a_page(tmp_path: Path) -> None:
    corpus = invented.evil_corpus(tmp_path)
    nothing = Results(jaxgen.Sweep(Config()))
    found = Found(nothing, no_answer(nothing), None)
    page = html(found, invented.facts_of(found, corpus), save(found, tmp_path / "plots"))
    assert "No network has ended yet, of 1, so there is no answer." in page
    assert list((tmp_path / "plots").iterdir()) == []
    lost = invented.results_of(jaxgen.Sweep(Config()))
    lost.rows[0] = replace(lost.rows[0], status="diverged", score=math.inf)
    assert (
        no_answer(lost).sentences[0].startswith("No trial has ended with a finite validation loss, so there is no answer yet")
    )


def test_a_run_that_was_stopped_shows_how_far_it_is(tmp_path: Path) -> None:
    """Nothing has diverged, since nothing has ended; curves and a leaderboard are there."""
    stopped = replace(invented.large(), rows=[])
    found = Found(stopped, no_answer(stopped), None)
    page = html(found, invented.facts_of(found, invented.evil_corpus(tmp_path)), save(found, tmp_path / "plots"))
    assert "0 of 200 trials ended" in page
    assert "diverged" not in "".join(Parsed(page).text).replace("at which trials diverged", "")  # what a cross would mean
    assert page.count(">5 (all running)<") == 40
    assert "at their best evaluation so far" in page
    assert {"curves", "learning_rate"} <= {path.stem for path in (tmp_path / "plots").iterdir()}


def test_pictures_say_what_they_are_where_they_stand_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A title above each PNG, in letters of its own; on the page a head says it."""
    told = []

    def noted(figure: Any, title: str) -> bytes:
        told.append(title)
        return titled(figure, title)

    monkeypatch.setattr("jaxgen.report.pictures.titled", noted)
    found = Found(invented.large(), invented.verdict(), None)
    drawn = save(found, tmp_path)
    assert sorted(told) == sorted(f"{one.title}: {invented.EVIL}" for one in drawn.values())
    for name, one in drawn.items():
        assert f"{name}.png" in {path.name for path in tmp_path.iterdir()}
        width, height = mpimg.imread(tmp_path / f"{name}.png").shape[1::-1]
        assert width == pytest.approx(DPI * one.width / 96, abs=2)
        assert height == pytest.approx(DPI * (one.height / 96 + TITLE), abs=2)
        top = mpimg.imread(tmp_path / f"{name}.png")[: int(DPI * TITLE)]
        assert top.min() < 0.5  # which is not all paper


@pytest.mark.parametrize(
    ("verdict", "own"),
    [("arms", "differences"), ("gradients", "layers"), ("early_stopping", "curves"), ("search", "differences")],
)
def test_the_questions_own_picture_stands_below_the_verdict(verdict: str, own: str, tmp_path: Path) -> None:
    results = invented.large()
    found = Found(replace(results, question=replace(results.question, verdict=verdict)), invented.verdict(), None)
    names: tuple[str, ...] = ("differences", "budgets", "curves", "layers", "mine")
    pictures: dict[str, Drawn] = dict.fromkeys(names, Drawn("", "", Markup(), Markup(), 1, 1, False))
    told = layout(found, pictures, [])
    assert told.own == own
    others = (*told.sure, *told.drawn, *told.insides)
    assert sorted((own, *others)) == ["budgets", "curves", "differences", "layers"]  # each once
    mine = [Section("mine", "Mine", place="answer"), Section("names", "Names", place="top"), Section("last", "Last")]
    told = layout(found, pictures, mine)
    assert told.own == "mine"  # a task knows better
    assert [one.name for one in (*told.top, *told.end)] == ["names", "last"]
    assert list(sections(found, pictures, told))[:3] == ["mine", "names", "comparisons"]


def test_when_and_where_a_run_was(tmp_path: Path) -> None:
    found = Found(invented.large(), invented.verdict(), None)
    session = {"started": "2026-11-27T18:00:00+00:00", "ended": "2026-11-27T18:06:00+00:00"}
    place = {"machine": f"{invented.EVIL}, 2 cores", "python": "3.11.9", "commit": None}
    facts = invented.facts_of(found, invented.evil_corpus(tmp_path)) | {"sessions": [session | place]}
    text = " ".join(Parsed(html(found, facts, {})).text)
    assert "2026-11-27 18:00 to 2026-11-27 18:06 UTC, 6.0 minutes; " in text
    assert ", 2 cores, Python 3.11.9" in text
    assert "commit" not in text


def test_a_single_setting_is_no_contest() -> None:
    assert question_of(invented.results_of(jaxgen.seeds(Config(), 2))) == "How good is it?"
    assert question_of(invented.results_of(jaxgen.grid(Config(), {"model.depth": [1, 2]}))) == "Which setting is best?"
