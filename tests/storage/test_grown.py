"""Runs that are gone on with by a command for more: what is trained stays, and what comes behind is what a run of all has."""

from __future__ import annotations

import csv
import itertools
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import same_bits
from hypothesis import given
from hypothesis import strategies as st

import jaxgen
from jaxgen import runs
from jaxgen.engine.lanes import Evaluated
from jaxgen.fields import UserError, flatten, override
from jaxgen.runs import Interrupted, Notice
from jaxgen.search.sweep import Question, Sweep
from jaxgen.storage.facts import config_text, describe
from jaxgen.storage.grown import grown
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus
from jaxgen.tasks.names.task import Names

pytestmark = pytest.mark.usefixtures("compiled_quickly")

RATE, NAME, WIDE = "optimizer.learning_rate", "optimizer.name", "model.hidden"
SMALLER: dict[str, Any] = {RATE: [1e-3, 1e-2], "seed": range(2)}
LARGER: dict[str, dict[str, Any]] = {
    "more seeds": {RATE: [1e-3, 1e-2], "seed": range(3)},
    "more values, before and between": {RATE: [1e-4, 1e-3, 3e-3, 1e-2], "seed": range(2)},
    "a key more, of another program": {WIDE: [8, 16], RATE: [1e-3, 1e-2], "seed": range(2)},
}


def train(sweep: Sweep, corpus: Corpus, out: Path | None, **more: Any) -> jaxgen.Results:
    return runs.run(sweep, corpus, out, width=2, chunk=1, resume=True, **more)


def rows(results: jaxgen.Results) -> dict[Any, Any]:
    """What each trial came to, by its config."""
    configs = list(results.sweep)
    return {
        tuple(flatten(configs[row.trial]).items()): (row.metrics, row.steps, row.best_step, row.params) for row in results.rows
    }


