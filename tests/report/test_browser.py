"""The page in a browser: it looks as it should, asks no one for anything, and answers to the pointer."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import invented
import numpy as np
import pytest
from browser import Browser
from pages import DRAWN, a_browser, evil_page
from plotly.graph_objects import Figure

import jaxgen
from jaxgen.judge.answers import answer
from jaxgen.judge.results import Results
from jaxgen.judge.shown import cell
from jaxgen.report import charts, plots
from jaxgen.report.page import html
from jaxgen.report.pictures import PICTURES, Found, save
from jaxgen.report.style import COLOURS, DARK, LIGHT, ON_DARK
from jaxgen.tasks.names.config import Config


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evil_page(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with a_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


COLUMN = "[...document.querySelectorAll('.board tbody tr')].map(row => row.cells[{0}].textContent)"
CLICK = "document.querySelectorAll('.board th button')[{0}].click()"
SORTED = "document.querySelectorAll('.board th')[{0}].getAttribute('aria-sort')"


def test_a_browser_opens_the_page_without_an_error_or_a_request(shown: Path, browser: Browser) -> None:
    for width in (1280, 360):
        for dark in (False, True):
            browser.open(shown.as_uri(), width=width, dark=dark)
            assert browser.value(DRAWN)
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


PLACE = "document.querySelector('[data-chart={0}]')"


def test_charts_stand_in_the_place_of_pictures_and_are_of_the_style(shown: Path, browser: Browser) -> None:
    for dark, palette, paper in ((False, COLOURS, LIGHT), (True, ON_DARK, DARK)):
        browser.open(shown.as_uri(), dark=dark)
        browser.value(DRAWN)
        drawn = browser.value("[...document.querySelectorAll('[data-chart]')].map(place => place.dataset.chart)")
        assert set(drawn) == set(charts.CHARTS) - {"heat"}  # of more than two keys
        seen = "[...document.querySelectorAll('.frame')].map(frame => [frame.parentNode.id, frame.offsetHeight > 0])"
        assert {name for name, there in browser.value(seen) if there} == {"divergence", "embeddings"}
        assert browser.value(f"{PLACE.format('curves')}.data.find(line => line.name === 'adam').line.color") == palette[0]
        assert browser.value(f"{PLACE.format('curves')}.layout.paper_bgcolor") == paper["figure.facecolor"]


def test_where_no_script_runs_the_pictures_are_there(shown: Path, browser: Browser) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(shown.as_uri())
        heights = browser.value("[...document.querySelectorAll('.frame')].map(frame => frame.offsetHeight)")
        assert len(heights) == 8
        assert min(heights) > 100
        assert browser.value("[...document.querySelectorAll('[data-chart]')].every(place => place.offsetHeight === 0)")
        rows = browser.value("[...document.querySelectorAll('.board tbody tr')].filter(row => row.offsetHeight > 0).length")
        assert rows == 40
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_a_chart_says_what_is_at_the_pointer_and_hides_what_is_clicked(shown: Path, browser: Browser) -> None:
    browser.open(shown.as_uri())
    browser.value(DRAWN)
    place = PLACE.format("curves")
    last = browser.value(f"{place}.data.find(line => line.name === 'adam').y.at(-1)")
    browser.value(f"Plotly.Fx.hover({place}, {{xval: 100}}, ['xy'])")
    said = browser.value(f"{place}.querySelector('.hoverlayer').textContent")
    assert f"{last:.4f}" in said
    assert said.count("adam") == 2  # validation and training
    toggle = f"[...{place}.querySelectorAll('.legendtoggle')][0]"
    for event in ("mousedown", "mouseup"):
        browser.value(f"{toggle}.dispatchEvent(new MouseEvent('{event}', {{bubbles: true}}))")
    hidden = f"new Promise(done => setTimeout(() => done({place}.data.map(line => line.visible ?? true)), 600))"
    found = dict(zip(browser.value(f"{place}.data.map(line => line.legendgroup)"), browser.value(hidden), strict=True))
    assert found == {"0": "legendonly", "1": True}  # with its band and its training


def test_what_means_harm_stays_text_in_a_chart(browser: Browser, tmp_path: Path) -> None:
    """Plotly reads some markup: neither links, nor line breaks, nor bold text come of a name."""
    evil = (invented.EVIL, "<a href='https://example.com'>x</a>", "a<br>b", "<b>b</b>&lt;i&gt;", "%{x}", "\u202eevil")
    sweep = jaxgen.grid(Config(), {"model.activation": evil, "optimizer.learning_rate": [0.1, 0.2], "seed": range(3)})
    results = invented.results_of(sweep, jaxgen.Question(arms=("model.activation",)))
    results = replace(results, rows=[replace(row, score=row.score + 0.01 * row.trial) for row in results.rows])
    found = Found(results, answer(results), None)
    page = html(found, invented.facts_of(found, invented.evil_corpus(tmp_path)), save(found, tmp_path / "plots"))
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    browser.open((tmp_path / "report.html").as_uri())
    browser.value(DRAWN)
    for name in ("curves", "differences", "learning_rate"):
        place = PLACE.format(name)
        assert browser.value(f"{place}.querySelectorAll('a, b, i, script').length") == 0
        texts = browser.value(f"[...{place}.querySelectorAll('.legendtext, .ytick text')].map(text => text.textContent)")
        wanted = {one if one.isprintable() else repr(one) for one in evil}
        assert len(wanted - set(texts)) == (name == "differences")  # the winner
    for at in range(6):
        browser.value(f"Plotly.Fx.hover({PLACE.format('curves')}, {{xval: {20 * at}}}, ['xy'])")
        assert browser.value(f"{PLACE.format('curves')}.querySelectorAll('a, b, i').length") == 0
    assert browser.told("Log.entryAdded") == []
    assert "jaxgen" in browser.value("document.title")


def typed(text: str) -> str:
    """What a user does who types into the leaderboard's filter."""
    field = "document.querySelector('#leaderboard input')"
    return f"{field}.value = {json.dumps(text)}; {field}.dispatchEvent(new Event('input'))"


