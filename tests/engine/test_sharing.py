"""What shares a program, and what must not: values of other types, budgets, tasks, and what is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same_bits

from jaxgen import runs
from jaxgen.config import Config
from jaxgen.engine import lanes as engine
from jaxgen.engine import timing
from jaxgen.engine.lanes import Ended
from jaxgen.engine.plan import Plan
from jaxgen.engine.programs import Data, prepare
from jaxgen.fields import flatten, override
from jaxgen.job import prepared
from jaxgen.runs import fastest
from jaxgen.search.sweep import Group, grid, groups
from jaxgen.tasks.base import Task
from jaxgen.tasks.names import config as of_names
from jaxgen.tasks.names.config import ModelConfig
from jaxgen.tasks.rows import Splits
from jaxgen.train.functions import Functions

pytestmark = pytest.mark.usefixtures("compiled_quickly")

ROWS = np.arange(20, dtype=np.float32)
WIDTH = 3
BASE = override(of_names.Config(), {"optimizer.name": "sgd", "optimizer.learning_rate": 1.0, "train.eval_every": 70})


def init(config: Config, key: Any) -> tuple[Any, Any]:
    return {"w": config.model.init_scale * jnp.ones(WIDTH)}, {"budget": jnp.zeros(())}


def loss(config: Config, params: Any, stats: Any, batch: Any, key: Any, step: Any) -> tuple[Any, Any]:
    """Each step adds the share of the budget that is spent."""
    share = step / config.train.steps
    return -params["w"].sum() * share + 0.0 * batch, {"budget": jnp.asarray(config.train.steps, jnp.float32)}


def score(config: Config, params: Any, stats: Any, rows: Any, keys: Any) -> dict[str, Any]:
    return {"loss": -params["w"].sum() + 0.0 * rows}


TASK = Functions(init, loss, score)


def rows_of(config: Config) -> int:
    return len(ROWS)


def trained(configs: Iterable[Config]) -> dict[int, Ended]:
    """Side by side, two lanes at once."""
    (group,) = groups(configs, rows_of)
    events = engine.train(TASK, prepare(Splits(ROWS, ROWS)), group, Plan(1, 2, 2))
    return {event.trial: event for event in events if isinstance(event, Ended)}


def test_a_whole_number_in_one_lane_cuts_nothing_in_another() -> None:
    """Issue 19: `init_scale=1` in one lane made 0.5 train as 0 in another."""
    whole, half = (dataclasses.replace(BASE, model=ModelConfig(init_scale=scale)) for scale in (1, 0.5))
    assert flatten(whole)["model.init_scale"] == 1
    together, alike = trained([whole, half]), trained([half, half])
    for number, scale in enumerate((1.0, 0.5)):
        start = together[number].params["w"] - (BASE.train.steps - 1) / 2
        np.testing.assert_allclose(start, [scale] * WIDTH, atol=1e-3)
    assert same_bits(together[1].params, alike[1].params)
    assert same_bits(together[1].losses, alike[1].losses)
    listed = trained(grid(BASE, {"model.init_scale": [1, 0.5]}))
    assert same_bits([end.params for end in listed.values()], [together[number].params for number in listed])


def test_the_budget_that_a_loss_reads_is_the_trials_own() -> None:
    """Issue 19: and not the end of the stride that its steps were taken in."""
    budgets = [150, 30, 71]
    for number, end in trained(grid(BASE, {"train.steps": budgets})).items():
        assert end.stats["budget"] == budgets[number] == end.steps
        np.testing.assert_allclose(end.params["w"], [1 + (budgets[number] - 1) / 2] * WIDTH, rtol=1e-5)


def key(name: str, group: Group, rows: np.ndarray = ROWS, task: Functions = TASK) -> str:
    return timing.program_key(name, task, prepare(Splits(rows, rows)), group)


def test_what_was_measured_is_of_one_task() -> None:
    (group,), (other,) = groups([BASE], rows_of), groups([override(BASE, {"optimizer.learning_rate": 0.5})], rows_of)
    (deeper,), (longer,) = (groups([override(BASE, v)], rows_of) for v in ({"model.depth": 1}, {"train.steps": 10}))
    assert key("jaxgen:names", group) == key("jaxgen:names", other)
    names = ("jaxgen:names", "mine.py:TASK:names", "jaxgen:digits")
    found = [*(key(name, group) for name in names), *(key(names[0], one) for one in (deeper, longer))]
    found.append(key(names[0], group, ROWS[:10]))
    assert len({*found}) == len(found)


class Named(Task):
    """A task of a name, in whose functions nothing tells it from others."""

    probed = False

    def __init__(self, name: str, place: str) -> None:
        self.name, self.place = name, place

    def functions(self) -> Functions:
        return TASK


def test_a_plan_is_measured_anew_for_another_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (group,), data, plans = groups([BASE], rows_of), prepare(Splits(ROWS, ROWS)), [Plan(1, 2, 1), Plan(1, 2, 2)]
    asked: list[Plan] = []

    def seconds(task: Functions, data: Data, group: Group, plan: Plan) -> float:
        asked.append(plan)
        return 1e-3

    monkeypatch.setattr(timing, "seconds", seconds)
    tasks = [Named("a", "jaxgen"), Named("a", "jaxgen"), Named("b", "jaxgen"), Named("a", "mine.py:A")]
    for task, measured in zip(tasks, (True, False, True, True), strict=True):
        asked.clear()
        fastest(task, data, group, plans, tmp_path)
        assert bool(asked) == measured, task.place


def test_the_data_section_selects_no_program() -> None:
    found = groups(grid(BASE, {"data.split_seed": [1, 2], "data.dev": [0, 10], "seed": [0, 1]}), rows_of)
    assert [group.trials for group in found] == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert [(g.static.data.split_seed, g.static.data.dev) for g in found] == [(1, 0), (1, 10), (2, 0), (2, 10)]
    assert len({jax.tree.structure(group.traced()) for group in found}) == 1
    each = [group.traced(trial) for group in found for trial in group.trials]
    assert {jax.tree.structure(one) for one in each} == {jax.tree.structure(found[0].traced())}
    assert len({jax.tree.structure(group.static) for group in found}) == len(found)  # what is read stands in it


class Cut(Task):
    """The mean of numbers, with a noise in each evaluation; the parts of every seed are of other lengths."""

    name, probed = "cut", False

    def __init__(self) -> None:
        self.traced = 0

    def splits(self, data: Any) -> Splits:
        x = np.random.default_rng(data.split_seed).normal(3.0, 1.0, 9000).astype(np.float32)
        more = data.split_seed % 3
        found = Splits(*np.split(x, [3000 + 700 * more, 5000 + 800 * more]))
        if data.split_seed > 1000:
            return found._replace(test=found.test[: 500 + more])
        return found._replace(dev=found.train[:5]) if data.split_seed > 100 else found

    def init(self, config: Config, key: Any) -> tuple[Any, Any]:
        return {"w": jax.random.normal(key)}, {}

    def loss(self, config: Config, params: Any, stats: Any, batch: Any, key: Any, step: Any) -> tuple[Any, Any]:
        self.traced += 1
        return (batch - params["w"]) ** 2, stats

    def score(self, config: Config, params: Any, stats: Any, rows: Any, keys: Any) -> dict[str, Any]:
        return {"loss": (rows - params["w"]) ** 2 + jax.vmap(jax.random.normal)(keys)}


def test_groups_that_read_other_parts_share_a_program() -> None:
    """Parts are filled up to the longest, which changes no figure."""
    together, alone = Cut(), Cut()
    values = {"train.batch_size": 7, "train.steps": 30, "train.eval_every": 10}
    base = together.config(optimizer__name="sgd", optimizer__learning_rate=0.1)
    sweep = grid(override(base, values), {"data.split_seed": [0, 1, 2]})
    found = runs.run(sweep, together, width=1, chunk=1)
    assert found.programs == 1
    first, *_ = sorted(found.rows, key=lambda row: row.trial)  # of the shortest part for training, and the longest for test
    (row,) = runs.run([next(iter(sweep))], alone, width=1, chunk=1).rows
    assert {*row.metrics} == {"train_loss", "val_loss", "test_loss"}
    assert (row.best_step, row.status) == (first.best_step, first.status)
    assert row.metrics == first.metrics  # to the bit
    assert together.traced == alone.traced > 0  # as often as for one


@pytest.mark.parametrize("seeds", [(0, 1, 101), (101, 1, 0)])
def test_parts_are_filled_up_and_none_is_made_where_there_is_none(seeds: tuple[int, ...]) -> None:
    """Also where some of the groups that differ in what they read hold rows out, and others do not: these share no program."""
    job = prepared(grid(Cut().config(), {"data.split_seed": seeds}), Cut())
    assert job.programs == 2
    for seed, group in zip(seeds, job.groups, strict=True):
        data, parts = job.data(group), Cut().splits(group.static.data)
        wanted = {"train": parts.train, "validation": parts.validation, "test": parts.test, "dev": parts.dev}
        assert (data.dev is None) == (parts.dev is None) == (seed < 100)
        if seed > 100:
            assert data.counts is None
            continue
        assert {*data.counts} == {"train_part", "curves", *(name for name, part in wanted.items() if part is not None)}
        for name, part in wanted.items():
            if part is not None:
                found = np.asarray(getattr(data, name))
                np.testing.assert_array_equal(found, np.pad(part, (0, len(found) - len(part))))
                assert data.counts[name] == len(part)
        assert (len(data.train), len(data.validation), len(data.test)) == (3700, 2100, 4000)  # the longer of both


def test_parts_that_one_chunk_holds_are_not_filled_up() -> None:
    """Their chunk is as long as they are, and with another one last bits differ."""
    job = prepared(grid(Cut().config(), {"data.split_seed": [1001, 1002]}), Cut())
    assert job.programs == 2
    assert all(job.data(group).counts is None for group in job.groups)
