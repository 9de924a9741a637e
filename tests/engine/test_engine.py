"""The pool of lanes: results depend on a trial's config and seed, never on its neighbours, its lane or the order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same_bits
from hypothesis import given
from hypothesis import strategies as st

from jaxgen.config import OPTIMIZERS
from jaxgen.engine import lanes as engine
from jaxgen.engine import programs, timing
from jaxgen.engine.lanes import Ended, Evaluated, SegmentDone
from jaxgen.engine.plan import Plan, choose
from jaxgen.fields import override
from jaxgen.search.sweep import Sweep, grid, groups, seeds, zipped
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus, split
from jaxgen.tasks.names.loss import next_character
from jaxgen.tasks.rows import Splits
from jaxgen.train import optimizers, trial
from jaxgen.train.functions import Functions
from jaxgen.train.trial import Status

pytestmark = pytest.mark.usefixtures("compiled_as_shipped")

# Another width or another program may fuse and round otherwise, and 40 steps of training let a last bit grow.
ROUNDING = 2e-5


def trained(
    sweep: Sweep | list[Config], corpus: Corpus, plan: Plan | None = None, task: Functions | None = None
) -> tuple[dict[int, Ended], list[Evaluated]]:
    """Each trial's end and every evaluation."""
    splits = split(corpus, "rows", 42, 3)
    ended, evaluated = {}, []
    for number, group in enumerate(groups(sweep, lambda config: optimizers.lower(config, len(splits.train.targets)))):
        used, data = plan or choose(len(group.trials)), programs.prepare(Splits(*splits))
        for event in engine.train(task or next_character(len(corpus.vocabulary)), data, group, used, number):
            if isinstance(event, Ended):
                ended[event.trial] = event
            elif isinstance(event, Evaluated):
                evaluated.append(event)
    return ended, evaluated


def assert_close(a: Ended, b: Ended) -> None:
    assert (a.status, a.steps, a.best_step) == (b.status, b.steps, b.best_step)
    for name, loss in a.losses.items():
        np.testing.assert_allclose(loss, b.losses[name], rtol=ROUNDING)


def some(*plans: Plan, later: list[Plan]) -> list[Any]:
    """Each plan compiles for seconds: these always, those by --long."""
    return [pytest.param(plan, marks=[pytest.mark.long] * (plan in later), id=str(plan)) for plan in (*plans, *later)]


@pytest.fixture(scope="module")
def small(small: Config) -> Config:
    """Of one hidden layer: more of them take longer to compile, and are the same to the engine."""
    return override(small, {"model.depth": 1})


@pytest.fixture(scope="module")
def sweep(small: Config) -> Sweep:
    return seeds(grid(small, {"optimizer.name": ["sgd", "nesterov", "adam"], "regularizer.l2": [0.0, 1e-3]}), 2)


@pytest.fixture(scope="module")
def together(sweep: Sweep, corpus: Corpus) -> dict[int, Ended]:
    return trained(sweep, corpus, Plan(2, 12, 3))[0]


def test_all_trials_complete_in_order_of_their_lanes(sweep: Sweep, together: dict[int, Ended]) -> None:
    assert sorted(together) == list(range(len(sweep)))
    assert all(end.status == Status.COMPLETED and end.steps == 40 for end in together.values())
    losses = [end.losses["val_loss"] for end in together.values()]
    assert len(set(losses)) == len(losses)


def test_the_same_plan_gives_the_same_bits(sweep: Sweep, corpus: Corpus, together: dict[int, Ended]) -> None:
    again = trained(sweep, corpus, Plan(2, 12, 3))[0]
    for number, end in together.items():
        assert same_bits((end.params, end.stats, end.losses), (again[number].params, again[number].stats, again[number].losses))


@pytest.mark.parametrize("plan", some(Plan(1, 1, 1), Plan(2, 16, 4), later=[Plan(1, 2, 2), Plan(2, 4, 2), Plan(1, 5, 5)]))
def test_width_and_devices_change_nothing_but_rounding(
    plan: Plan, sweep: Sweep, corpus: Corpus, together: dict[int, Ended]
) -> None:
    for number, end in trained(sweep, corpus, plan)[0].items():
        assert_close(end, together[number])


