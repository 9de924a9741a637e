"""The model card of an exported trial, read by a parser of Markdown and by the hub's own reader."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from conftest import ROOT, same_bits
from invented import EVIL
from markdown_it import MarkdownIt
from safetensors import safe_open
from tasks.names.test_families import trained

import jaxgen
from jaxgen import runs
from jaxgen.judge.results import Results, Trained
from jaxgen.storage.card import CARD, code, portable
from jaxgen.storage.portable import WEIGHTS
from jaxgen.tasks.digits.task import DIGITS
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus
from jaxgen.tasks.names.task import BUNDLED

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def parsed(text: str) -> tuple[Any, dict[str, str], set[str]]:
    """The head as the hub reads it, the tables' first and second columns, and the kinds of what stands in the text."""
    hub = pytest.importorskip("huggingface_hub", reason="the hub's reader comes with trackio")
    card = hub.ModelCard(text)
    tokens = MarkdownIt("commonmark").enable("table").parse(card.text)
    inline = [token for token in tokens if token.type == "inline"]
    kinds = {token.type for token in tokens} | {child.type for token in inline for child in token.children or ()}
    html = MarkdownIt("commonmark").enable("table").render(card.text)
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row, re.DOTALL) for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)]
    return card.data, {told(row[0]): told(row[1]) for row in rows}, kinds


def told(cell: str) -> str:
    return unescape(re.sub("</?code>", "", cell))


