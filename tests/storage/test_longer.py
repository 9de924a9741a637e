"""Runs that are gone on with by a command for more steps: what is trained stays, and what they come to is what a run that had
those steps from its start comes to."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np
import pytest
import saved
from conftest import same_bits
from hypothesis import given
from hypothesis import strategies as st

import jaxgen
from jaxgen import runs
from jaxgen.engine.lanes import Evaluated
from jaxgen.fields import UserError, override
from jaxgen.runs import Interrupted, Notice
from jaxgen.search.sweep import Sweep
from jaxgen.storage.facts import config_text
from jaxgen.storage.files import signed
from jaxgen.storage.lasts import stacked, taken
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus

pytestmark = pytest.mark.usefixtures("compiled_quickly")

STEPS, RATE = "train.steps", "optimizer.learning_rate"
# Of one program each: those that stop early, that diverge, that are best before their end, that stand on counts.
SWEEPS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "optimizers, one of which diverges": ({}, {"optimizer.name": ["sgd", "adam"], RATE: [0.01, 1e30], "seed": range(2)}),
    "patience, dropout, layers": (
        {"train.patience": 1, "train.diagnostics": True, RATE: 0.1},
        {"regularizer.dropout": [0.0, 0.5], "seed": range(3)},
    ),
    "two programs, and counts that are solved": ({"train.draw": "epochs"}, {"model.family": ["bigram", "ngram", "bow"]}),
    "networks on counts": ({"model.family": "gru", "model.context": 4, "model.counts": 2}, {"seed": range(2)}),
}

FIRST = "optimizers, one of which diverges"  # tried always
TWICE = {"optimizers, one of which diverges", "patience, dropout, layers"}  # of the others, a second time has nothing new


def sweep_of(small: Config, what: str, steps: int) -> Sweep:
    changes, axes = SWEEPS[what]
    return jaxgen.grid(override(small, {STEPS: steps, **changes}), axes)


def train(sweep: Sweep, task: Any, out: Path, **more: Any) -> tuple[jaxgen.Results, list[str]]:
    said: list[str] = []
    lanes: Any = {"width": 2, "chunk": 1} | more

    def listener(event: object, results: object) -> None:
        if isinstance(event, Notice):
            said.append(str(event))

    return runs.run(sweep, task, out, resume=True, listener=listener, **lanes), said


def alike(one: Path, other: Path, task: Any = None) -> None:
    """The same tables, in whatever order trials were trained, and the same states."""
    assert (one / "results.csv").read_bytes() == (other / "results.csv").read_bytes()
    for name in ("metrics.csv", "diagnostics.csv"):
        if (other / name).exists():
            lines = [sorted((path / name).read_text().splitlines()) for path in (one, other)]
            assert lines[0] == lines[1]
    for row in jaxgen.load_results(other, task).rows:
        ours, theirs = jaxgen.load(one, row.trial, task), jaxgen.load(other, row.trial, task)
        assert same_bits((ours.params, ours.stats), (theirs.params, theirs.stats))


@pytest.mark.parametrize("what", [pytest.param(what, marks=[pytest.mark.long] * (what != FIRST)) for what in SWEEPS])
def test_a_run_takes_more_steps(what: str, small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """And some twice, the second time stopped after each segment, and on other lanes: the bytes of a run of all those steps."""
    train(sweep_of(small, what, 40), corpus, tmp_path / "run")
    found, said = train(sweep_of(small, what, 80), corpus, tmp_path / "run")
    assert any("train.steps 80 in place of 40" in line for line in said)
    assert not any("again" in line for line in said)
    assert len(found.rows) == len(found.sweep)
    train(sweep_of(small, what, 80), corpus, tmp_path / "whole")
    alike(tmp_path / "run", tmp_path / "whole")
    if what not in TWICE:
        return
    for _ in range(50):
        trained = itertools.count()
        try:
            train(
                sweep_of(small, what, 140),
                corpus,
                tmp_path / "run",
                width=3,
                devices=1,
                stop=lambda trained=trained: next(trained) == 1,
            )
        except Interrupted:
            continue
        break
    train(sweep_of(small, what, 140), corpus, tmp_path / "longer")
    alike(tmp_path / "run", tmp_path / "longer")


def test_steps_and_seeds_at_once_before_it_has_ended(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """Of three trials on two lanes: one is queued, two have ended or train; then two seeds more, and twice the steps."""
    for stopped_at in range(3):
        out = tmp_path / f"run-{stopped_at}"
        trained = itertools.count()
        with pytest.raises(Interrupted):
            train(jaxgen.seeds(small, 3), corpus, out, stop=lambda trained=trained, at=stopped_at: next(trained) == at)
        longer = override(small, {STEPS: 80})
        train(jaxgen.seeds(longer, 5), corpus, out)
        train(jaxgen.seeds(longer, 5), corpus, tmp_path / "whole")
        alike(out, tmp_path / "whole")


def test_in_between_only_what_has_ended_counts(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """Trials that go on, or wait to, have not ended; each is there as it was at its best so far."""
    out, axes = tmp_path / "run", {"model.family": ["bigram", "bow"], "seed": range(2)}
    train(jaxgen.grid(small, axes), corpus, out)
    trained, longer = itertools.count(), jaxgen.grid(override(small, {STEPS: 120}), axes)
    with pytest.raises(Interrupted):
        train(longer, corpus, out, stop=lambda: next(trained) == 1)
    results = jaxgen.load_results(out)
    assert results.rows == []
    assert [row.status for row in results.leaderboard(running=True)[0].rows] == ["running"] * 2
    assert jaxgen.load(out, 0).unfinished is not None
    assert len(jaxgen.sample(jaxgen.load(out, 2), 3)) == 3
    assert (out / "results.csv").read_text().count("\n") == 1
    train(longer, corpus, out)
    assert len(jaxgen.load_results(out).rows) == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizer.schedule": "cosine"}, "optimizer.schedule 'cosine' spreads over the steps"),
        ({"optimizer.schedule": "steps"}, "optimizer.schedule 'steps' spreads over the steps"),
        ({"optimizer.schedule": "exponential"}, "optimizer.schedule 'exponential' spreads over the steps"),
        ({"optimizer.warmup": 0.1}, "optimizer.warmup is a share of the steps"),
        ({"train.eval_every": 30}, "40 steps end between two evaluations (train.eval_every 30)"),
    ],
)
def test_what_would_be_another_trial_is_said(
    changes: dict[str, Any], said: str, small: Config, corpus: Corpus, tmp_path: Path
) -> None:
    begun = override(small, changes)
    train(jaxgen.seeds(begun, 1), corpus, tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(UserError) as error:
        train(jaxgen.seeds(override(begun, {STEPS: 80}), 1), corpus, tmp_path)
    assert "holds a run of train.steps 40, and here it is 80; its trial 0 cannot go on: " + said in str(error.value)
    assert str(error.value).endswith("give another --out, or --overwrite")
    assert (tmp_path / "config.json").read_bytes() == before
    assert not list((tmp_path / "checkpoints").glob("lasts-*"))


def test_fewer_steps_are_refused(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    train(jaxgen.seeds(small, 1), corpus, tmp_path)
    with pytest.raises(UserError, match=r"train\.steps 40, and here it is 20"):
        train(jaxgen.seeds(override(small, {STEPS: 20}), 1), corpus, tmp_path)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        return nn.Dense(2)(x)


class Annealed(jaxgen.Task):
    """A step's loss goes by the share of the steps that is done."""

    name = "annealed"

    def __init__(self, how: Callable[[Any, Any], Any]) -> None:
        self._how = how

    def splits(self, data: Any) -> Any:
        x = np.random.default_rng(0).normal(size=(96, 3)).astype(np.float32)
        return jaxgen.Splits((x[:64], x[:64, :2]), (x[64:80], x[64:80, :2]), (x[80:], x[80:, :2]))

    def init(self, config: Any, key: Any) -> Any:
        return Net().init(key, np.zeros((1, 3), np.float32), True)["params"], {}

    def loss(self, config: Any, params: Any, stats: Any, batch: Any, key: Any, step: Any) -> Any:
        given, wanted = batch
        return self._how(config, step) * ((Net().apply({"params": params}, given, True) - wanted) ** 2).sum(-1), stats

    def score(self, config: Any, params: Any, stats: Any, rows: Any, keys: Any) -> Any:
        given, wanted = rows
        return {"loss": ((Net().apply({"params": params}, given, False) - wanted) ** 2).sum(-1)}


