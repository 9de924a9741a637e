from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from conftest import same_bits

import jaxgen
from jaxgen import runs
from jaxgen.engine.lanes import SegmentDone
from jaxgen.fields import UserError
from jaxgen.runs import Interrupted
from jaxgen.search.sweep import Sweep
from jaxgen.storage import folder
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus, load_corpus

pytestmark = pytest.mark.usefixtures("compiled_quickly")


@pytest.fixture(scope="module")
def sweep(small: Config) -> Sweep:
    """Two groups, and in each a learning rate at which trials diverge."""
    rates = [1e-3, 1e-2, 1e30]
    return jaxgen.grid(
        small, {"model.hidden": [16, 8], "optimizer.name": ["sgd"], "optimizer.learning_rate": rates, "seed": range(2)}
    )


@pytest.fixture(scope="module")
def done(sweep: Sweep, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "done"
    runs.run(sweep, corpus, out, width=4)
    return out


def test_the_folder_holds_what_the_contract_says(done: Path, sweep: Sweep, corpus: Corpus) -> None:
    with open(done / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    keys = ["model.hidden", "optimizer.name", "optimizer.learning_rate"]
    rest = ["params", "steps", "best_step", "train_loss", "val_loss", "test_loss"]
    assert list(rows[0]) == ["trial", "status", "seed", *keys, *rest]
    assert [int(row["trial"]) for row in rows] == list(range(len(sweep)))
    for row, config in zip(rows, sweep, strict=True):
        assert int(row["seed"]) == config.seed
        assert float(row["optimizer.learning_rate"]) == config.optimizer.learning_rate
        assert row["status"] == ("diverged" if config.optimizer.learning_rate == 1e30 else "completed")
    with open(done / "metrics.csv", newline="") as file:
        curves = list(csv.DictReader(file))
    assert list(curves[0]) == ["trial", "step", "train_loss", "val_loss"]
    assert [int(c["step"]) for c in curves if c["trial"] == "0"] == [20, 40]
    facts = json.loads((done / "config.json").read_text())
    assert (facts["task"]["name"], facts["task"]["place"]) == ("names", "jaxgen")
    assert facts["task"]["rows"]["names"] == 400
    assert facts["task"]["rows"]["windows"] == corpus.windows
    assert facts["task"]["rows"]["vocabulary"] == len(corpus.vocabulary)
    assert facts["task"]["rows"]["sha256"] == corpus.sha256
    assert facts["programs"] == len(facts["plan"]) == 2
    assert len(facts["sweep"]["points"]) == len(sweep)


def test_a_run_that_varies_what_is_read_is_opened_again(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    sweep = jaxgen.grid(small, {"data.split_seed": range(2), "optimizer.name": ["sgd"]})
    memory = runs.run(sweep, corpus, tmp_path / "run", width=4)
    again = jaxgen.load_results(tmp_path / "run")
    assert [row.val_loss for row in again.rows] == [row.val_loss for row in memory.rows]
    exported = jaxgen.load(jaxgen.export(jaxgen.load(tmp_path / "run", 1), tmp_path / "export"))
    assert jaxgen.sample(exported, 3) == jaxgen.sample(memory.trained(1), 3)


def test_a_run_on_disk_is_the_run_in_memory(done: Path, sweep: Sweep, corpus: Corpus) -> None:
    memory = runs.run(sweep, corpus, width=4)
    disk = jaxgen.load_results(done)
    assert memory.results_csv() == disk.results_csv() == (done / "results.csv").read_text()
    for trial in (0, 7, memory.best_row().trial):
        a, b = memory.trained(trial), jaxgen.load(done, trial)
        assert a.config == b.config
        assert a.task.vocabulary == b.task.vocabulary
        assert a.task.longest == b.task.longest
        assert same_bits((a.params, a.stats), (b.params, b.stats))
    assert jaxgen.sample(memory.best(), 5) == jaxgen.sample(jaxgen.load(done), 5)


def everything(out: Path) -> Any:
    results = jaxgen.load_results(out)
    trained = [results.trained(row.trial) for row in sorted(results.rows, key=lambda row: row.trial)]
    return (out / "results.csv").read_bytes(), sorted((out / "metrics.csv").read_text().splitlines()), trained


@pytest.mark.parametrize("every", [1, 2, 3])
def test_interrupted_and_resumed_is_uninterrupted(every: int, done: Path, sweep: Sweep, corpus: Corpus, tmp_path: Path) -> None:
    """Stopped after every first, second or third segment and resumed, until it is done."""
    out, stops = tmp_path / "run", 0
    for _ in range(100):
        segments = 0

        def count(event: object, results: object) -> None:
            nonlocal segments
            segments += isinstance(event, SegmentDone)

        def stop() -> bool:
            return segments >= every  # noqa: B023  (called in this turn of the loop only)

        try:
            runs.run(sweep, corpus, out, width=4, resume=True, listener=count, stop=stop)
            break
        except Interrupted:
            stops += 1
    assert stops >= 4 // every
    whole, parts = everything(done), everything(out)
    assert whole[:2] == parts[:2]
    for a, b in zip(whole[2], parts[2], strict=True):
        assert same_bits((a.params, a.stats), (b.params, b.stats))


def test_a_crash_between_saves_loses_nothing_but_time(
    done: Path, sweep: Sweep, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies (here: an exception that nothing catches) after segments that were not saved."""
    out, seen = tmp_path / "run", 0
    monkeypatch.setattr(folder, "SHARE", math.inf)  # a save after each segment

    def crash(event: object, results: object) -> None:
        nonlocal seen
        seen += isinstance(event, SegmentDone)
        if seen == 3:
            raise KeyError("the machine is gone")

    with pytest.raises(KeyError):
        runs.run(sweep, corpus, out, width=4, listener=crash)
    with open(out / "metrics.csv", "a") as file:
        file.write("0,20,1.0,")  # a torn line
    runs.run(sweep, corpus, out, width=4, resume=True)
    assert everything(done)[:2] == everything(out)[:2]


def test_resuming_a_finished_run_changes_nothing(done: Path, sweep: Sweep, corpus: Corpus) -> None:
    before = {path: path.read_bytes() for path in done.iterdir() if path.is_file()}
    results = runs.run(sweep, corpus, done, resume=True, width=4)
    assert {path: path.read_bytes() for path in done.iterdir() if path.is_file()} == before
    assert len(results.rows) == len(sweep)


def test_a_folder_that_holds_a_run_is_refused(done: Path, sweep: Sweep, corpus: Corpus, small: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--resume"):
        runs.run(sweep, corpus, done)
    with pytest.raises(UserError, match=r"holds a run of model.hidden 8, and here it is 16"):
        runs.run(Sweep(small), corpus, done, resume=True)
    with pytest.raises(UserError, match=r"holds a run of train.steps 40, and here it is 39"):
        runs.run(Sweep(jaxgen.override(sweep.base, {"train.steps": 39}), sweep.points), corpus, done, resume=True)
    (tmp_path / "thesis.tex").write_text("years of work")
    wanted: list[dict[str, Any]] = [{}, {"overwrite": True}, {"resume": True}]
    for flags in wanted:
        with pytest.raises(UserError, match="holds files but no run"):
            runs.run(sweep, corpus, tmp_path, **flags)
    with pytest.raises(UserError, match="not a folder"):
        runs.run(sweep, corpus, tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_overwrite_deletes_a_run_and_nothing_else(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "run"
    runs.run(Sweep(small), corpus, out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt"):
        runs.run(Sweep(small), corpus, out, overwrite=True)
    assert (out / "results.csv").exists()
    (out / "notes.txt").unlink()
    runs.run(Sweep(jaxgen.override(small, {"seed": 1})), corpus, out, overwrite=True)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"theme": "dark"}')
    with pytest.raises(UserError, match="not of a run"):
        runs.run(Sweep(small), corpus, other, overwrite=True)
    assert (other / "config.json").read_text() == '{"theme": "dark"}'


@pytest.mark.parametrize("harm", ["gone", "short"])
def test_metrics_that_lost_lines_are_noticed(harm: str, small: Config, corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "run"
    runs.run(Sweep(small), corpus, out)
    metrics = out / "metrics.csv"
    metrics.unlink() if harm == "gone" else metrics.write_text("trial,step\n")
    with pytest.raises(UserError, match="damaged"):
        runs.run(Sweep(small), corpus, out, resume=True)


def test_a_lost_manifest_is_no_fresh_start(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "run"
    runs.run(Sweep(small), corpus, out)
    before = (out / "results.csv").read_bytes()
    for path in (out / "checkpoints").glob("save-*.json"):
        path.unlink()
    with pytest.raises(UserError, match="manifest"):
        runs.run(Sweep(small), corpus, out, resume=True)
    assert (out / "results.csv").read_bytes() == before


def test_resuming_mends_the_table(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "run"
    runs.run(Sweep(small), corpus, out)
    before = (out / "results.csv").read_bytes()
    (out / "results.csv").write_text("")
    runs.run(Sweep(small), corpus, out, resume=True)
    assert (out / "results.csv").read_bytes() == before


def test_chains_are_arms_of_their_own_and_are_remembered(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    sweep = jaxgen.grid(small, {"optimizer.chain": [optax.lion, optax.adabelief], "seed": np.arange(2)})
    results = runs.run(sweep, corpus, tmp_path / "run")
    assert sorted(arm.values["optimizer.chain"] for arm in results.leaderboard()) == ["adabelief", "lion"]
    assert all(len(arm.rows) == 2 for arm in results.leaderboard())
    assert jaxgen.sample(jaxgen.load(tmp_path / "run"), 3) == jaxgen.sample(results.best(), 3)
    other = jaxgen.grid(small, {"optimizer.chain": [optax.lion, optax.sgd], "seed": np.arange(2)})
    with pytest.raises(UserError, match=r"optimizer.chain 'adabelief', and here it is 'lion', 'sgd'"):
        runs.run(other, corpus, tmp_path / "run", resume=True)


def test_a_folder_that_cannot_be_made(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot write"):
        runs.run(Sweep(small), corpus, tmp_path / "file" / "run")


def test_a_changed_corpus_is_refused(small: Config, tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("anna\nbob\ncarl\ndora\nemil\n" * 20)
    runs.run(Sweep(small), load_corpus(path), tmp_path / "run")
    path.write_text("anna\nbob\ncarl\ndora\nemma\n" * 20)
    with pytest.raises(UserError, match="changed since"):
        runs.run(Sweep(small), load_corpus(path), tmp_path / "run", resume=True)


@pytest.mark.parametrize("trial", [-1, 12, "first"])
def test_a_trial_that_is_not_there(done: Path, trial: int | str) -> None:
    with pytest.raises(UserError, match="trial"):
        jaxgen.load(done, trial)


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        jaxgen.load(tmp_path)


def test_a_sweep_of_none_and_a_varied_path_are_refused(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 trials"):
        runs.run(jaxgen.seeds(small, 0), corpus, tmp_path / "run")
    with pytest.raises(UserError, match="one corpus"):
        runs.run(jaxgen.grid(small, {"data.path": ["a", "b"]}), corpus, tmp_path / "run")
    with pytest.raises(UserError, match="learning_rate"):
        runs.run(jaxgen.grid(small, {"optimizer.learning_rate": [-1.0]}), corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["a", "b"] * 20, id="one character"),
        pytest.param(["anna"] * 40, id="one repeated name", marks=pytest.mark.long),
        pytest.param(
            [chr(0x905 + i % 30) * (1 + i % 50) for i in range(100)], id="longer than the context", marks=pytest.mark.long
        ),
    ],
)
def test_odd_corpora_work(names: list[str], small: Config, tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(names), encoding="utf-8")
    results = runs.run(jaxgen.seeds(small, 2), load_corpus(path))
    assert {row.status for row in results.rows} == {"completed"}
    assert all(np.isfinite(row.test_loss) for row in results.rows)
    assert set("".join(jaxgen.sample(results.best(), 5))) <= set("".join(names))


def test_configs_of_ones_own_are_a_sweep(small: Config, corpus: Corpus) -> None:
    configs = [small, jaxgen.override(small, {"seed": 4, "optimizer.name": "sgd"})]
    results = runs.run(configs, corpus)
    assert results.keys == ("optimizer.name",)
    assert [row.seed for row in sorted(results.rows, key=lambda r: r.trial)] == [0, 4]
    size = sum(p.size for p in jax.tree.leaves(results.best().params))
    assert {row.params for row in results.rows} == {size}
