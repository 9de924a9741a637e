"""A task of two players, in a file of its own: by its own gradients and at a pace for each, it trains as any other does."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from conftest import same_bits

import jaxgen
from jaxgen import runs
from jaxgen.judge.results import Results
from jaxgen.runs import Interrupted
from jaxgen.tasks import find
from jaxgen.tasks.base import Task
from jaxgen.testing import PROMISES, check
from jaxgen.train.trial import Stream, stream

pytestmark = pytest.mark.usefixtures("compiled_quickly")

FILE = '''
"""A generator of numbers moves and stretches noise; a critic tells its means of x and x^2 from those of the rows."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen


@dataclass(frozen=True)
class Model:
    critic_rate: float = 1.0
    every: jaxgen.Leaf[int] = 1
    """The generator moves in every so manieth step."""


class Players(jaxgen.Task):
    name, Model = "players", Model
    metrics = (jaxgen.Metric("gap"),)

    def splits(self, data):
        return np.random.default_rng(0).normal(1.0, 0.5, 1000)

    def init(self, config, key):
        start = {"shift": 0.1 * jax.random.normal(key), "stretch": jnp.ones(())}
        return {"critic": {"w": jnp.zeros(2)}, "generator": start}, {}

    def fake(self, generator, key, count):
        return generator["shift"] + generator["stretch"] * jax.random.normal(key, (count,))

    def gradients(self, config, params, stats, real, key, step):
        def says(critic, generator):
            x = self.fake(generator, key, len(real))
            apart = jnp.stack([real.mean() - x.mean(), (real**2).mean() - (x**2).mean()])
            return critic["w"] @ apart - (critic["w"] ** 2).sum() / 2

        gain, up = jax.value_and_grad(says)(params["critic"], params["generator"])
        down = jax.grad(says, argnums=1)(params["critic"], params["generator"])
        return gain[None], {"critic": jax.tree.map(jnp.negative, up), "generator": down}, stats

    def pace(self, config, step):
        every = config.model.every
        return {"critic": config.model.critic_rate, "generator": (step % every == every - 1) * 1.0}

    def evaluate(self, config, params, stats, real, key):
        x = self.fake(params["generator"], key, 1000)
        return {"gap": (real.mean() - x.mean()) ** 2 + (real.std() - x.std()) ** 2}


task = Players()
'''

AXES: dict[str, Any] = {"seed": range(4), "model.every": [1, 1, 3, 1000]}
PLAN: dict[str, Any] = {"width": 4, "chunk": 2, "devices": 2}
NARROW: dict[str, Any] = {"width": 2, "chunk": 2, "devices": 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("file") / "players.py"
    path.write_text(FILE, encoding="utf-8")
    return f"{path}:task"


@pytest.fixture(scope="module")
def task(place: str) -> Task:
    return find(place)


def base(task: Task) -> Any:
    how = {"optimizer__name": "sgd", "optimizer__learning_rate": 0.05}
    return task.config(train__steps=400, train__eval_every=100, train__batch_size=64, **how)


@pytest.fixture(scope="module")
def calm(task: Task) -> Results:
    """Four trials, of which the last one's generator never moves."""
    return runs.run(jaxgen.zipped(base(task), AXES), task, **PLAN)


def state(results: Results, trial: int) -> Any:
    trained = results.trained(trial)
    return trained.params, trained.stats


def test_both_players_move_and_the_gap_closes(task: Task, calm: Results) -> None:
    assert calm.programs == 1
    for trial in range(3):
        start = task.functions().init(None, stream(trial, Stream.START))[0]
        params = calm.trained(trial).params
        assert np.abs(params["critic"]["w"]).min() > 0
        assert params["generator"]["shift"] != start["generator"]["shift"]
        gaps = [curve.metrics["val_gap"] for curve in calm.curves if curve.trial == trial]
        assert gaps[-1] < 0.02
    assert all(curve.metrics["val_gap"] > 0.5 for curve in calm.curves if curve.trial == 3)


def test_a_player_whose_pace_is_0_rests_to_the_bit(task: Task, calm: Results) -> None:
    start = task.functions().init(None, stream(3, Stream.START))[0]
    found = calm.trained(3).params
    assert same_bits(found["generator"], start["generator"])
    assert not same_bits(found["critic"], start["critic"])


@pytest.mark.parametrize("lane", [0, 3])
def test_a_lane_that_diverges_does_so_alone(lane: int, task: Task, calm: Results) -> None:
    rates = [1e30 if number == lane else 1.0 for number in range(4)]
    wild = runs.run(jaxgen.zipped(base(task), {**AXES, "model.critic_rate": rates}), task, **PLAN)
    rows, others = ({row.trial: row for row in results.rows} for results in (wild, calm))
    assert rows[lane].status == "diverged"
    assert rows[lane].steps < 400
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state(wild, lane)))
    for trial in {0, 1, 2, 3} - {lane}:
        assert rows[trial].status == "completed"
        assert same_bits((rows[trial].metrics, state(wild, trial)), (others[trial].metrics, state(calm, trial)))


def test_an_interrupted_run_resumes_to_the_same_bytes(place: str, task: Task, tmp_path: Path) -> None:
    """Two lanes for four trials: the rest of them wait as the run is stopped. It goes on with the file imported anew."""
    segments = itertools.count(1)
    sweep = jaxgen.zipped(base(task), AXES)
    with pytest.raises(Interrupted):
        runs.run(sweep, task, tmp_path / "run", stop=lambda: next(segments) == 3, **NARROW)
    again = find(place)
    assert again is not task
    runs.run(jaxgen.zipped(base(again), AXES), again, tmp_path / "run", resume=True, **NARROW)
    runs.run(sweep, task, tmp_path / "whole", **NARROW)
    for name in ("results.csv", "metrics.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    resumed, whole = (jaxgen.load_results(tmp_path / name, task=task) for name in ("run", "whole"))
    for trial in range(4):
        assert same_bits(state(resumed, trial), state(whole, trial))
    with pytest.raises(jaxgen.UserError, match=r"the task 'players' is one of your own; give it with --task .*players.py:task"):
        jaxgen.load_results(tmp_path / "run")


def test_it_keeps_the_promises(task: Task) -> None:
    asked = [name for name in PROMISES if name != "resume"]  # of which there is a test above
    assert "of `evaluate` nothing is asked" in str(check(task, base(task), promises=asked))