SEEN = "[...document.querySelectorAll('.board tbody tr')].filter(row => !row.hidden).length"


def test_the_leaderboard_filters_and_copies_what_is_left(shown: Path, browser: Browser) -> None:
    browser.open(shown.as_uri())
    assert browser.value(SEEN) == 40
    browser.value(typed("SGD 0.01"))
    assert browser.value(SEEN) == 4
    assert "4 of 40" in browser.value("document.querySelector('#leaderboard .bar').textContent")
    browser.value(
        "navigator.clipboard.writeText = async text => { window.copied = text }"
    )  # a test may not ask for the real one
    browser.value("document.querySelector('#leaderboard .bar button').click()")
    head, *rows = csv.reader(io.StringIO(browser.value("window.copied")))
    assert head[:4] == ["place", "validation", "optimizer", "learning rate"]
    assert [row[2:4] for row in rows] == [["sgd", "0.01"]] * 4
    browser.value(typed(""))
    assert browser.value(SEEN) == 40
    commands = browser.value("document.querySelectorAll('.command button').length")
    assert commands == browser.value("document.querySelectorAll('pre').length") == 2


def test_of_very_many_rows_the_rest_is_one_click_away(browser: Browser, tmp_path: Path) -> None:
    many = invented.results_of(jaxgen.grid(Config(), {"model.hidden": range(1, 71)}))
    found = Found(many, answer(many), None)
    (tmp_path / "report.html").write_text(html(found, invented.facts_of(found, invented.evil_corpus(tmp_path)), {}))
    browser.open((tmp_path / "report.html").as_uri())
    assert browser.value(SEEN) == 50
    browser.value("document.querySelector('#leaderboard .more').click()")
    assert browser.value(SEEN) == 70
    browser.open((tmp_path / "report.html").as_uri())
    browser.value(typed("70"))  # among those that were not shown
    assert browser.value(SEEN) >= 1


def test_on_a_phone_the_validation_loss_is_seen(shown: Path, browser: Browser) -> None:
    browser.open(shown.as_uri(), width=390)
    box = "document.querySelector('.board tbody tr').cells[1].getBoundingClientRect()"
    assert 0 < browser.value(f"{box}.left") < browser.value(f"{box}.right") < 390
    assert browser.value("[...document.querySelectorAll('.wide')].every(box => box.scrollHeight <= box.clientHeight + 20)")


@pytest.fixture(scope="module")
def large() -> Found:
    results = invented.large()
    return Found(results, answer(results), None)


