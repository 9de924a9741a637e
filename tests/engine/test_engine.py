"""The pool of lanes: results depend on a trial's config and seed, never on its neighbours, its lane or the order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import pytest
from conftest import same_bits
from pool import trained

from jaxgen.engine import lanes as engine
from jaxgen.engine import programs
from jaxgen.engine.lanes import Ended, SegmentDone
from jaxgen.engine.plan import Plan
from jaxgen.fields import override
from jaxgen.search.sweep import Sweep, grid, groups, seeds
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus, split
from jaxgen.tasks.names.loss import next_character
from jaxgen.tasks.rows import Splits
from jaxgen.train import optimizers, trial
from jaxgen.train.trial import Status

pytestmark = pytest.mark.usefixtures("compiled_as_shipped")

# Another width or another program may fuse and round otherwise, and 40 steps of training let a last bit grow.
ROUNDING = 2e-5


def assert_close(a: Ended, b: Ended) -> None:
    assert (a.status, a.steps, a.best_step) == (b.status, b.steps, b.best_step)
    for name, loss in a.losses.items():
        np.testing.assert_allclose(loss, b.losses[name], rtol=ROUNDING)


def some(*plans: Plan, later: list[Plan]) -> list[Any]:
    """Each plan compiles for seconds: these always, those by --long."""
    return [pytest.param(plan, marks=[pytest.mark.long] * (plan in later), id=str(plan)) for plan in (*plans, *later)]


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


@pytest.mark.parametrize("plan", some(later=[Plan(1, 1, 1), Plan(2, 16, 4), Plan(1, 2, 2), Plan(2, 4, 2), Plan(1, 5, 5)]))
def test_width_and_devices_change_nothing_but_rounding(
    plan: Plan, sweep: Sweep, corpus: Corpus, together: dict[int, Ended]
) -> None:
    for number, end in trained(sweep, corpus, plan)[0].items():
        assert_close(end, together[number])


@pytest.mark.parametrize("plan", some(Plan(2, 18, 3), later=[Plan(1, 3, 3), Plan(2, 6, 3)]))
def test_plans_of_one_chunk_give_the_same_bits(plan: Plan, sweep: Sweep, corpus: Corpus, together: dict[int, Ended]) -> None:
    """Other widths and devices, the same lanes at once: on a CPU what a chunk computes is bit by bit the same."""
    for number, end in trained(sweep, corpus, plan)[0].items():
        other = together[number]
        assert same_bits((end.params, end.stats, end.losses), (other.params, other.stats, other.losses))


def test_packing_changes_no_bit(sweep: Sweep, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second trial ends early, the others move together; as if they had stayed."""
    budgets = [20, 80] * 6
    points = tuple({**point, "train.steps": steps} for point, steps in zip(sweep.points, budgets, strict=True))
    orders, packed = [], engine.packed

    def noted(lanes: Sequence[int | None], plan: Plan) -> list[int] | None:
        orders.append(packed(lanes, plan))
        return orders[-1]

    monkeypatch.setattr(engine, "packed", noted)
    moved, _ = trained(Sweep(sweep.base, points), corpus, Plan(2, 12, 3))
    assert sum(order is not None for order in orders) == 1
    monkeypatch.setattr(engine, "packed", lambda lanes, plan: None)
    stayed, _ = trained(Sweep(sweep.base, points), corpus, Plan(2, 12, 3))
    for number, end in moved.items():
        assert end.steps == budgets[number]
        other = stayed[number]
        assert same_bits((end.params, end.stats, end.losses), (other.params, other.stats, other.losses))


@pytest.mark.long
def test_order_changes_nothing_but_rounding(sweep: Sweep, corpus: Corpus, together: dict[int, Ended]) -> None:
    order = np.random.default_rng(0).permutation(len(sweep))
    shuffled = trained(Sweep(sweep.base, tuple(sweep.points[i] for i in order)), corpus, Plan(2, 4, 2))[0]
    for place, number in enumerate(order):
        assert_close(shuffled[place], together[int(number)])


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(0, marks=pytest.mark.long),
        pytest.param(5, marks=pytest.mark.long),
        pytest.param(10, marks=pytest.mark.long),
    ],
)
def test_a_trial_alone_is_the_same_trial(number: int, sweep: Sweep, corpus: Corpus, together: dict[int, Ended]) -> None:
    """Of each optimizer one. Always looked at: the promise `lanes` of every task."""
    assert_close(trained(Sweep(sweep.base, (sweep.points[number],)), corpus)[0][0], together[number])


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


@pytest.mark.long  # as runs do, which are interrupted in every task's tests
def test_interrupted_and_resumed_gives_the_same_bits(sweep: Sweep, corpus: Corpus) -> None:
    splits = split(corpus, "rows", 42, 3)
    (group,) = groups(sweep, lambda config: len(splits.train.targets))
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
