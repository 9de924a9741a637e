"""The benchmark's peers compute what jaxgen computes, and its report says what was measured. Its speeds are not tested."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import loss_of, only, same_bits
from rich.console import Console
from test_commands import call

import jaxgen
from jaxgen.benchmark import figures, growth, measure, peers, rooms, sequences
from jaxgen.benchmark.figures import Figure, Report
from jaxgen.benchmark.measure import Clock, Rate
from jaxgen.commands import benchmark
from jaxgen.fields import UserError, override
from jaxgen.search.sweep import Sweep
from jaxgen.tasks.digits.task import DIGITS
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus, Windows
from jaxgen.tasks.names.data import sequences as rows_of
from jaxgen.tasks.names.loss import next_character
from jaxgen.train import trial
from jaxgen.train.optimizers import lower

V = 7


@pytest.fixture(scope="module")
def config(small: Config) -> Config:
    return override(small, {"optimizer.name": "adam", "optimizer.learning_rate": peers.RATE, "seed": 3})


def windows(count: int, seed: int = 0) -> Windows:
    source = np.random.default_rng(seed)
    return Windows(source.integers(0, V, (count, 3)).astype(np.int32), source.integers(0, V, count).astype(np.int32))


def test_the_jax_step_is_jaxgens(config: Config) -> None:
    task, lowered = next_character(V), lower(config, 1000)
    ours = jax.jit(lambda: trial.init(task, lowered, trial.stream(config.seed, trial.Stream.START)))()
    theirs = peers.jax_start(config, V, config.seed)
    assert same_bits((ours.params, ours.stats), theirs[:2])
    step = jax.jit(peers.jax_step(config, V))
    update = jax.jit(lambda state, batch: trial.update(task, lowered, state, batch))
    for seed in range(3):
        batch = jax.tree.map(jnp.asarray, windows(16, seed))
        ours, metrics = update(ours, batch)
        theirs, loss = step(theirs, batch)
        np.testing.assert_allclose(loss, metrics["loss"], rtol=1e-5)
    for a, b in zip(jax.tree.leaves((ours.params, ours.stats)), jax.tree.leaves(theirs[:2]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_torch_computes_the_same_losses(config: Config) -> None:
    torch = pytest.importorskip("torch")
    params, stats, _ = jax.device_get(peers.jax_start(config, V, config.seed))
    batch = windows(16)
    task, lowered = next_character(V), lower(config, 1000)
    wanted, new = jax.jit(lambda *args: loss_of(task, lowered, *args))(params, stats, batch)
    ids, targets = (torch.from_numpy(x.astype(np.int64)) for x in batch)

    module = peers.torch_module(params)
    loss = torch.nn.functional.cross_entropy(module(ids), targets)
    np.testing.assert_allclose(loss.item(), wanted, rtol=1e-5)

    names = peers.layers(params)
    tensors = peers.torch_params(params)
    running = {f"{n}.{part}": torch.from_numpy(np.array(stats[n]["norm"][part])) for n in names for part in ("mean", "var")}
    logits, changed = peers.torch_forward(names, tensors, running, ids)
    np.testing.assert_allclose(torch.nn.functional.cross_entropy(logits, targets).item(), wanted, rtol=1e-5)
    for name in names:
        for part in ("mean", "var"):
            np.testing.assert_allclose(changed[f"{name}.{part}"].numpy(), new[name]["norm"][part], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", rooms.FAMILIES)
def test_torch_computes_the_same_outputs_of_other_rooms(name: str) -> None:
    torch = pytest.importorskip("torch")
    config, room = rooms.config_of(name), rooms.FAMILIES[name].task
    params, task = rooms.start(room, config), room.opened(config.data)
    rows = room.parts(config.data).validation[0][:5]
    wanted, _ = jax.jit(lambda p: task.apply(config, p, {}, rows, False))(params)
    given = torch.from_numpy(rows[:, None]).float() / 255 if room is DIGITS else torch.from_numpy(rows)
    found = rooms.torch_module(params, config)(given)
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_every_peer_trains(config: Config) -> None:
    data, config = windows(200), override(config, {"model.depth": 1})  # quicker to compile
    subjects = [peers.jax_one(config, V, data, 2), peers.vmap_scan(config, V, data, 3, 2)]
    if peers.has_torch():
        subjects += [peers.torch_eager(config, V, data, 2), peers.torch_func(config, V, data, 3, 2)]
    for subject in subjects:
        subject.burst()


def test_arithmetic_is_counted_from_the_matrices() -> None:
    params, _ = jax.eval_shape(lambda: next_character(27).init(Config(), jax.random.key(0)))
    assert measure.flop(params, 32) == 6 * 32 * (30 * 100 + 4 * 100 * 100 + 100 * 27)


@pytest.mark.parametrize(("rounds", "total"), [(1, 1), (1, 5), (2, 5), (5, 5)])
def test_rounds_lie_evenly(rounds: int, total: int) -> None:
    assert sum(measure.every(place, rounds, total) for place in range(total)) == rounds


def test_what_cannot_be_measured_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def subject() -> peers.Subject:
        return peers.Subject("sleeps", 2, 3, lambda: None)

    monkeypatch.setattr(peers, "has_torch", lambda: False)
    makers = [("no torch", 1, 1, measure.torch_or_not(subject)), ("there", 2, 1, subject)]
    found = measure.in_turn(makers, 1, Clock(float("inf")), lambda message: None)
    assert found["no torch"][0].note == "not measured: PyTorch is not installed"
    assert found["there"][0].bursts == 1
    late = measure.in_turn(makers, 1, Clock(0.0), lambda message: None)
    assert {rate.note for rate, _ in late.values()} == {"not measured: the time was used up"}


def test_what_saving_costs_is_a_median_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With times that are given: how long a run takes is no matter of tests."""
    outs: list[Path | None] = []

    def whole_run(setting: measure.Setting, sweep: Sweep, out: Path | None, name: str) -> peers.Subject:
        assert len(sweep) == measure.FULL.trials
        outs.append(out)
        return peers.Subject(name, 1, 1, lambda: None)

    times = iter([0.0, 1.0, 1.02, 2.02, 2.0, 4.0, 4.2])  # the first one compiles and does not count
    monkeypatch.setattr(measure, "whole_run", whole_run)
    monkeypatch.setattr(figures, "seconds", lambda burst: next(times))
    setting: Any = None
    (figure,) = figures.saving(dataclasses.replace(measure.FULL, rounds=3), setting, Clock(float("inf")))
    assert [out is not None for out in outs] == [True, False, True, True, False, False, True]
    assert figure.value == pytest.approx(2)
    assert figure.note.endswith("2.00, 1.00, 5.00")
    (late,) = figures.saving(measure.FULL, setting, Clock(0.0))
    assert (late.value, late.note) == (None, figures.USED_UP)