@pytest.mark.parametrize("plan", some(Plan(1, 3, 3), Plan(2, 18, 3), later=[Plan(2, 6, 3)]))
def test_plans_of_one_chunk_give_the_same_bits(plan: Plan, sweep: Sweep, corpus: Corpus, together: dict[int, Ended]) -> None:
    """Other widths and devices, the same lanes at once: on a CPU what a chunk computes is bit by bit the same."""
    for number, end in trained(sweep, corpus, plan)[0].items():
        other = together[number]
        assert same_bits((end.params, end.stats, end.losses), (other.params, other.stats, other.losses))


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


def test_packing_changes_no_bit(small: Config, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second trial ends early, the others move together; as if they had stayed."""
    budgets = [20, 80] * 6
    sweep = zipped(small, {"seed": range(12), "train.steps": budgets})
    orders, packed = [], engine.packed

    def noted(lanes: Sequence[int | None], plan: Plan) -> list[int] | None:
        orders.append(packed(lanes, plan))
        return orders[-1]

    monkeypatch.setattr(engine, "packed", noted)
    moved, _ = trained(sweep, corpus, Plan(2, 12, 2))
    assert sum(order is not None for order in orders) == 1
    monkeypatch.setattr(engine, "packed", lambda lanes, plan: None)
    stayed, _ = trained(sweep, corpus, Plan(2, 12, 2))
    for number, end in moved.items():
        assert end.steps == budgets[number]
        other = stayed[number]
        assert same_bits((end.params, end.stats, end.losses), (other.params, other.stats, other.losses))


def test_order_changes_nothing_but_rounding(sweep: Sweep, corpus: Corpus, together: dict[int, Ended]) -> None:
    order = np.random.default_rng(0).permutation(len(sweep))
    shuffled = trained(Sweep(sweep.base, tuple(sweep.points[i] for i in order)), corpus, Plan(2, 4, 2))[0]
    for place, number in enumerate(order):
        assert_close(shuffled[place], together[int(number)])


def test_a_trial_alone_is_the_same_trial(sweep: Sweep, corpus: Corpus, together: dict[int, Ended]) -> None:
    for number, point in enumerate(sweep.points):
        assert_close(trained(Sweep(sweep.base, (point,)), corpus)[0][0], together[number])


def test_a_trial_is_its_three_functions(sweep: Sweep, corpus: Corpus, together: dict[int, Ended]) -> None:
    """A loop of one's own over init, update and evaluate gives what the engine gives."""
    splits, task = split(corpus, "rows", 42, 3), next_character(len(corpus.vocabulary))
    data = programs.prepare(Splits(*splits))
    config = optimizers.lower(list(sweep)[-1], len(splits.train.targets))
    state = trial.init(task, config, trial.stream(config.seed, trial.Stream.START))
    update = jax.jit(lambda s: trial.update(task, config, s, trial.draw(task, data.train, config, s.step))[0])
    best = (np.inf, state)
    for step in range(1, 41):
        state = update(state)
        if step % 20 == 0:
            best = min(
                best,
                (float(trial.evaluate(task, config, state, jax.tree.map(lambda x: x[1], data.curves))["loss"]), state),
                key=lambda x: x[0],
            )
    end = together[len(sweep) - 1]
    for name, part in (("val_loss", data.validation), ("test_loss", data.test), ("train_loss", data.train_part)):
        np.testing.assert_allclose(trial.evaluate(task, config, best[1], part)["loss"], end.losses[name], rtol=ROUNDING)


@pytest.mark.parametrize("lane", range(8))
def test_a_diverging_neighbour_changes_no_bit(lane: int, small: Config, corpus: Corpus) -> None:
    """At learning rate 1e30 in any lane of eight: the others' bits are as with a neighbour that trains."""
    base, plan = override(small, {"optimizer.name": "sgd"}), Plan(2, 8, 4)
    rates = [0.1] * 8
    calm, _ = trained(grid(base, {"optimizer.learning_rate": rates}), corpus, plan)
    rates[lane] = 1e30
    wild, _ = trained(grid(base, {"optimizer.learning_rate": rates}), corpus, plan)
    assert wild[lane].status == Status.DIVERGED
    assert wild[lane].steps < 40
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((wild[lane].params, wild[lane].stats)))
    for number in set(range(8)) - {lane}:
        assert wild[number].status == Status.COMPLETED
        assert same_bits((wild[number].params, wild[number].losses), (calm[number].params, calm[number].losses))


