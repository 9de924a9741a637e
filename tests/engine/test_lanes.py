"""How lanes are used: refilled, left early, packed, gone back from what is not finite; one program for all that they hold."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pool import trained

from jaxgen.config import OPTIMIZERS
from jaxgen.engine import lanes as engine
from jaxgen.engine import programs, timing
from jaxgen.engine.lanes import Ended, SegmentDone
from jaxgen.engine.plan import Plan
from jaxgen.fields import override
from jaxgen.search import sweep as sweeps
from jaxgen.search.sweep import Sweep, grid, groups, seeds
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus, split
from jaxgen.tasks.names.loss import next_character
from jaxgen.tasks.rows import Splits
from jaxgen.train import optimizers
from jaxgen.train.functions import Functions
from jaxgen.train.optimizers import schedule
from jaxgen.train.trial import Status

pytestmark = pytest.mark.usefixtures("compiled_quickly")

PLAN = Plan(1, 2, 2)  # one for all that it will do for: each compiles for seconds


@given(st.sampled_from([Plan(1, 6, 2), Plan(2, 8, 2), Plan(2, 12, 3), Plan(8, 16, 1), Plan(2, 2, 1)]), st.data())
def test_packing_loses_no_lane_and_leaves_no_device_a_chunk_too_many(plan: Plan, data: st.DataObject) -> None:
    lanes = data.draw(st.lists(st.none() | st.integers(0, 99), min_size=plan.width, max_size=plan.width))

    def busiest(lanes: Sequence[int | None]) -> int:
        share, chunk = plan.width // plan.devices, plan.chunk
        devices = [lanes[d * share : (d + 1) * share] for d in range(plan.devices)]
        return max(sum(any(x is not None for x in d[c : c + chunk]) for c in range(0, share, chunk)) for d in devices)

    least = next(n for n in range(99) if n * plan.chunk * plan.devices >= sum(x is not None for x in lanes))
    order = engine.packed(lanes, plan)
    if order is None:
        assert busiest(lanes) == least
    else:
        assert sorted(order) == list(range(plan.width))
        assert busiest([lanes[lane] for lane in order]) == least < busiest(lanes)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@given(st.sampled_from([Plan(1, 6, 2), Plan(2, 8, 2), Plan(2, 12, 3), Plan(8, 16, 1), Plan(2, 200, 50)]), st.data())
def test_ended_lanes_are_evaluated_where_they_lie(platform: str, plan: Plan, data: st.DataObject) -> None:
    """Each once, in no more rounds than the fullest device needs; what is computed at once is never more than a chunk."""
    ended = data.draw(st.lists(st.integers(0, plan.width - 1), unique=True, min_size=1))
    share, seats = plan.width // plan.devices, programs.finishing_plan(plan, platform).width // plan.devices
    assert 1 <= seats <= plan.chunk
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: platform)
        rounds = list(engine.dealt(ended, plan))
    taken = [lane for lanes, _, _ in rounds for lane in lanes]
    assert sorted(taken) == sorted(ended)
    fullest = max(sum(lane // share == device for lane in ended) for device in range(plan.devices))
    assert len(rounds) == -(-fullest // seats)
    for lanes, places, used in rounds:
        assert len(places) == len(used) == plan.devices * seats
        assert sorted(lanes.values()) == np.flatnonzero(used).tolist()
        assert {lane: seat // seats * share + places[seat] for lane, seat in lanes.items()} == {lane: lane for lane in lanes}


def test_lanes_in_another_order_are_the_same_lanes() -> None:
    """By the host, and by the program that accelerators have."""
    plan = Plan(2, 8, 2)
    run = programs.programs(next_character(27), plan)
    order = [3, 1, 0, 2, 7, 5, 6, 4]
    for platform in ("cpu", "gpu"):
        state = jax.device_put({"x": np.arange(16.0).reshape(8, 2)}, programs.by_lane(plan))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jax, "default_backend", lambda platform=platform: platform)
            moved: Any = engine.moved(run, plan, state, order)  # pyright: ignore[reportArgumentType]  (any tree will do)
        np.testing.assert_array_equal(moved["x"], np.arange(16.0).reshape(8, 2)[order])
        assert moved["x"].sharding == programs.by_lane(plan)


def test_lanes_are_refilled_and_budgets_differ(small: Config, corpus: Corpus) -> None:
    budgets = [20, 60, 30, 20, 45, 20, 60]
    ended, evaluated = trained(grid(small, {"train.steps": budgets}), corpus, PLAN)
    assert [ended[i].steps for i in range(7)] == budgets
    for number, budget in enumerate(budgets):
        steps = [event.step for event in evaluated if event.trial == number]
        assert steps == [*range(20, budget, 20), budget]


def test_early_stopping_stops_and_keeps_the_best(small: Config, corpus: Corpus) -> None:
    base = override(small, {"train.steps": 2000, "train.eval_every": 20, "optimizer.learning_rate": 0.03})
    ended, evaluated = trained(grid(base, {"train.patience": [3, 0]}), corpus, PLAN)
    losses = [event.metrics["val_loss"] for event in evaluated if event.trial == 0]
    best = int(np.argmin(losses))
    assert ended[0].status == Status.STOPPED
    assert ended[0].best_step == 20 * (best + 1)
    assert ended[0].steps == 20 * (best + 1 + 3) < 2000
    assert ended[1].status == Status.COMPLETED
    assert ended[1].best_step == ended[0].best_step or ended[1].losses["val_loss"] <= ended[0].losses["val_loss"] + 0.01


def test_the_seven_optimizers_compile_one_training_program(small: Config, corpus: Corpus) -> None:
    """Counts how often the loss is traced for training, over three learning rates, two seeds, and all schedules."""
    traces = []
    task = next_character(len(corpus.vocabulary))

    def counted(*arguments: Any) -> Any:
        traces.append(arguments)
        assert task.loss is not None
        return task.loss(*arguments)

    rates, schedules = [1e-3, 1e-2, 1e-1], list(optimizers.SCHEDULES)
    sweep = seeds(
        grid(small, {"optimizer.name": list(OPTIMIZERS), "optimizer.learning_rate": rates, "optimizer.schedule": schedules}), 2
    )
    plan = Plan(2, 16, 4)
    ended, _ = trained(sweep, corpus, plan, task._replace(loss=counted))
    once = len(traces)
    assert len(ended) == 7 * 3 * len(schedules) * 2
    traces.clear()
    trained(Sweep(small), corpus, plan, task._replace(loss=counted))
    # One lane's program traces as often as all of theirs: scan and grad trace the loss more than once for one program.
    assert once == len(traces) > 0


def test_a_segment_is_no_longer_than_the_longest_budget(small: Config) -> None:
    base = override(small, {"train.eval_every": 500})
    (group,) = groups(grid(base, {"train.steps": [30, 70]}), lambda config: 1000)
    assert {group.lowered(trial).train.eval_every for trial in group.trials} == {70}


WRONG = ("loss", "statistic", "parameter")


def counting(wrong: str) -> Functions:
    """Its one parameter counts the steps; where it has reached the trial's seed, a number turns bad."""

    def init(config: Config, key: jax.Array) -> tuple[Any, Any]:
        return {"w": jnp.zeros(3)}, {"s": jnp.zeros(2)}

    def loss(config: Config, params: Any, stats: Any, batch: Any, key: jax.Array, step: Any) -> tuple[jax.Array, Any]:
        bad = jax.lax.stop_gradient(params["w"][0]) >= config.seed
        value = -params["w"].sum()
        if wrong == "loss":
            value = jnp.where(bad, jnp.nan, value)
        if wrong == "parameter":  # the loss stays finite; the slope of a root at 0 does not
            still = params["w"] - jax.lax.stop_gradient(params["w"])
            value = value + jnp.sqrt(jnp.where(bad, still, 1.0)).sum()
        return value[None], {"s": jnp.where(bad & (wrong == "statistic"), jnp.inf, stats["s"] + 1)}

    def score(config: Config, params: Any, stats: Any, rows: Any, keys: Any) -> dict[str, jax.Array]:
        return {"loss": jnp.full(rows.shape[0], -params["w"][0])}

    return Functions(init, loss, score)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_trial_ends_at_its_last_finite_state(wrong: str) -> None:
    """Whatever step it happens at, in a stride, at its edges, in the first or the last step: the count says which."""
    budget, every = 150, 70
    last = [0, 1, 2, 31, 34, 35, 36, 63, 64, 69, 70, 71, 105, 139, 140, 148, 149, 150, 1000]
    base = override(
        Config(), {"optimizer.name": "sgd", "optimizer.learning_rate": 1.0, "train.steps": budget, "train.eval_every": every}
    )
    (group,) = groups(grid(base, {"seed": last}), lambda config: 100)
    rows = np.zeros(20, np.float32)
    data = programs.prepare(Splits(rows, rows, rows))
    ended = {e.trial: e for e in engine.train(counting(wrong), data, group, Plan(2, 8, 4)) if isinstance(e, Ended)}
    states: Any = None
    for event in engine.train(counting(wrong), data, group, Plan(1, len(last), len(last))):
        if isinstance(event, SegmentDone) and event.position.state is not None:
            states = jax.device_get(event.position.state)
    for number, steps in enumerate(last):
        assert ended[number].steps == min(steps, budget)
        assert ended[number].status == (Status.DIVERGED if steps < budget else Status.COMPLETED)
        np.testing.assert_array_equal(states.params["w"][number], min(steps, budget))
        np.testing.assert_array_equal(states.stats["s"][number], min(steps, budget))