@pytest.fixture
def report() -> Report:
    rates = {
        "eager": Rate("PyTorch eager, one trial", 1, None, note="not measured: PyTorch is not installed"),
        "func": Rate("PyTorch torch.func, 32 trials", 32, None, note="not measured: PyTorch is not installed"),
        "one": Rate("JAX, one trial", 1, 500.0, 1.0, 5),
        "vmap": Rate("JAX vmap(scan), 32 trials", 32, 2000.0, 2.0, 5),
        "width_8": Rate("jaxgen, width 8", 8, 5000.0, 7.0, 5),
        "hidden_50": Rate("jaxgen, width 8, hidden 50", 8, 10_000.0, 7.0, 5),
    }
    figures = (
        Figure("sampling_10_names_s", "sampling 10 names, s", 0.25),
        Figure("memory_ratio", "the ratio", None, "used up"),
    )
    machine: dict[str, Any] = {
        "devices": ["cpu:0"], "cores_count": 2, "load_at_start_processes": 0.1, "versions": {"jax": "1", "torch": None},
    }  # fmt: skip
    return Report(machine, rates, figures, 10_000_000, 2e11)


def test_the_report_is_written_and_printed(report: Report, tmp_path: Path) -> None:
    benchmark.write(report, tmp_path / "out")
    assert (tmp_path / "out" / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    stored = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    row = next(row for row in stored["rates"] if row["name"] == "jaxgen, width 8")
    assert row["times_as_fast_as_one"] == 10
    assert row["times_as_fast_as_vmap"] == 2.5
    assert row["times_as_fast_as_eager"] is None
    assert row["share_of_matmul_rate_percent"] == 25
    assert row["microseconds_per_trial_step"] == 200
    assert stored["figures"] == {"sampling_10_names_s": 0.25, "memory_ratio": None}
    shown = io.StringIO()
    for table in benchmark.tables(report):
        Console(width=200, file=shown).print(table)
    printed = shown.getvalue()
    assert "x vmap" in printed
    assert not {"x eager", "x func", "PyTorch eager, one trial"} & {
        *re.split(r"  +|\n", printed)
    }  # of what was not measured, nothing
    assert benchmark.left_out(report) == [
        "not measured: PyTorch is not installed (PyTorch eager, one trial; PyTorch torch.func, 32 trials)",
        "used up (the ratio)",
    ]


def test_the_last_word_is_what_training_side_by_side_brings(report: Report) -> None:
    def of(**speeds: float | None) -> str:
        rates = {key: measure.Rate(key, 1, speed) for key, speed in speeds.items()}
        return benchmark.last_word(dataclasses.replace(report, rates=rates))

    said = of(width_1=1000, width_8=5000, width_32=9000, sweep=1)
    assert said == "32 networks side by side train 9.0 times as fast as one after the other"
    assert of(width_1=None, width_8=5000) == of(width_1=1000) == of(width_1=1000, width_8=None) == ""


def test_help_and_wrong_input(tmp_path: Path) -> None:
    code, out, _ = call("benchmark", "--help")
    assert code == 0
    assert "python -m experiments.benchmark" in out
    code, _, err = call("benchmark", "--widths", "1,x", "--out", tmp_path / "out")
    assert code == 2
    assert "1,8,32,128" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    for text in ("0", "", "1,,2"):
        with pytest.raises(UserError):
            benchmark.widths_of(text)


def test_growth_is_of_runs_that_are_runs(tmp_path: Path) -> None:
    """What is made up is read, and gone on with to nothing more; the last save says what it wrote."""
    made = growth.measured("invent", tmp_path / "run", 12)
    results = jaxgen.load_results(tmp_path / "run")
    assert [row.trial for row in results.rows] == [*range(12)]
    assert len(results.curves) == 12 * growth.EVALUATIONS
    size = sum(path.stat().st_size for path in (tmp_path / "run" / "checkpoints").rglob("*") if path.is_file())
    assert 1000 < made["save_bytes"] < size
    before = (tmp_path / "run" / "results.csv").read_bytes()
    for what in ("resume", "load"):
        found = growth.measured(what, tmp_path / "run", 12)
        assert found[f"{what}_seconds"] > 0
        assert found[f"{what}_peak"] > 2**20
    assert (tmp_path / "run" / "results.csv").read_bytes() == before
    for text in ("", "x", "100,7", "2", "2000000"):
        with pytest.raises(UserError, match="expected even numbers"):
            benchmark.trials_of(text)


@pytest.mark.parametrize("family", benchmark.PEERS)
def test_torch_computes_a_familys_loss(family: str, corpus: Corpus) -> None:
    """Of names that fit a row and of one that takes several, with and without a boundary in front."""
    torch = pytest.importorskip("torch")
    assert set(benchmark.PEERS) == set(sequences.FORWARD)
    names, vocabulary = (*corpus.names[:20], corpus.names[0] * 6), corpus.vocabulary
    rows, config = rows_of(names, vocabulary, sequences.SIZES["model.context"]), sequences.config_of(family)
    source = np.random.default_rng(0)
    params = sequences.start(config, len(vocabulary))
    params = jax.tree.map(lambda p: p + 0.1 * source.normal(size=p.shape).astype(np.float32), params)  # nothing is 0 or 1
    task = next_character(len(vocabulary))
    wanted, _ = jax.jit(lambda *args: loss_of(task, only(config), *args))(params, {}, rows)
    ids, targets = (torch.from_numpy(x.astype(np.int64)) for x in sequences.left(rows))
    found = sequences.loss(family, sequences.tensors(params), ids, targets)
    np.testing.assert_allclose(found.item(), wanted, rtol=1e-5)
