"""A run's folder in bad company: other processes, other people's files, other machines."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import saved
from conftest import bytes_of, same_bits

import jaxgen
from jaxgen import runs
from jaxgen.engine.lanes import Event, SegmentDone
from jaxgen.engine.plan import Planned
from jaxgen.fields import UserError
from jaxgen.judge.results import Results
from jaxgen.report.page import report
from jaxgen.runs import Interrupted, Notice
from jaxgen.search.sweep import Sweep
from jaxgen.storage import files, folder
from jaxgen.storage.facts import config_text
from jaxgen.storage.lock import LOCK, Lock
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus

pytestmark = pytest.mark.usefixtures("compiled_quickly", "unillustrated")


@pytest.fixture(scope="module")
def sweep(small: Config) -> Sweep:
    rates = {"optimizer.name": ["sgd"], "optimizer.learning_rate": [1e-2, 0.1, 1e30], "seed": range(2)}
    return jaxgen.grid(small, rates)


def go(sweep: Sweep, corpus: Corpus, out: Path, segments: int = 99, **flags: Any) -> list[str]:
    """Trains, as far as some segments go; what a user was told."""
    left, said = segments, []

    def listener(event: Event | Planned | Notice, results: Results) -> None:
        nonlocal left
        left -= isinstance(event, SegmentDone)
        if isinstance(event, Planned | Notice):
            said.append(str(event))

    try:
        runs.run(sweep, corpus, out, resume=True, listener=listener, stop=lambda: left <= 0, **flags)
    except Interrupted:
        said.append("interrupted")
    return said


@pytest.fixture(scope="module")
def begun(sweep: Sweep, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped after three segments on four lanes, saved after each."""
    out = tmp_path_factory.mktemp("begun") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "SHARE", float("inf"))
        assert go(sweep, corpus, out, 3, width=4, chunk=2)[-1] == "interrupted"
    return out