def test_rates_are_followed_beyond_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of several budgets, in lanes that are taken at other times, and after an interruption."""
    monkeypatch.setattr(sweeps, "TABLE", 16)
    values = {"optimizer.name": "sgd", "optimizer.learning_rate": 0.5, "optimizer.warmup": 0.1, "train.eval_every": 7}
    axes = {"train.steps": [5, 40, 100], "optimizer.schedule": ["constant", "cosine", "steps"], "seed": [1000]}
    base = override(Config(), values)
    (group,) = groups(grid(base, axes), lambda config: 100)
    rows = np.zeros(20, np.float32)
    data, task, plan = programs.prepare(Splits(rows, rows, rows)), counting("nothing"), Plan(2, 4, 2)

    # What it minimises falls with every step, so that each parameter is the sum of the rates, and the last state the best.
    wanted = [np.cumsum(schedule(config, 100), dtype=np.float32)[-1] for config in group.configs]
    ended: dict[int, Ended] = {}
    position = None
    while len(ended) < len(wanted):
        for event in engine.train(task, data, group, plan, 0, position):
            if isinstance(event, Ended):
                ended[event.trial] = event
            if isinstance(event, SegmentDone) and len(ended) in (4, 7):  # from two such places on it is begun anew
                position = replace(event.position, state=jax.device_get(event.position.state))
                break
    for trial, config in zip(group.trials, group.configs, strict=True):
        assert ended[trial].steps == config.train.steps
        np.testing.assert_array_equal(ended[trial].params["w"], wanted[trial])


def test_long_segments_are_told_before(small: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 x 200,000 rows times the weights of a transformer, on a machine of 1e9 products a second."""
    monkeypatch.setattr(timing, "products_a_second", lambda: 1e9)
    task = next_character(27)
    (few,) = groups([small], lambda config: 100)
    assert timing.said_of_long_segments(task, few) == []
    values = {"model.family": "transformer", "model.hidden": 64, "train.batch_size": 200_000, "train.eval_every": 1000}
    (many,) = groups([override(small, values)], lambda config: 100)
    (line,) = timing.said_of_long_segments(task, many)
    shapes = [x.shape for x in jax.tree.leaves(jax.eval_shape(lambda: task.init(many.static, jax.random.key(0))[0]))]
    weights = sum(math.prod(shape) for shape in shapes if len(shape) > 1)
    minutes = 6 * weights * 200_000 * small.train.steps / 1e9 / 60
    assert line.startswith(f"a segment of 40 steps with batches of 200,000 rows takes about {minutes:.0f} minutes or more")


