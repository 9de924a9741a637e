from __future__ import annotations

import base64
import hashlib
import io
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import invented
import pytest
from browser import CHROMIUM, Browser
from rich.console import Console

import jaxgen
import jaxgen.report
from jaxgen.engine.lanes import SegmentDone
from jaxgen.judge.results import Results
from jaxgen.judge.verdict import Verdict
from jaxgen.report.page import command_of, heads, html, no_answer, report
from jaxgen.report.pictures import PICTURES, Found, save
from jaxgen.report.style import COLOURS, ON_DARK
from jaxgen.report.terminal import Watch, leaderboard
from jaxgen.tasks.base import Section
from jaxgen.tasks.names import show
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus
from jaxgen.tasks.names.generate import labels
from jaxgen.tasks.names.task import Names

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

        results = jaxgen.run(sweep, corpus, width=2, listener=slowly)
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
    """The page of 200 trials, whose names, values and sentences mean harm."""
    folder = tmp_path_factory.mktemp("page")
    corpus = invented.evil_corpus(folder)
    results = replace(invented.large(), out=f"runs/{invented.EVIL}", task=Names(corpus))
    found = Found(results, invented.verdict(), invented.trained(corpus.vocabulary.characters))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(show, "sample", lambda trained, count: list(invented.NAMES))
        patch.setattr(show, "labels", lambda names, corpus: ["new", "repeated", "corpus"] * 4)
        sections = Names(corpus).show(found)
    pictures = save(found, folder / "plots", sections)
    page = html(found, invented.facts_of(found, corpus), pictures, sections)
    (folder / "report.html").write_text(page, encoding="utf-8")
    return folder / "report.html"


class Parsed(HTMLParser):
    """What a browser would make of a page: its elements, and the text outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self.text: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        self.inline[self._inside].append(data) if self._inside in self.inline else self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_page_has_every_section_in_its_order(shown: Path) -> None:
    page = Parsed(shown.read_text(encoding="utf-8"))
    assert shown.stat().st_size < 5_000_000
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert ids == [
        "comparisons", "differences", "budgets", "leaderboard", "curves", "learning_rate", "parallel",
        "diverged", "divergence", "layers", "embeddings", "names", "again",
    ]  # fmt: skip
    links = [link["href"] for link in page.all("a")]
    assert links == [f"#{name}" for name in ids if name not in ("differences", "budgets", "divergence")]
    assert {path.stem for path in (shown.parent / "plots").iterdir()} == {*PICTURES, "embeddings"} - {"heat"}
    text = " ".join(page.text)
    first, *others = invented.verdict().sentences
    assert text.index(f"Which wins, {invented.EVIL}?") < text.index(first) < text.index(others[0]) < text.index("Leaderboard")
    for said in ("200 of 200 trials ended", "jaxlib", "64 lanes on 2 devices, 4 at once on each", "4 new, 4 repeated"):
        assert said in text
    assert shlex.join(["python", "-m", "experiments.sweep", "--data", f"a b/{invented.EVIL}", "--grid"]) in text


def test_the_page_has_each_picture_in_light_and_in_dark(shown: Path) -> None:
    page = Parsed(shown.read_text(encoding="utf-8"))
    lights, darks = [image["src"] for image in page.all("img")], [source["srcset"] for source in page.all("source")]
    assert len(lights) == len(set(lights)) == len(set(darks)) == 8
    for address, colour in ((lights[0], COLOURS[0]), (darks[0], ON_DARK[0])):
        kind, _, content = address.partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert colour.lower().encode() in base64.b64decode(content)
    assert all(image["alt"] and int(image["width"]) and int(image["height"]) for image in page.all("img"))
    assert all(source["media"] == "(prefers-color-scheme: dark)" for source in page.all("source"))


def test_the_page_holds_no_script_but_ours_and_no_address_outside(shown: Path) -> None:
    page = Parsed(shown.read_text(encoding="utf-8"))
    assert len(page.all("script")) == len(page.all("style")) == 1
    ours = {"script": "script-src", "style": "style-src"}
    (policy,) = (one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag, rule in ours.items():
        (content,) = page.inline[tag]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert page.inline["script"][0] == (Path(jaxgen.report.__file__).parent / "page.js").read_text(encoding="utf-8")
    for tag, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on") or key == "style"]
        assert all(attributes.get(key, "#").startswith(("#", "data:")) for key in ("src", "srcset", "href"))
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
    assert len(page.all("script")) == 1
    assert [attributes["href"] for attributes in page.all("a")][-2:] == ["#own", "#again"]
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
    assert command_of({"sweep": {"name": "train"}, "flags": ["--seed", "3"]}) == "python -m experiments.train --seed 3"
    assert command_of({"sweep": {"name": "sweep"}, "flags": []}) is None  # from Python
    assert command_of({"sweep": {"name": "mine"}, "flags": ["mine", "--out", "a b; $c"]}) == (
        "python -m experiments.sweep mine --out 'a b; $c'"
    )


def test_the_report_of_a_run(small: Config, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder: where a trial diverged, names with true labels, the same bytes again, nothing stale left."""
    monkeypatch.setattr("jaxgen.report.page.answer", lambda results, task: Verdict((f"{len(results.rows)} trials",)))
    axes = {"optimizer.name": ["sgd"], "optimizer.learning_rate": [0.1, 1e30]}
    results = jaxgen.run(jaxgen.grid(small, axes), corpus, tmp_path / "run", width=2, chunk=1)
    (row,) = (row for row in results.rows if row.status == "diverged")
    (tmp_path / "run" / "plots").mkdir()
    (tmp_path / "run" / "plots" / "heat.png").write_bytes(b"of an earlier report")
    page = report(tmp_path / "run").read_text(encoding="utf-8")
    assert "<p>2 trials</p>" in page
    assert f"<td>{row.steps}</td>" in page
    assert f"<code>{row.flaw}</code>" in page
    names = re.findall(r'<li><bdi>(.*?)</bdi> <span class="mark (\w+)">', page)
    sampled = jaxgen.sample(results.best())
    assert names == list(zip(sampled, labels(sampled, corpus), strict=True))
    assert {path.stem for path in (tmp_path / "run" / "plots").iterdir()} == {
        "curves",
        "learning_rate",
        "divergence",
        "embeddings",
    }
    assert report(tmp_path / "run").read_text(encoding="utf-8") == page