def test_lanes_are_refilled_and_budgets_differ(small: Config, corpus: Corpus) -> None:
    budgets = [20, 60, 30, 20, 45, 20, 60]
    ended, evaluated = trained(grid(small, {"train.steps": budgets}), corpus, Plan(1, 2, 2))
    assert [ended[i].steps for i in range(7)] == budgets
    for number, budget in enumerate(budgets):
        steps = [event.step for event in evaluated if event.trial == number]
        assert steps == [*range(20, budget, 20), budget]


def test_early_stopping_stops_and_keeps_the_best(small: Config, corpus: Corpus) -> None:
    base = override(small, {"train.steps": 2000, "train.eval_every": 20, "optimizer.learning_rate": 0.03})
    ended, evaluated = trained(grid(base, {"train.patience": [3, 0]}), corpus)
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


def test_interrupted_and_resumed_gives_the_same_bits(sweep: Sweep, corpus: Corpus) -> None:
    splits = split(corpus, "rows", 42, 3)
    (group,) = groups(sweep, lambda config: optimizers.lower(config, len(splits.train.targets)))
    task, data, plan = next_character(len(corpus.vocabulary)), programs.prepare(Splits(*splits)), Plan(2, 4, 2)
    whole = {e.trial: e for e in engine.train(task, data, group, plan) if isinstance(e, Ended)}
    parts: dict[int, Ended] = {}
    position = None
    for _ in range(100):
        for event in engine.train(task, data, group, plan, 0, position):
            if isinstance(event, Ended):
                parts[event.trial] = event
            if isinstance(event, SegmentDone):
                position = dataclasses.replace(event.position, state=jax.device_get(event.position.state))
                break  # after every single segment
        else:
            break
    assert sorted(parts) == sorted(whole)
    for number, end in whole.items():
        assert same_bits((end.params, end.stats, end.losses), (parts[number].params, parts[number].stats, parts[number].losses))


def test_a_segment_is_no_longer_than_the_longest_budget(small: Config) -> None:
    base = override(small, {"train.eval_every": 500})
    (group,) = groups(grid(base, {"train.steps": [30, 70]}), lambda config: optimizers.lower(config, 1000))
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
        return {"loss": jnp.ones(rows.shape[0])}

    return Functions(init, loss, score)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_trial_ends_at_its_last_finite_state(wrong: str) -> None:
    """Whatever step it happens at, in a stride, at its edges, in the first or the last step: the count says which."""
    budget, every = 150, 70
    last = [0, 1, 2, 31, 34, 35, 36, 63, 64, 69, 70, 71, 105, 139, 140, 148, 149, 150, 1000]
    base = override(
        Config(), {"optimizer.name": "sgd", "optimizer.learning_rate": 1.0, "train.steps": budget, "train.eval_every": every}
    )
    (group,) = groups(grid(base, {"seed": last}), lambda config: optimizers.lower(config, 100))
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


def test_a_timed_plan_is_a_plan_that_trains(sweep: Sweep, corpus: Corpus) -> None:
    splits = split(corpus, "rows", 42, 3)
    (group,) = groups(sweep, lambda config: optimizers.lower(config, len(splits.train.targets)))
    task, data, plan = next_character(len(corpus.vocabulary)), programs.prepare(Splits(*splits)), Plan(2, 4, 2)
    taken = timing.seconds(task, data, group, plan)
    assert 0 <= taken < 1
    segment = programs.programs(task, plan).segment
    compiled = segment._cache_size()  # pyright: ignore[reportFunctionMemberAccess]  (JAX's own count)
    list(engine.train(task, data, group, plan))
    assert segment._cache_size() == compiled  # pyright: ignore[reportFunctionMemberAccess]
