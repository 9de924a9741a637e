"""Pages for tests, and what a browser would make of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import invented
import pytest
from browser import CHROMIUM, Browser

from jaxgen.report.page import html
from jaxgen.report.pictures import Found, save
from jaxgen.tasks.names import show
from jaxgen.tasks.names.task import Names


def evil_page(folder: Path) -> Path:
    """The page of 200 trials, whose names, values and sentences mean harm."""
    corpus = invented.evil_corpus(folder)
    results = replace(invented.large(), out=f"runs/{invented.EVIL}", task=Names(corpus))
    found = Found(results, invented.verdict(), invented.trained(corpus.vocabulary.characters))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(show, "sample", lambda trained, count, *how, **more: list(invented.NAMES))
        patch.setattr(show, "labels", lambda names, corpus: ["new", "repeated", "corpus"] * 4)
        sections = Names(corpus).show(found)
    pictures = save(found, folder / "plots", sections)
    page = html(found, invented.facts_of(found, corpus), pictures, sections)
    (folder / "report.html").write_text(page, encoding="utf-8")
    return folder / "report.html"


@contextmanager
def a_browser(folder: Path) -> Iterator[Browser]:
    """A browser; without one the test is skipped."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed, so no page can be looked at")
    with Browser(folder) as browser:
        yield browser


DRAWN = """new Promise(done => {
  const look = () => document.documentElement.dataset.drawn ? done(true) : setTimeout(look, 20);
  look();
})"""  # the charts


class Parsed(HTMLParser):
    """What a browser would make of a page: its elements, and the text outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": [], "data": []}
        self.text: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        self._inside = "data" if tag == "script" and ("type", None) not in attrs and dict(attrs).get("type") else tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        self.inline[self._inside].append(data) if self._inside in self.inline else self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]