def test_a_run_in_which_nothing_ended_well_has_a_page(tmp_path: Path) -> None:
    corpus = invented.evil_corpus(tmp_path)
    nothing = Results(jaxgen.Sweep(Config()))
    found = Found(nothing, no_answer(nothing), None)
    page = html(found, invented.facts_of(found, corpus), save(found, tmp_path / "plots"))
    assert "No trial has ended with a finite validation loss, so there is no answer yet" in page
    assert list((tmp_path / "plots").iterdir()) == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed, so no page can be looked at")
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


COLUMN = "[...document.querySelectorAll('.board tbody tr')].map(row => row.cells[{0}].textContent)"
CLICK = "document.querySelectorAll('.board th button')[{0}].click()"
SORTED = "document.querySelectorAll('.board th')[{0}].getAttribute('aria-sort')"


def test_a_browser_opens_the_page_without_an_error_or_a_request(shown: Path, browser: Browser) -> None:
    for width in (1280, 360):
        for dark in (False, True):
            browser.open(shown.as_uri(), width=width, dark=dark)
            asked = [event["request"]["url"] for event in browser.told("Network.requestWillBeSent")]
            assert [url for url in asked if not url.startswith("data:")] == [shown.as_uri()]
            assert browser.told("Log.entryAdded") == []
            assert browser.told("Runtime.consoleAPICalled") == []
            assert browser.told("Runtime.exceptionThrown") == []
            assert browser.value("document.documentElement.scrollWidth") <= width  # nothing to scroll sideways to
            images = "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
            assert browser.value(images)
            chosen = "[...document.images].every(image => image.currentSrc === image.parentNode.children[{0}]['{1}'])"
            assert browser.value(chosen.format(*((0, "srcset") if dark else (1, "src"))))


def test_a_click_on_a_head_sorts_the_leaderboard(shown: Path, browser: Browser) -> None:
    browser.open(shown.as_uri())
    heads = browser.value("[...document.querySelectorAll('.board th')].map(head => head.textContent)")
    rate, validation = heads.index("learning rate"), heads.index("validation")
    before = browser.value(COLUMN.format(validation))
    assert len(before) == 40
    assert before[-4:] == ["-"] * 4
    browser.value(CLICK.format(0))
    assert browser.value(COLUMN.format(0)) == [str(place) for place in range(1, 41)]  # and not 1, 10, 11
    browser.value(CLICK.format(rate))
    assert browser.value(SORTED.format(rate)) == "ascending"
    assert list(map(float, browser.value(COLUMN.format(rate)))) == sorted(rate for rate in invented.RATES for _ in range(8))
    browser.value(CLICK.format(validation))
    browser.value(CLICK.format(validation))
    assert browser.value(SORTED.format(validation)) == "descending"
    assert browser.value(SORTED.format(rate)) is None
    after = browser.value(COLUMN.format(validation))
    assert after == [*sorted(before[:-4], key=float, reverse=True), *["-"] * 4]  # those without a number stay last
    assert browser.value("[...document.querySelectorAll('tr.best')].every(row => row.cells[0].textContent === '1')")


def test_the_browser_runs_no_script_but_the_pages_own(shown: Path, browser: Browser, tmp_path: Path) -> None:
    """Even where escaping had failed."""
    broken = shown.read_text(encoding="utf-8").replace(
        "</body>", "<script>document.title = 'run'</script><img src=x onerror='document.title=1'></body>"
    )
    (tmp_path / "broken.html").write_text(broken, encoding="utf-8")
    browser.open((tmp_path / "broken.html").as_uri())
    assert "jaxgen" in browser.value("document.title")
    assert len([entry for entry in browser.told("Log.entryAdded") if "Content Security Policy" in entry["entry"]["text"]]) == 3