@pytest.fixture(scope="module")
def begun(small: Config, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("grown") / "run"
    train(jaxgen.grid(small, SMALLER), corpus, out)
    return out


def copied(source: Path, to: Path) -> Path:
    for path in source.rglob("*"):
        if path.is_file() and path.name != "lock":
            (to / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (to / path.relative_to(source)).write_bytes(path.read_bytes())
    return to


@pytest.mark.parametrize("how", LARGER)
def test_a_run_takes_more_trials(how: str, begun: Path, small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """Its rows are those that it had, and then those of a run of all: another way, with nothing that was there before."""
    out, said = copied(begun, tmp_path / "run"), []
    before = list(csv.DictReader((out / "results.csv").open(newline="")))
    arrays = {path: path.read_bytes() for path in (out / "checkpoints").rglob("trials-*/**/*") if path.is_file()}
    sweep = jaxgen.grid(small, LARGER[how])
    found = train(sweep, corpus, out, listener=lambda event, _: said.append(str(event)) if isinstance(event, Notice) else None)
    more = len(sweep) - len(before)
    assert any(line.startswith(f"{more} trial") and line.endswith("what it has stays") for line in said)
    after = list(csv.DictReader((out / "results.csv").open(newline="")))
    assert [{key: row[key] for key in before[0]} for row in after[: len(before)]] == before
    assert all(path.read_bytes() == content for path, content in arrays.items())
    whole = train(sweep, corpus, tmp_path / "whole")
    assert rows(found) == rows(whole)
    read = jaxgen.load_results(out)
    assert rows(read) == rows(whole)
    assert read.verdict().sentences == found.verdict().sentences
    last = len(sweep) - 1
    (same,) = (row.trial for row in whole.rows if row.values == read.values(last) and row.seed == read.seed(last))
    ours, theirs = read.trained(last), jaxgen.load(tmp_path / "whole", same)
    assert same_bits((ours.params, ours.stats), (theirs.params, theirs.stats))
    again = list[Any]()
    train(sweep, corpus, out, listener=lambda event, _: again.append(event))  # the same command trains nothing
    assert not any(isinstance(event, Evaluated) for event in again)
    assert rows(jaxgen.load_results(out)) == rows(whole)


def test_stopped_before_and_while_it_grows(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """Twice longer, and stopped after each segment in which something was trained: the bytes of one that was not stopped."""
    sizes = [{**SMALLER, "seed": range(1)}, SMALLER, LARGER["a key more, of another program"]]
    sweeps = [jaxgen.grid(small, axes) for axes in sizes]
    with pytest.raises(Interrupted):
        train(sweeps[0], corpus, tmp_path / "stopped", stop=lambda: True)
    for sweep in sweeps[1:]:
        for _ in range(50):
            trained = itertools.count()
            try:
                train(sweep, corpus, tmp_path / "stopped", stop=lambda trained=trained: next(trained) == 1)
            except Interrupted:
                if sweep is sweeps[1]:
                    break  # and on with a larger one, in the midst of it
                continue
            break
    # The same growth, each time from where the one before was.
    for sweep in sweeps:
        train(sweep, corpus, tmp_path / "whole")
    stopped, whole = (jaxgen.load_results(tmp_path / name) for name in ("stopped", "whole"))
    assert stopped.sweep == whole.sweep
    assert rows(stopped) == rows(whole)
    assert (tmp_path / "stopped" / "results.csv").read_bytes() == (tmp_path / "whole" / "results.csv").read_bytes()


@pytest.mark.parametrize(
    ("changes", "axes", "said"),
    [
        ({"train.steps": 20}, SMALLER, "train.steps 40, and here it is 20"),
        (
            {"model.hidden": 8, "train.batch_size": 8},
            SMALLER,
            "model.hidden 16, and here it is 8; train.batch_size 16, and here",
        ),
        ({}, {**SMALLER, RATE: [1e-3, 3e-3]}, "optimizer.learning_rate 0.01, and here it is 0.001, 0.003"),
        ({}, {**SMALLER, "seed": range(1)}, "seed 1, and here it is 0"),
        ({NAME: "sgd"}, SMALLER, "optimizer.name 'adam', and here it is 'sgd'"),
    ],
)
def test_what_a_run_cannot_become_is_said_with_both_values(
    changes: dict[str, Any], axes: dict[str, Any], said: str, begun: Path, small: Config, corpus: Corpus
) -> None:
    before = (begun / "config.json").read_bytes()
    with pytest.raises(UserError) as error:
        train(jaxgen.grid(override(small, changes), axes), corpus, begun)
    assert said in str(error.value)
    assert "--overwrite, or another --out" in str(error.value)
    assert (begun / "config.json").read_bytes() == before


POINTS = st.lists(
    st.fixed_dictionaries(
        {"seed": st.integers(0, 2)}, optional={RATE: st.sampled_from([0.1, 1]), NAME: st.sampled_from(["sgd", "adam"])}
    ),
    min_size=1,
    max_size=8,
)


@given(POINTS, st.data())
def test_no_trial_is_lost_and_none_is_trained_twice(points: list[dict[str, Any]], data: st.DataObject) -> None:
    """Any part of a sweep, in any order, from a base that says the same by other means."""
    old = data.draw(st.permutations(points))[: data.draw(st.integers(1, len(points)))]
    base = Config()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        names = Names(Corpus(("ab", "cd"), base.data.path, None, ""))
        (path / "config.json").write_bytes(config_text(describe(Sweep(base, tuple(old)), names, 1, Question(), ())))
        found = grown(path, Sweep(base, tuple(points)))
    assert [flatten(config) for config in list(found)[: len(old)]] == [flatten(config) for config in Sweep(base, tuple(old))]
    each = [Counter(tuple(flatten(config).items()) for config in sweep) for sweep in (found, Sweep(base, tuple(points)))]
    assert each[0] == each[1]
    assert found.stages == ((len(old),) if len(old) < len(points) else ())