@pytest.fixture(scope="module")
def results(small: Config, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Results:
    base = jaxgen.override(small, {"train.names": 8})
    return runs.run(jaxgen.seeds(base, 2), corpus, tmp_path_factory.mktemp("card") / "run")


def test_the_card_says_what_the_trial_is(results: Results, corpus: Corpus, tmp_path: Path) -> None:
    best, row = results.best(), results.best_row()
    head, tables, _ = parsed((jaxgen.export(best, tmp_path / "trial") / CARD).read_text())
    assert (head.library_name, head.tags, head.metrics) == ("jaxgen", ["jaxgen", "jax", "names", "mlp"], ["loss"])
    assert head.license is None  # nothing is known of this corpus
    found = {one.metric_name: one.metric_value for one in head.eval_results}
    assert found == {f"{part} loss": row.value(f"{short}_loss") for part, short in
                     (("validation", "val"), ("test", "test"), ("training", "train"))}  # fmt: skip
    assert {one.dataset_name for one in head.eval_results} == {"names.txt"}
    assert tables["sha256"] == corpus.sha256
    assert tables["names"] == "400"
    assert tables["licence"].startswith("not known")
    assert tables["mean cross-entropy, the boundary included (nats a character)"] == f"{row.val_loss:.4f}"
    assert tables["novelty"] == f"{row.value('novelty'):.4f}"
    assert tables["model.hidden"] == "16"
    assert tables["optimizer.learning_rate"] == "0.003"  # which was left out, and is adam's
    assert tables["seed"] == str(row.seed)
    text = (tmp_path / "trial" / CARD).read_text()
    assert f"A network of {row.params:,} parameters" in text


def test_the_example_of_the_card_runs(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    folder = jaxgen.export(results.best(), tmp_path / "trial")
    (example,) = re.findall(r"```python\n(.*?)```", (folder / CARD).read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    exec(compile(example, CARD, "exec"), {})
    assert len(json.loads(capsys.readouterr().out.replace("'", '"'))) == 10


def test_the_card_of_a_mixture_says_what_it_is(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = jaxgen.export([results.trained(1), results.trained(0)], tmp_path / "mixture")
    text = (folder / CARD).read_text()
    head, tables, _ = parsed(text)
    assert (head.library_name, head.tags) == ("jaxgen", ["jaxgen", "jax", "names", "mixture"])
    for row in results.rows:
        place = f'<a href="trial-{row.trial}/README.md">{row.trial}</a>'
        assert tables[place] == f"{row.params:,}"
        assert f"| {row.val_loss:.4f} | {row.test_loss:.4f} |" in text
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(folder)
    exec(compile(example, CARD, "exec"), {})
    assert len(json.loads(capsys.readouterr().out.replace("'", '"'))) == 10


def test_two_exports_of_a_trial_are_the_same_bytes(results: Results, tmp_path: Path) -> None:
    """From the process that trained it, from its folder, and from another export."""
    assert results.out is not None
    one = jaxgen.export(results.best(), tmp_path / "a")
    for again in (results.best(), jaxgen.load(results.out), jaxgen.load(one)):
        other = jaxgen.export(again, tmp_path / "b")
        assert {path.name: path.read_bytes() for path in other.iterdir()} == {p.name: p.read_bytes() for p in one.iterdir()}
        for path in other.iterdir():
            path.unlink()


def test_the_weights_say_what_they_are_of(results: Results, tmp_path: Path) -> None:
    best = results.best()
    folder = jaxgen.export(best, tmp_path / "trial")
    with safe_open(folder / WEIGHTS, "np") as file:
        assert file.metadata() == {"format": "jaxgen", "framework": "jax", "task": "names"}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no dictionary)
    assert same_bits(list(arrays.values()), [arrays[name] for name in arrays])
    wanted = sum(np.asarray(x).size for x in jax.tree.leaves((best.params, best.stats)))
    assert sum(x.size for x in arrays.values()) == wanted
    assert int.from_bytes((folder / WEIGHTS).read_bytes()[:8], "little") % 8 == 0


def test_bundled_data_are_known_by_their_sums() -> None:
    table = (ROOT / "data" / "README.md").read_text()
    assert set(BUNDLED) < set(re.findall("[0-9a-f]{64}", table))


@pytest.mark.parametrize(("task", "licence", "name"), [("names", "other", "public-domain"), ("digits", "cc-by-sa-3.0", None)])
def test_licences_that_are_known_are_said(task: str, licence: str, name: str | None, tmp_path: Path) -> None:
    member = trained("mlp")
    member = dataclasses.replace(member, data={"path": "/home/me/names.txt", "sha256": next(iter(BUNDLED))})
    if task == "digits":
        member = Trained(0, DIGITS.config(), DIGITS.opened(DIGITS.config().data), {}, {}, data={"images": "mnist"})
    head, tables, _ = parsed((jaxgen.export(member, tmp_path / "trial") / CARD).read_text())
    assert (head.license, getattr(head, "license_name", None)) == (licence, name)
    assert not tables["licence"].startswith("not known")
    assert "None is known of this trial" in (tmp_path / "trial" / CARD).read_text()


def test_a_task_of_ones_own_has_a_card(tmp_path: Path) -> None:
    """With a name that means harm, in a file of this machine, that predicts."""

    def init(model, key: Any, inputs: Any) -> Any:
        return {"w": jax.numpy.zeros((inputs.shape[-1], 1))}, {}

    def apply(model: Any, params: Any, stats: Any, inputs: Any, train: bool, key: Any = None) -> Any:
        return inputs @ params["w"], stats

    x = np.random.default_rng(0).normal(size=(40, 3))
    task = jaxgen.supervised((init, apply), (x, x[:, :1]), loss=lambda o, t: ((o - t) ** 2)[:, 0], name=f"mine {EVIL}")
    task.place = "/home/me/secret/task.py:task"
    config = jaxgen.override(task.config(), {"train.steps": 20, "train.eval_every": 20, "train.batch_size": 8})
    results = runs.run(config, task)
    folder = jaxgen.export(results.best(), tmp_path / "trial")
    head, tables, kinds = parsed((folder / CARD).read_text())
    assert head.tags == ["jaxgen", "jax", f"mine {EVIL}"]
    assert tables["rows: train"] == "32"
    assert len(tables["sha256"]) == 64
    assert kinds.isdisjoint({"html_inline", "html_block"})
    for path in folder.iterdir():
        assert b"secret" not in path.read_bytes()
    (example,) = re.findall(r"```python\n(.*?)```", (folder / CARD).read_text(), re.DOTALL)
    with contextlib.chdir(folder):
        exec(compile(example, CARD, "exec"), {"task": task, "inputs": x[:2]})


HARM = [
    EVIL,
    "a`b``c",
    "`",
    "a|b",
    "[x](javascript:alert(1))",
    "![x](http://a/b.png)",
    "# head\n---\nlicense: mit",
    "\u202eevil",
    "\\",
    "{{7*7}}",
    "",
    " ",
    '"',
    "\ud800",
    "😀",
    "<!--",
]


@pytest.mark.parametrize("harm", HARM)
def test_what_a_card_quotes_stays_text(harm: str, tmp_path: Path) -> None:
    member = trained("mlp")
    config = jaxgen.override(member.config, {"data.column": harm, "data.path": f"/home/me/{harm}"})
    data = {"path": f"/home/me/secret/{harm}.txt", "column": harm, "sha256": harm, "note": harm}
    folder = jaxgen.export(dataclasses.replace(member, config=config, data=data), tmp_path / "trial")
    head, tables, kinds = parsed((folder / CARD).read_text())
    assert head.license is None
    assert kinds.isdisjoint({"html_inline", "html_block", "link_open", "image", "hr"})
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in harm).strip()
    assert {tables["note"].strip(), tables["sha256"].strip()} == {shown}
    assert "secret" not in (folder / CARD).read_text()
    assert "/home" not in (folder / CARD).read_text()
    assert "49" not in tables["note"]
    jaxgen.load(folder)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/home/me/names.txt", "names.txt"),
        ("C:\\Users\\me\\names.txt", "names.txt"),
        ("\\\\server\\share\\names.txt", "names.txt"),
        ("~/names.txt", "names.txt"),
        ("../../me/names.txt", "names.txt"),
        ("data/names.txt", "data/names.txt"),
        ("package.module:task", "package.module:task"),
        ("adam", "adam"),
        (3, 3),
        (None, None),
    ],
)
def test_folders_of_this_machine_stay_here(given: Any, kept: Any) -> None:
    assert portable(given) == kept


def test_a_code_span_cannot_be_left() -> None:
    assert code("a") == "`a`"
    assert code("a`b") == "`` a`b ``"
    assert code(0.003) == "`0.003`"
