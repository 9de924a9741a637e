"""What the docstrings of public names show is run, and so are the files of examples/. What the former begin with stands in
`docs/reference.md`."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import jaxgen
from jaxgen import _MODULES, _PUBLIC
from jaxgen.tasks.names.data import Corpus

pytestmark = pytest.mark.usefixtures("compiled_quickly", "unillustrated")

PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def given(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's first lines make, in a folder with a file of names."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "names.txt").write_bytes(Path(corpus.path).read_bytes())
    begins = re.search(r"```python\n(.*?)```", PAGE, re.S)
    assert begins is not None
    names: dict[str, Any] = {"__name__": __name__, "folder": folder}  # types are looked up by their module
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(begins[1], "docs/reference.md", "exec", dont_inherit=True), names)
    return names


def docstring(name: str) -> str:
    """What `help` shows of a public name; of a type that is an alias, the text below it, which nothing keeps."""
    found = getattr(jaxgen, name)
    if inspect.isclass(found) or inspect.isfunction(found) or inspect.ismodule(found):
        return found.__doc__ or ""
    source = importlib.import_module(f"jaxgen.{_PUBLIC[name]}").__file__
    body = ast.parse(Path(str(source)).read_text(encoding="utf-8")).body
    places = (i for i, part in enumerate(body) if isinstance(part, ast.Assign) and getattr(part.targets[0], "id", "") == name)
    below = body[next(places) + 1]
    return str(below.value.value) if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""


@pytest.mark.parametrize("name", [*_PUBLIC, *_MODULES])
def test_each_public_name_has_an_example_that_runs(name: str, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(given["folder"])
    test = doctest.DocTestParser().get_doctest(docstring(name), dict(given), name, None, None)
    assert test.examples, f"jaxgen.{name} has no example; give its docstring one"
    said: list[str] = []
    ran = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    assert ran.failed == 0, "".join(said)


def test_the_page_shows_each_public_name_once() -> None:
    shown = re.findall(r"^::: jaxgen\.(\w+)$", PAGE, re.M)
    assert sorted(shown) == sorted([*_PUBLIC, *_MODULES])


SAID = {"names": "adam beats sgd by", "loop": r"step 500: validation 0\.0", "digits": ""}  # what each file of examples/ prints


def test_all_files_of_examples_are_run_and_listed() -> None:
    files = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert files == set(SAID)
    assert files == set(re.findall(r"^\| \[(\w+)\.py\]", (ROOT / "examples" / "README.md").read_text(encoding="utf-8"), re.M))


@pytest.mark.parametrize("name", SAID)
def test_a_file_of_examples_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    assert re.search(SAID[name], capsys.readouterr().out)