def test_executables_go_with_their_group(small: Config, corpus: Corpus) -> None:
    """A process that trains one structure after the other keeps those of a few, and of what trains now in any case."""
    splits = split(corpus, "rows", 42, 3)
    data = programs.prepare(Splits(*splits))
    task = next_character(len(corpus.vocabulary))

    def of(**values: Any) -> Any:
        sweep = seeds(override(small, values), 2)
        (group,) = groups(sweep, lambda config: len(splits.train.targets))
        return programs.kind(group.traced(), data)

    assert of() == of(**{"seed": 7, "optimizer.learning_rate": 0.5, "train.steps": 41})
    others = [of(**{"model.hidden": 8 + i}) for i in range(programs.KEPT)]
    assert len({of(), *others}) == 1 + programs.KEPT
    first = weakref.ref(programs.programs(task, PLAN, of()).segment)
    for other in others[1:]:
        programs.programs(task, PLAN, other)
    assert programs.programs(task, PLAN, of()).segment is first()
    for other in others:
        programs.programs(task, PLAN, other)
    gc.collect()
    assert first() is None


def test_a_timed_plan_is_a_plan_that_trains(small: Config, corpus: Corpus) -> None:
    splits = split(corpus, "rows", 42, 3)
    (group,) = groups(seeds(small, 3), lambda config: len(splits.train.targets))
    task, data = next_character(len(corpus.vocabulary)), programs.prepare(Splits(*splits))
    taken = timing.seconds(task, data, group, PLAN)
    assert 0 <= taken < 1
    segment = programs.programs(task, PLAN, programs.kind(group.traced(), data)).segment
    compiled = segment._cache_size()  # pyright: ignore[reportFunctionMemberAccess]  (JAX's own count)
    list(engine.train(task, data, group, PLAN))
    assert segment._cache_size() == compiled  # pyright: ignore[reportFunctionMemberAccess]