def test_charts_are_of_plotlys_kind(large: Found) -> None:
    """As Plotly's own Python knows it: no key and no value that it does not have."""
    found = charts.charts(large) | {"heat": charts.heat(two_keys()), "budgets": charts.budgets(asked(large))}
    assert set(found) == set(charts.CHARTS)
    for chart in found.values():
        assert chart is not None
        figure = Figure(**plain(chart))
        assert len(figure.to_dict()["data"]) == len(chart["data"])


def two_keys() -> Found:
    """Of a grid of two keys, in which one setting diverges."""
    axes = {"optimizer.name": ["sgd", "adam"], "optimizer.learning_rate": invented.RATES, "seed": range(3)}
    results = invented.results_of(jaxgen.grid(Config(), axes))
    return Found(results, answer(results), None)


def asked(large: Found) -> Found:
    """The same by optimizers, each tuned."""
    results = replace(large.results, question=replace(large.results.question, arms=("optimizer.name",)))
    return Found(results, answer(results), None)


def test_a_heat_map_says_each_setting_and_frames_the_best() -> None:
    found = two_keys()
    chart = charts.heat(found)
    assert chart is not None
    (cells,) = chart["data"]
    known = {tuple(map(cell, arm.values.values())): arm for arm in found.results.leaderboard()}
    for name, means, texts in zip(cells["y"], cells["z"], cells["text"], strict=True):
        for rate, mean, text in zip(cells["x"], means, texts, strict=True):
            score = known[name, rate].mean("score")
            assert text == (f"{score:.4f}" if math.isfinite(score) else "div.")
            assert mean == (pytest.approx(score, rel=1e-5) if math.isfinite(score) else None)
    (frame,) = chart["layout"]["shapes"]
    best = found.results.leaderboard()[0].values
    place = (cells["y"][round(frame["y0"] + 0.5)], cells["x"][round(frame["x0"] + 0.5)])
    assert place == tuple(map(cell, best.values()))


def test_what_tuning_buys_is_that_of_the_verdict(large: Found) -> None:
    found = asked(large)
    chart = charts.budgets(found)
    assert chart is not None
    lines = {line["name"]: line for line in chart["data"] if "name" in line}  # bands have none
    assert set(lines) == set(found.verdict.budgets)
    for name, tried in found.verdict.budgets.items():
        known = {one.settings: one.loss for one in tried if math.isfinite(one.loss)}  # of few settings all may have diverged
        assert lines[name]["x"] == [*known]
        np.testing.assert_allclose(lines[name]["y"], [*known.values()], rtol=1e-5)


def plain(value: Any, key: str = "") -> Any:
    """With colours that Plotly knows in the place of those that the page has."""
    if isinstance(value, dict):
        return {name: plain(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one, key) for one in value]
    if key == "colorscale":
        return "viridis"
    return "red" if key.endswith("color") and str(value).startswith("@") else value


def test_charts_hold_what_the_pictures_hold(large: Found) -> None:
    found = charts.charts(large)
    assert set(found) <= set(PICTURES)
    lines = {line["name"]: line for line in found["curves"]["data"] if line.get("showlegend", True)}
    for course in plots.courses(large.results):
        assert lines[course.name]["x"] == course.steps
        np.testing.assert_allclose(lines[course.name]["y"], course.validation.mean(0), rtol=1e-5)
        assert lines[course.name]["line"]["color"] == f"@C{course.place}"
    (dot,) = found["differences"]["data"]
    (one,) = large.verdict.comparisons
    assert dot["x"] == [pytest.approx(one.difference, rel=1e-5)]
    assert dot["marker"]["line"]["color"] == "@C1"  # sgd's, as in the curves
    assert dot["marker"]["color"] == ("@C1" if one.resolved else "@paper")
    crosses = [line for line in found["learning_rate"]["data"] if "text" in line]
    assert [(line["x"], line["text"]) for line in crosses] == [([10.0], ["5 diverged"])]  # of sgd's best setting there
    assert len(found["parallel"]["data"]) == 40
    assert len(found["layers"]["data"]) == 2 * 8
    assert charts.numbers([1.23456789, math.nan, math.inf]) == [1.23457, None, None]


def test_of_nothing_there_is_no_chart() -> None:
    nothing = Results(jaxgen.Sweep(Config()))
    assert charts.charts(Found(nothing, answer(nothing), None)) == {}
