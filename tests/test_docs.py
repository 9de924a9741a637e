"""The site: it is built strictly and asks the network for nothing, its lessons and tables say what the ablations say, and its
notebooks run. What needs the `docs` extra is left out where that is not installed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT
from processes import Commands

DOCS = ROOT / "docs"
LESSONS = [path for path in sorted((DOCS / "lessons").glob("*.md")) if path.stem != "index"]
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
LARGEST = 2_000  # characters that a stored output may have
REPOSITORIES = ("https://github.com/karpathy/makemore",)
OUTSIDE = re.compile(  # papers and archives, where they are sure to stay
    r"https://(doi\.org/10\.\d{4,}/\S+|arxiv\.org/abs/\d{4}\.\d{4,5}|(www\.)?jmlr\.org/papers/v\d+/\w+\.html"
    r"|proceedings\.mlr\.press/v\d+/\w+\.html|archive\.ics\.uci\.edu/dataset/\d+/\S+|www\.cs\.toronto\.edu/~tijmen/csc321/\S+\.pdf)"
)


@cache
def script(name: str) -> ModuleType:
    """A script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Page(HTMLParser):
    """What a page loads, where its links go, and what can be linked to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids.add(found.get("id", ""))
        if "href" in found and tag == "a":
            self.links.append(found["href"])
        elif "href" in found and found.get("rel") != "canonical":
            self.loaded.append(found["href"])
        self.loaded += [found[name] for name in ("src", "srcset", "data", "poster") if name in found]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """The pages of the site, built as the gate wants it: a warning is an error."""
    pytest.importorskip("mkdocs")
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    kept = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    built = subprocess.run(
        command, cwd=ROOT, env=kept | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def test_pages_load_nothing_from_elsewhere(pages: dict[Path, Page]) -> None:
    loaded = {place for page in pages.values() for place in page.loaded}
    assert any(place.endswith(".css") for place in loaded)
    assert not [place for place in loaded if re.match(r"(\w+:)?//", place)]


def test_links_lead_somewhere(pages: dict[Path, Page]) -> None:
    """Those to the site itself are followed; of others, the form is looked at: tests have no network."""
    outside = set()
    for page in pages.values():
        for link in page.links:
            if re.match(r"\w+:", link):
                outside.add(link)
                continue
            place, _, anchor = link.partition("#")
            target = (page.path.parent / place).resolve() if place else page.path
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{page.path.name} links to {link}"
            if anchor and target.suffix == ".html" and not anchor.startswith("__"):
                assert anchor in pages[target].ids, f"{page.path.name} links to {link}"
    assert len(outside) > 30
    assert not [link for link in outside if not OUTSIDE.fullmatch(link) and link not in REPOSITORIES]


def test_conclusions_are_what_the_answers_say() -> None:
    build = script("build")
    answers = json.loads((DOCS / "answers.json").read_text(encoding="utf-8"))
    assert (DOCS / "conclusions.md").read_text(encoding="utf-8") == build.page(answers)
    rows = re.findall(r"^\| \[(\w+)\]", (DOCS / "conclusions.md").read_text(encoding="utf-8"), re.M)
    assert rows == [name for name in build.ABLATIONS if name in answers]


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("a, b 0.9 beats c by 0.010 nats (95% CI 0.003 to 0.017, 6 seeds)", ("a, b 0.9", "c", "0.010", "yes")),
        ("not resolved: a leads b by 0.001 nats, which could be chance (95% CI ...)", ("a", "b", "0.001", "no")),
        ("not resolved: a 0 and a 4 come to the same loss at each of 8 seeds", ("a 0", "a 4", "0", "no")),
        ("split by order: not resolved: a leads b by 0.1 nats, which", ("a (split by order)", "b", "0.1", "no")),
        ("a search finds the better setting than b search in 63% of 9 plays of 16 settings, and 0.0050 nats lower on average",
         ("a search", "b search", "0.0050", "in 63% of plays")),
        ("nothing to choose from", ("nothing to choose from", "", "", "")),
    ],
)  # fmt: skip
def test_the_table_reads_every_kind_of_sentence(sentence: str, found: tuple[str, ...]) -> None:
    assert script("build").standing([sentence]) == found


def test_each_ablation_has_its_lesson_with_its_minutes() -> None:
    """With `jaxgen sweep NAME  # minutes`, as its module says."""
    build = script("build")
    text = "\n".join(path.read_text(encoding="utf-8") for path in LESSONS)
    said = dict(re.findall(r"^jaxgen sweep (\w+) +# (\d+:\d\d)$", text, re.M))
    assert said == {name: build.minutes(name) for name in build.ABLATIONS}


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_has_all_its_parts(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    parts = [
        '!!! question "Before you run it"',
        "```bash\njaxgen ",
        "![",
        "**What to see",
        "## Exercise",
        '??? success "Answer"',
    ]
    assert [part for part in parts if part not in text] == []
    assert text.count("## Exercise") == text.count('??? success "Answer"')


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    book: Any = script("notebooks").executed(path, tmp_path)
    assert any(cell.get("outputs") for cell in book.cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored_of_a_notebook_is_small(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]
    assert outputs
    assert max(len(json.dumps(output)) for output in outputs) <= LARGEST
    assert not [output for output in outputs if output["output_type"] == "error"]


def asked(path: Path) -> list[list[str]]:
    """The commands of a page's blocks of bash that give flags, but for those on a file of the reader's."""
    blocks = re.findall(r"```bash\n(.*?)```", path.read_text(encoding="utf-8"), re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines if line.startswith("jaxgen ")]
    return [found[1:] for found in words if any(word.startswith("-") for word in found) and not {"--task", "--data"} & {*found}]


@pytest.mark.parametrize("path", [DOCS / "index.md", DOCS / "guide.md", *LESSONS], ids=lambda path: path.stem)
def test_commands_of_a_page_are_understood(path: Path, commands: Commands, tmp_path: Path) -> None:
    """They come to where the folder is looked at, which is after all flags have been."""
    held = tmp_path / "held"
    held.mkdir()
    (held / "config.json").write_text("{}")
    for command, *words in asked(path):
        trains = command in ("sweep", "train")
        words = [*words, "--out", str(held)] if trains else [str(tmp_path / "none"), *words[1:]]
        code, _, err = commands.call(command, *words)
        assert (code, ("holds a run" if trains else "holds no run") in err) == (2, True), err