@pytest.mark.parametrize(
    ("how", "goes_on"),
    [
        (lambda config, step: 1.0 - step / config.train.steps, False),
        (lambda config, step: 1.0 / (1.0 + step), True),
    ],
)
def test_a_task_that_computes_something_from_the_budget(how: Callable[[Any, Any], Any], goes_on: bool, tmp_path: Path) -> None:
    task = Annealed(how)
    base = override(task.config(), {STEPS: 40, "train.eval_every": 20})
    longer = jaxgen.seeds(override(base, {STEPS: 80}), 2)
    train(jaxgen.seeds(base, 2), task, tmp_path / "run")
    if goes_on:
        train(longer, task, tmp_path / "run")
        train(longer, task, tmp_path / "whole")
        alike(tmp_path / "run", tmp_path / "whole", task)
        return
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(UserError, match=r"computes something from train\.steps"):
        train(longer, task, tmp_path / "run")
    assert (tmp_path / "run" / "config.json").read_bytes() == before


def test_without_its_last_state_a_trial_is_trained_again(
    small: Config, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is damaged, or was not kept: of too many trials, or before format 10. It is said, and stopped in the midst of it."""
    what = "optimizers, one of which diverges"
    train(sweep_of(small, what, 80), corpus, tmp_path / "whole")

    def damaged(out: Path) -> str:
        for path in (out / "checkpoints").glob("lasts-*/**/*"):
            if path.is_file():
                path.write_bytes(b"")
        return "is damaged"

    def of_format_9(out: Path) -> str:
        facts = json.loads((out / "config.json").read_bytes()) | {"format": 9}
        del facts["sweep"]["longer"]
        (out / "config.json").write_bytes(config_text(facts))
        saved.rewrite(out, [{key: value for key, value in line.items() if key != "lasts"} for line in saved.lines(out)])
        for path, manifest in saved.manifests(out).items():
            path.write_text(signed({**manifest, "format": 9}))
        return "last states were not kept"

    def too_large(out: Path) -> str:
        return "last states were not kept"

    for change in (damaged, of_format_9, too_large):
        out = tmp_path / change.__name__
        with monkeypatch.context() as patch:
            if change is too_large:
                patch.setattr(runs, "MOST", 1000)
            train(sweep_of(small, what, 40), corpus, out)
        assert bool([*(out / "checkpoints").glob("lasts-*")]) == (change is not too_large)
        said = change(out)
        trained = itertools.count()
        with pytest.raises(Interrupted):
            train(sweep_of(small, what, 80), corpus, out, stop=lambda trained=trained: next(trained) == 1)
        _, lines = train(sweep_of(small, what, 80), corpus, out)
        assert any(said in line and "trained again" in line for line in lines)
        alike(out, tmp_path / "whole")
        again = list[Any]()
        runs.run(sweep_of(small, what, 80), corpus, out, resume=True, listener=lambda event, _, seen=again: seen.append(event))
        assert not any(isinstance(event, Evaluated) for event in again)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=5))
def test_best_states_are_stored_where_they_differ(steps: list[tuple[int, int]]) -> None:
    """Of trials by their last steps and how long before these they were best."""
    source = np.random.default_rng(len(steps))
    states: list[dict[str, np.ndarray]] = []
    for last, before in steps:
        params, stats = source.normal(size=(2, 3)), source.normal(size=4)
        best = (params, stats) if not before else (params + 1, stats + 1)
        times = {"step": np.int32(last + before), "best.step": np.int32(last), "best.loss": np.float32(last)}
        arrays = {"params.w": params, "stats.m": stats, "best.params.w": best[0], "best.stats.m": best[1]}
        states.append({name: np.asarray(x) for name, x in (times | arrays).items()})
    found = stacked(states)
    differ = sum(before > 0 for _, before in steps)
    assert len(found.get("best.params.w", ())) == differ
    assert len(found["params.w"]) == len(steps)
    for place, state in enumerate(states):
        one = taken(found, place, [*state])
        assert one.keys() == state.keys()
        assert all(np.array_equal(one[name], state[name]) for name in state)
