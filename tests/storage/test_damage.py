"""Damage to what ended long ago costs those trials and no others: the others are read, and --resume trains the lost ones again,
to the bytes of a run that nothing happened to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import saved
from conftest import bytes_of, same, same_bits

import jaxgen
from jaxgen import runs
from jaxgen.engine.lanes import Ended, SegmentDone
from jaxgen.fields import UserError
from jaxgen.report.page import report
from jaxgen.runs import Interrupted, Notice
from jaxgen.search.sweep import Sweep
from jaxgen.storage import folder
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus

pytestmark = pytest.mark.usefixtures("compiled_quickly")


@pytest.fixture(scope="module")
def sweep(small: Config) -> Sweep:
    """Two groups, of which one program trains the first, and counting solves the second."""
    rates = {"optimizer.name": ["sgd"], "optimizer.learning_rate": [1e-2, 1e30], "train.steps": [20, 40], "seed": range(2)}
    counted = {"model.family": "ngram", "model.context": 2}
    return Sweep(small, (*jaxgen.grid(small, rates).points, counted, counted | {"seed": 1}))


def go(sweep: Sweep, corpus: Corpus, out: Path, segments: int = 99) -> tuple[list[str], list[int]]:
    """Trains, as far as some segments go, with a save after each: what a user was told, and which trials ended."""
    left, said, ended = segments, list[str](), list[int]()

    def listener(event: object, results: object) -> None:
        nonlocal left
        left -= isinstance(event, SegmentDone)
        if isinstance(event, Notice):
            said.append(event.text)
        if isinstance(event, Ended):
            ended.append(event.trial)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "SHARE", float("inf"))
        patch.setattr(folder, "ThreadPoolExecutor", lambda threads: saved.AtOnce())
        try:
            runs.run(sweep, corpus, out, width=4, chunk=2, resume=True, listener=listener, stop=lambda: left <= 0)
        except Interrupted:
            said.append("interrupted")
    return said, ended


@pytest.fixture(scope="module")
def whole(sweep: Sweep, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    go(sweep, corpus, out)
    assert len(saved.lines(out)) > 2
    return out


@pytest.fixture(scope="module")
def reference(whole: Path) -> Any:
    return bytes_of(whole)


@pytest.fixture(scope="module")
def begun(sweep: Sweep, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, stopped while trials run and others have ended."""
    out = tmp_path_factory.mktemp("begun") / "run"
    assert go(sweep, corpus, out, 2)[0] == ["interrupted"]
    assert saved.lines(out)
    return out


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def largest(place: Path) -> Path:
    return max((path for path in place.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def lose(out: Path, line: int, harm: Callable[[Path], None]) -> list[int]:
    """Harms the place of the trials that one line of the log speaks of."""
    said = saved.lines(out)[line]
    harm(out / "checkpoints" / said["place"])
    return sorted(row["trial"] for row in said["rows"])


HARMS: dict[str, Callable[[Path], None]] = {
    "a bit": lambda place: flip(largest(place), -9),
    "a file": lambda place: largest(place).unlink(),
    "the place": shutil.rmtree,
}


@pytest.mark.parametrize("line", [0, -1], ids=["trained", "counted"])
@pytest.mark.parametrize("harm", HARMS)
def test_what_is_lost_of_a_finished_run_is_trained_again(
    harm: str, line: int, whole: Path, reference: Any, sweep: Sweep, corpus: Corpus, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    lost = lose(out, line, HARMS[harm])
    results = jaxgen.load_results(out)
    assert len(results.rows) == len(sweep)
    for trial, arrays in enumerate(reference[2]):
        if trial not in lost:
            found = results.trained(trial)
            assert same_bits((found.params, found.stats), arrays)
            continue
        with pytest.raises(UserError, match=r"trials-0.*cannot be read; train what is lost again .* --resume"):
            results.trained(trial)
    said, ended = go(sweep, corpus, out)
    assert sorted(ended) == lost
    assert len(said) == 1
    assert said[0].endswith("trained again")
    assert "trials-0" in said[0]
    assert same(bytes_of(out), reference)
    assert go(sweep, corpus, out) == ([], [])
    assert same(bytes_of(out), reference)


@pytest.mark.parametrize("harm", ["a bit", "a line"])
def test_what_is_lost_of_a_run_that_goes_on_is_trained_again(
    harm: str, begun: Path, reference: Any, sweep: Sweep, corpus: Corpus, tmp_path: Path
) -> None:
    """A line of the log is lost with the rows that it holds. Stopped again and again, also while lost trials are trained."""
    out = tmp_path / "run"
    shutil.copytree(begun, out)
    if harm == "a bit":
        lost = lose(out, 0, HARMS[harm])
    else:
        lost = lose(out, 0, lambda place: flip(saved.log_of(out), 200))
        assert not {row.trial for row in jaxgen.load_results(out).rows} & {*lost}
    first, ended = go(sweep, corpus, out, 1)
    assert any(line.endswith("trained again") for line in first)
    seen = {*ended}
    for _ in range(20):
        said, ended = go(sweep, corpus, out, 1)
        seen |= {*ended}
        if "interrupted" not in said:
            break
    assert {*lost} <= seen
    assert same(bytes_of(out), reference)


def test_lines_in_another_order_are_no_lines_that_are_damaged(whole: Path, tmp_path: Path) -> None:
    """A log whose every line is sound and that is not what was written is refused."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    lines = saved.log_of(out).read_bytes().splitlines(keepends=True)
    saved.log_of(out).write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(UserError, match=r"ended\.jsonl' is damaged"):
        jaxgen.load_results(out)


def test_a_report_without_the_best_trials_arrays(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    best = jaxgen.load_results(out).best_row().trial
    line = next(i for i, said in enumerate(saved.lines(out)) if best in [row["trial"] for row in said["rows"]])
    lose(out, line, HARMS["a bit"])
    page = report(out).read_text(encoding="utf-8")
    assert f"Best trial: {best}" in page
    assert page.count("cannot be read; train what is lost again") == 1
    with pytest.raises(UserError, match="--resume, or give another trial"):
        jaxgen.load(out)
