"""What a save writes is what is new, however many trials have ended; and what trials share is stored once."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import saved
from conftest import same_bits

import jaxgen
from jaxgen import runs
from jaxgen.engine.lanes import SegmentDone
from jaxgen.judge.results import Row
from jaxgen.storage import folder
from jaxgen.storage.checkpoint import Store
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus

pytestmark = pytest.mark.usefixtures("compiled_quickly")

PROGRESS = {"group": 0, "taken": 0, "in_lanes": [], "logs": {}}


def row(trial: int) -> Row:
    return Row(trial, "completed", 0, {"optimizer.name": "sgd"}, 9, 40, 40, {"val_loss": 2.0 + trial}, 2.0 + trial)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_save_writes_as_much_as_the_one_before(tmp_path: Path) -> None:
    """Of as many trials: the manifest has one size, and the log grows by as much. Digits of numbers aside."""
    store, manifests, logs = Store(tmp_path / "checkpoints"), list[int](), [0]
    for save in range(24):
        trials = range(100 + 2 * save, 102 + 2 * save)
        ended = {trial: ({"w": np.full(3, trial, np.float32)}, {}) for trial in trials}
        store.save({"x": np.zeros(3, np.float32)}, ended, [row(trial) for trial in trials], PROGRESS)
        newest = max(path for path in saved.manifests(tmp_path))
        manifests.append(newest.stat().st_size)
        logs.append(saved.log_of(tmp_path).stat().st_size)
    assert np.ptp(manifests) < 16
    assert np.ptp(np.diff(logs)) < 64
    assert len({*(tmp_path / "checkpoints").glob("save-*.json")}) == 2
    assert [len(line["rows"]) for line in saved.lines(tmp_path)] == [2] * 24


def test_the_table_grows_by_new_rows(small: Config, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As trials end, in the order in which they do; once the run has ended, in that of the sweep."""

    monkeypatch.setattr(folder, "SHARE", float("inf"))  # a save after each segment
    monkeypatch.setattr(folder, "ThreadPoolExecutor", lambda threads: saved.AtOnce())
    table, seen = tmp_path / "run" / "results.csv", list[bytes]()

    def listener(event: object, results: object) -> None:
        if isinstance(event, SegmentDone):
            seen.append(table.read_bytes())

    steps = {"optimizer.name": ["sgd"], "train.steps": [40, 20], "seed": [0, 1, 2]}
    results = runs.run(jaxgen.grid(small, steps), corpus, tmp_path / "run", width=4, chunk=2, listener=listener)
    assert len(seen) > 2
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(seen))
    ends = [int(line.split(b",")[0]) for line in seen[-1].splitlines()[1:]]
    assert ends != sorted(ends)
    assert table.read_text() == results.results_csv()
    assert [int(line.split(",")[0]) for line in table.read_text().splitlines()[1:]] == [*range(6)]


def test_a_table_that_lacks_a_column_is_made_anew(
    small: Config, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second group has a loss that the first one lacks. As it is before the end, when it is put in order."""
    monkeypatch.setattr(folder.Folder, "arrange", lambda self, results: None)
    sweep = jaxgen.grid(small, {"data.dev": [0, 20], "optimizer.name": ["sgd"]})
    results = runs.run(sweep, corpus, tmp_path / "run", width=4, chunk=2)
    table = (tmp_path / "run" / "results.csv").read_text()
    assert "dev_loss" in table.splitlines()[0]
    assert table == results.results_csv()


def test_what_trials_share_is_stored_once(tmp_path: Path) -> None:
    """By one trial a save and by several, in one process and in the next; others that come between keep their own."""
    table, other = np.random.default_rng(0).normal(size=(2, 100_000)).astype(np.float32)

    def of(trial: int) -> Any:
        tables = {"table": other if trial == 5 else table.copy(), "small": np.zeros(2, np.float32)}
        return {"w": np.full(2000, trial, np.float32)}, tables

    store, trial, alone = Store(tmp_path / "checkpoints"), 0, 0
    for count in (1, 1, 3, 1, 2, 1):
        trials = range(trial, trial + count)
        store.save(None, {t: of(t) for t in trials}, [row(t) for t in trials], PROGRESS)
        trial += count
        if trial == 5:
            alone = size(tmp_path)
    assert alone < 2.5 * table.nbytes  # the first save knows of no other
    assert size(tmp_path) < 5 * table.nbytes
    again = Store(tmp_path / "checkpoints")
    assert again.load(lambda manifest, ended: None) == []
    for one in (store, again):
        assert all(same_bits(one.trial(t, None)[1], of(t)[1]) for t in range(trial))
        assert all(same_bits(one.trial(t, of(t)), of(t)) for t in range(trial))
    before = size(tmp_path)
    again.save(None, {9: of(9)}, [row(9)], PROGRESS)
    again.save(None, {10: of(10), 11: of(11)}, [row(10), row(11)], PROGRESS)
    assert size(tmp_path) - before < table.nbytes / 2
    assert same_bits(again.trial(9, None)[1], of(9)[1])
    assert same_bits(again.trial(11, None)[1], of(11)[1])
    assert again.lost() == {}