@pytest.fixture(scope="module")
def reference(sweep: Sweep, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("reference") / "run"
    go(sweep, corpus, out, width=4, chunk=2)
    return bytes_of(out)


@pytest.mark.parametrize(("segment", "saves"), [(7.0, 7), (6.0, 5)])
def test_each_segment_is_saved_where_that_takes_a_twentieth_of_the_time(
    segment: float, saves: int, sweep: Sweep, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that segments alone move: seven of them, and a write has shared two cores with two threads for a second, which
    is a third of one. The first save knows of no write before it, and the last is always made."""
    now, write = 0.0, folder.Folder._write

    def listener(event: Event | Planned | Notice, results: Results) -> None:
        nonlocal now
        now += segment * isinstance(event, SegmentDone)

    monkeypatch.setattr(folder, "time", types.SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(folder, "ThreadPoolExecutor", lambda threads: saved.AtOnce())
    monkeypatch.setattr(folder, "cores", lambda: 2)
    monkeypatch.setattr(folder.Folder, "_write", lambda *args: write(*args) + 1.0)
    runs.run(Sweep(sweep.base, ({"train.eval_every": 7},)), corpus, tmp_path / "run", width=1, chunk=1, listener=listener)
    assert now == 7 * segment
    assert max(int(path.stem[5:]) for path in (tmp_path / "run" / "checkpoints").glob("save-*.json")) == saves


def copied(begun: Path, tmp_path: Path) -> Path:
    shutil.copytree(begun, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    "flags", [{"width": 2, "chunk": 2}, {"width": 6, "chunk": 2}, {"width": 3, "chunk": 2, "devices": 1}], ids=str
)
def test_resuming_on_other_lanes(
    flags: dict[str, int], begun: Path, reference: Any, sweep: Sweep, corpus: Corpus, tmp_path: Path
) -> None:
    """Narrower than the trials that were running, wider, and on another number of devices: the same at the same chunk."""
    out = copied(begun, tmp_path)
    assert any("may differ" in line for line in go(sweep, corpus, out, 1, **flags))
    go(sweep, corpus, out, **flags)
    found = bytes_of(out)
    assert found[0] == reference[0]
    assert sorted(found[1].splitlines()) == sorted(reference[1].splitlines())
    assert same_bits(found[2], reference[2])


def test_the_state_of_the_lanes_comes_back_to_the_bit(begun: Path, sweep: Sweep, corpus: Corpus, tmp_path: Path) -> None:
    """Parameters, BatchNorm's statistics and the optimizer's state of running trials, interrupted twice and not at all."""
    for name, parts in (("once", (3,)), ("twice", (1, 1, 1))):
        for part in parts:
            go(sweep, corpus, tmp_path / name, part, width=4, chunk=2)

    def lanes(out: Path) -> list[bytes]:
        store = folder.Store(out / folder.CHECKPOINTS)
        store.load()
        arrays = store._arrays.get(str(store.manifest["lanes"]), None)
        return [arrays[key].tobytes() for key in sorted(arrays)]

    assert lanes(tmp_path / "once") == lanes(tmp_path / "twice")


def test_one_writer(corpus: Corpus, begun: Path, sweep: Sweep, tmp_path: Path) -> None:
    out = copied(begun, tmp_path)
    held = Lock(out)
    for resume in (True, False):
        with pytest.raises(UserError, match=f"being written by process {os.getpid()} on"):
            runs.run(sweep, corpus, out, resume=resume, overwrite=not resume)
    held.release()
    assert not (out / LOCK).exists()
    go(sweep, corpus, out)
    assert not (out / LOCK).exists()


def test_the_folder_is_held_whatever_becomes_of_the_lock_file(
    corpus: Corpus, begun: Path, sweep: Sweep, tmp_path: Path
) -> None:
    out = copied(begun, tmp_path)
    held, before = Lock(out), bytes_of(out)[:2]
    (out / LOCK).unlink()
    for resume in (True, False):
        with pytest.raises(UserError, match="being written by another process"):
            runs.run(sweep, corpus, out, resume=resume, overwrite=not resume)
    assert bytes_of(out)[:2] == before
    held.release()
    go(sweep, corpus, out)


@pytest.mark.parametrize("what", ["a table", "a later save", "the same save"])
def test_what_another_process_wrote_is_not_written_over(
    what: str, corpus: Corpus, sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that has no locks: it is noticed before anything is written, and stays as it is."""
    monkeypatch.setattr(folder, "SHARE", float("inf"))  # a save after each segment
    monkeypatch.setattr(folder, "ThreadPoolExecutor", lambda threads: saved.AtOnce())
    out, segments = tmp_path / "run", 0
    written: dict[Path, bytes] = {}

    def interfere(event: Event | Planned | Notice, results: Results) -> None:
        nonlocal segments
        segments += isinstance(event, SegmentDone)
        if segments < 2 or written:
            return
        saves = sorted((out / "checkpoints").glob("save-*.json"))
        manifest = files.unsigned(saves[-1].read_bytes())
        path, content = {
            "a table": (out / "metrics.csv", (out / "metrics.csv").read_bytes() + b"9,20,1.0,1.0\n"),
            "a later save": (out / "checkpoints" / "save-000099.json", files.signed({**manifest, "saves": 99}).encode()),
            "the same save": (saves[-1], files.signed({**manifest, "taken": 1}).encode()),
        }[what]
        path.write_bytes(content)
        written[path] = content

    with pytest.raises(files.CannotWrite, match="was written by another process since"):
        runs.run(sweep, corpus, out, width=4, chunk=2, listener=interfere)
    assert written
    for path, content in written.items():
        assert path.read_bytes() == content
    assert not (out / LOCK).exists()


def test_a_dead_process_blocks_no_one(begun: Path, sweep: Sweep, corpus: Corpus, tmp_path: Path) -> None:
    """A process that is killed while it holds the folder leaves the file; another one that lives is named."""
    out = copied(begun, tmp_path)
    program = (
        "import sys, time, pathlib, jaxgen.storage.lock\n"
        "lock = jaxgen.storage.lock.Lock(pathlib.Path(sys.argv[1]))\n"
        "print(1, flush=True)\n"
        "time.sleep(99)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(out)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(UserError, match=f"process {child.pid} on"):
            runs.run(sweep, corpus, out, resume=True)
        child.kill()
    assert (out / LOCK).exists()
    go(sweep, corpus, out)


@pytest.mark.parametrize(
    "name", ["gs:", "s3:/b", "a\\b", "run[1]", "{a}", "x?y=1#z", "100%", "~", "a b", "ü", "line\nbreak", "$HOME", "-", "*"]
)
def test_any_name_is_a_folders(name: str, begun: Path, reference: Any, sweep: Sweep, corpus: Corpus, tmp_path: Path) -> None:
    """Also one that a library would read as an address, a pattern or a separator: begun, gone on with, read, moved."""
    out = tmp_path / name
    shutil.copytree(begun, out)
    go(sweep, corpus, out, width=4, chunk=2)
    assert bytes_of(out)[0] == reference[0]
    assert same_bits(bytes_of(out)[2], reference[2])
    assert [path for path in tmp_path.iterdir() if path != tmp_path / Path(name).parts[0]] == []
    out.rename(tmp_path / "moved")
    assert same_bits(bytes_of(tmp_path / "moved")[2], reference[2])


@pytest.mark.parametrize("status", ["won", "<b>completed</b>", "", "running"])
def test_a_row_that_ended_otherwise_is_refused(status: str, begun: Path, tmp_path: Path) -> None:
    out = copied(begun, tmp_path)
    min(saved.manifests(out)).unlink()  # it may be of before any trial ended, and counts then
    saved.rewrite(out, [line | {"rows": [row | {"status": status} for row in line["rows"]]} for line in saved.lines(out)])
    for use in (jaxgen.load_results, report):
        with pytest.raises(UserError, match="is damaged"):
            use(out)


@pytest.mark.parametrize("name", ["config.json", "metrics.csv", "checkpoints"])
@pytest.mark.parametrize("what", ["symbolic link", "pipe"])
def test_what_is_no_plain_file_is_refused(
    name: str, what: str, begun: Path, sweep: Sweep, corpus: Corpus, tmp_path: Path
) -> None:
    out = copied(begun, tmp_path)
    (out / name).rename(tmp_path / "moved")
    (out / name).symlink_to(tmp_path / "moved") if what == "symbolic link" else os.mkfifo(out / name)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(UserError):
        runs.run(sweep, corpus, out, resume=True)
    with pytest.raises(UserError):
        jaxgen.load_results(out).best()
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_checkpoints_behind_a_link_are_left_alone(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """A link to someone's folder, in a run that has saved nothing yet."""
    out, docs = tmp_path / "run", tmp_path / "docs"
    docs.mkdir()
    (docs / "thesis.tex").write_text("years of work")
    runs.run(Sweep(small), corpus, out)
    shutil.rmtree(out / "checkpoints")
    (out / "results.csv").unlink()
    (out / "checkpoints").symlink_to(docs)
    for resume in (True, False):
        with contextlib.suppress(UserError):
            runs.run(Sweep(small), corpus, out, resume=resume, overwrite=not resume)
        assert (docs / "thesis.tex").read_text() == "years of work"


def test_killed_between_the_first_arrays_and_their_manifest(
    begun: Path, reference: Any, sweep: Sweep, corpus: Corpus, tmp_path: Path
) -> None:
    """The run starts again; nothing had been saved."""
    out = copied(begun, tmp_path)
    (out / "results.csv").write_text("trial\n")
    for path in (out / "checkpoints").iterdir():
        path.unlink() if path.is_file() else shutil.rmtree(path)
    (out / "checkpoints" / "trials-000001").mkdir()
    go(sweep, corpus, out)
    assert bytes_of(out)[0] == reference[0]


def test_a_run_in_another_order_of_trials_is_refused(begun: Path, sweep: Sweep, corpus: Corpus, tmp_path: Path) -> None:
    out = copied(begun, tmp_path)
    newest = max((out / "checkpoints").glob("save-*.json"))
    manifest = files.unsigned(newest.read_bytes())
    for changes in ({"taken": -1}, {"taken": 10**12}, {"taken": 0}, {"group": 1}, {"group": 1, "taken": 0}):
        newest.write_text(files.signed(manifest | changes))
        with pytest.raises(UserError, match="another order"):
            runs.run(sweep, corpus, out, resume=True)


@pytest.mark.parametrize("how", ["resume", "overwrite"])
def test_killed_in_its_very_first_write(how: str, small: Config, corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    for name in ("config.json.new", "results.csv.123.new"):
        (out / name).write_text("{")
    (out / LOCK).write_text("process 1 on nowhere")
    others = {"notes.new"} if how == "resume" else set()  # --overwrite refuses a folder with more than a run in it
    for name in others:
        (out / name).write_text("mine")
    results = runs.run(Sweep(small), corpus, out, resume=how == "resume", overwrite=how == "overwrite")
    assert len(results.rows) == 1
    assert others <= {path.name for path in out.iterdir()} <= folder.FILES | others


def test_a_run_of_another_format_is_named_and_can_be_replaced(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "run"
    runs.run(Sweep(small), corpus, out)
    facts = json.loads((out / "config.json").read_bytes())
    (out / "config.json").write_text(json.dumps(facts | {"format": 99}))
    for use in (lambda: runs.run(Sweep(small), corpus, out, resume=True), lambda: jaxgen.load(out)):
        with pytest.raises(UserError, match="format 99, expected"):
            use()
    runs.run(Sweep(small), corpus, out, overwrite=True)


@pytest.fixture(scope="module")
def known(request: pytest.FixtureRequest, small: Config, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run, as formats before 5 can tell it or with all that later ones can; its results and its page."""
    out = tmp_path_factory.mktemp("known") / "run"
    base = jaxgen.override(small, {"data.dev": 20, "train.names": 8} if request.param else {})
    sweep = jaxgen.grid(base, {"optimizer.name": ["sgd", "adam"], "seed": range(2)})
    kept = runs.run(sweep, corpus, out, width=4, chunk=2)
    return request.param, out, kept, report(out).read_text(encoding="utf-8")


@pytest.mark.parametrize(("known", "version"), [(version > 4, version) for version in saved.LATER], indirect=["known"])
def test_a_run_of_a_format_before_is_read_and_not_gone_on_with(version: int, known: Any, corpus: Corpus) -> None:
    """It loads, samples, scores and reports as it did; what that format did not know has its default."""
    judged, there, kept, page = known
    out = there.with_name("old")  # of as many characters as the commands on the page name it by
    shutil.copytree(there, out)
    try:
        saved.make_old(out, version)
        found = jaxgen.load_results(out)
        assert found.rows == kept.rows
        assert all(row.measured and "dev_loss" in row.metrics for row in found.rows) == judged
        assert found.curves == kept.curves
        assert found.results_csv() == kept.results_csv() == (out / "results.csv").read_text()
        assert (found.measure, found.verdict()) == (kept.measure, kept.verdict())
        assert jaxgen.sample(jaxgen.load(out), 3) == jaxgen.sample(kept.best(), 3)
        assert np.array_equal(jaxgen.score(jaxgen.load(out, 1), ["maria"]), jaxgen.score(kept.trained(1), ["maria"]))
        unknown = "<code>--train.names 0</code> " if version == 4 else ""  # it has its default, so the page does not name it
        assert report(out).read_text(encoding="utf-8") == page.replace(unknown, "").replace(str(there), str(out))
        with pytest.raises(UserError, match=f"format {version}, expected 10"):
            runs.run(kept.sweep, corpus, out, resume=True)
        folder.check_out(out, resume=False, overwrite=True)
    finally:
        shutil.rmtree(out)


def test_an_error_before_the_first_save_leaves_nothing(
    sweep: Sweep, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder.Folder, "save", lambda *args, **flags: (_ for _ in ()).throw(UserError("no")))
    with pytest.raises(UserError, match="no"):
        runs.run(sweep, corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_larger_than_the_memory_is_refused(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="GB of memory"):
        runs.run(Sweep(jaxgen.override(small, {"model.hidden": 65536, "model.depth": 40})), corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_diverged_trial_names_what_went_bad(begun: Path, reference: Any, sweep: Sweep) -> None:
    rows = [row for row in jaxgen.load_results(begun).rows if row.status == "diverged"]
    assert rows
    for row in rows:
        assert row.flaw == "loss" or row.flaw.startswith(("params.", "stats.", "optimizer."))


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, of lists the first two."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(min(2, len(value))):
            yield from places(value[key], (*at, key))


BAD: list[Any] = [None, -1, 10**12, 1.5, "x", "../../etc/passwd", [], {}, True, [[]], {"a": 1}]


@pytest.mark.parametrize("which", ["config", "manifest", "log"])
def test_a_hostile_folder_is_refused_or_read(
    which: str, begun: Path, sweep: Sweep, corpus: Corpus, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """JSON that is signed as ours and holds something else: never a traceback. `--long`: every place and value."""
    out = copied(begun, tmp_path)
    newest = max((out / "checkpoints").glob("save-*.json"))
    facts, manifest = json.loads((out / "config.json").read_bytes()), files.unsigned(newest.read_bytes())
    value = {"config": facts, "manifest": manifest, "log": saved.lines(out)}[which]
    cases = [(place, bad) for place in places(value) for bad in [*BAD, KeyError]]
    for place, bad in cases if request.config.getoption("--long") else random.Random(0).sample(cases, 150):
        changed = inner = copy.deepcopy(value)
        for key in place[:-1]:
            inner = inner[key]
        if bad is KeyError:
            del inner[place[-1]]
        else:
            inner[place[-1]] = bad
        if which == "config":
            (out / "config.json").write_bytes(config_text(changed))
        elif which == "log":
            saved.rewrite(out, changed)
        else:
            for path in (out / "checkpoints").glob("save-*.json"):
                path.unlink()
            newest.write_text(files.signed(changed), encoding="utf-8")
        with contextlib.suppress(UserError):
            try:
                results = jaxgen.load_results(out)
                results.leaderboard(running=True)
                results.results_csv()
                results.best()
            except Exception as error:
                error.add_note(f"with {bad!r} at {place}")
                raise
