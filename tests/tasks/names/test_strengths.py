"""A strength of zero is as good as none, to the bit: alone in its program, and beside trials that use it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import final, same_bits

import jaxgen
from jaxgen import runs
from jaxgen.engine.plan import compiler_options
from jaxgen.engine.programs import begin, column
from jaxgen.fields import override, strengths
from jaxgen.search.sweep import Sweep, groups
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus, split
from jaxgen.tasks.names.loss import next_character
from jaxgen.train import trial
from jaxgen.train.optimizers import Optimizer

pytestmark = pytest.mark.usefixtures("compiled_as_shipped")

KEYS = [".".join(strength) for strength in strengths(Config) if strength[0] != "train"]  # those need another corpus
STRONG = dict.fromkeys(KEYS, 0.3) | {"optimizer.clip_norm": 0.5, "regularizer.l2": 0.01, "regularizer.l1": 0.001}
SHORT = {"optimizer.clip_norm", "regularizer.dropout"}
SOME = [pytest.param(key, marks=[pytest.mark.long] * (key not in SHORT)) for key in KEYS]  # a program each, for seconds
LANES = ["adam", "nesterov", "rmsprop", "adamw"]  # the last one is the one with strengths


def test_every_strength_that_can_be_left_out_is_known() -> None:
    """Of the regularizers all; else what a lowered optimizer may lack."""
    regularizers = [f"regularizer.{part.name}" for part in dataclasses.fields(jaxgen.Config().regularizer)]
    optional = [f"optimizer.{part.name}" for part in dataclasses.fields(Optimizer) if "None" in str(part.type)]
    assert sorted(KEYS) == sorted([*regularizers, *(key for key in optional if key.split(".")[1] not in ("rule", "chain"))])


@pytest.fixture(scope="module")
def plain(small: Config) -> Config:
    return override(small, {"optimizer.name": "sgd"})


Train = Callable[[tuple[str, ...], tuple[str, ...]], list[Any]]


@pytest.fixture(scope="module")
def train(small: Config, corpus: Corpus) -> Train:
    """Trains LANES side by side and gives what becomes of each, of two layers: the only one has the dropout of the first."""
    small = override(small, {"model.depth": 2})
    windows, task = split(corpus, "rows", 42, 3).train, next_character(len(corpus.vocabulary))
    shape = (len(LANES), small.train.steps, small.train.batch_size)
    rows = np.random.default_rng(0).integers(0, len(windows.targets), shape)
    batches = jax.tree.map(lambda x: x[rows], windows)

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def loop(configs: Config, state: trial.TrialState) -> trial.TrialState:
        def step(i: jax.Array, state: trial.TrialState) -> trial.TrialState:
            batch = jax.tree.map(lambda x: jnp.asarray(x)[:, i], batches)
            return jax.vmap(lambda *lane: trial.advance(task, *lane)[0])(configs, state, batch)

        return jax.lax.fori_loop(0, small.train.steps, step, state)

    @functools.cache
    def trained(strong: tuple[str, ...], known: tuple[str, ...]) -> list[Any]:
        """`strong`: what the last lane uses; the others use nothing. `known`: what else the program has to do with."""
        points = [{"seed": lane, "optimizer.name": name, "optimizer.weight_decay": 0.0} for lane, name in enumerate(LANES)]
        points[-1] |= {key: STRONG[key] for key in strong}
        waiting = {key: STRONG[key] for key in known}
        (group,) = groups(Sweep(small, (*points, waiting)), lambda config: len(windows.targets))
        lowered = [jax.tree.map(lambda leaf: column(leaf, 1), group.traced(lane)) for lane in range(len(LANES))]
        configs = jax.tree.map(lambda *leaves: np.concatenate(leaves), *lowered)
        state = jax.device_get(loop(configs, jax.vmap(functools.partial(begin, task))(configs)))
        assert (state.step == small.train.steps).all()
        return [jax.tree.map(lambda x, lane=lane: x[lane], (state.params, state.stats)) for lane in range(len(LANES))]

    return trained


@pytest.mark.parametrize("key", SOME)
def test_beside_a_trial_that_uses_a_strength_others_are_as_without_it(key: str, train: Train) -> None:
    without, beside = train((), ()), train((key,), ())
    assert same_bits(beside[:-1], without[:-1])
    assert not same_bits(beside[-1], without[-1])  # it does act


@pytest.mark.parametrize("key", SOME)
def test_a_strength_acts_the_same_whatever_else_the_program_has_to_do_with(key: str, train: Train) -> None:
    assert same_bits(train((key,), tuple(KEYS)), train((key,), ()))


def test_beside_a_trial_that_uses_every_strength(train: Train) -> None:
    assert same_bits(train(tuple(KEYS), ())[:-1], train((), ())[:-1])


@pytest.mark.long
def test_in_a_whole_run(plain: Config, corpus: Corpus) -> None:
    """A mixed sweep on lanes of two devices: a trial without strengths has the bytes of one where nobody has any."""
    seeds = [{"seed": seed} for seed in range(3)]
    everything = dict.fromkeys(KEYS, 0.0) | {key: STRONG[key] for key in KEYS}
    both = [
        runs.run(Sweep(plain, (*seeds, last)), corpus, width=4, chunk=2) for last in ({"seed": 3}, everything | {"seed": 3})
    ]
    assert [run.programs for run in both] == [1, 1]
    for number in range(3):
        rows = [next(row for row in run.rows if row.trial == number) for run in both]
        assert dataclasses.replace(rows[1], values={}) == dataclasses.replace(rows[0], values={})
        assert same_bits(*(final(run, number) for run in both))


@pytest.mark.long
def test_beside_trials_that_train_on_other_names_first_or_are_frozen(plain: Config, corpus: Corpus) -> None:
    names = ["zoe", "zelda", "quentin", "xerxes"] * 4
    source, points = Corpus(tuple(names), "others.txt", None, ""), ({"seed": 0}, {"seed": 1})
    more = ({"seed": 0, "train.pretrain": 10}, {"seed": 1, "train.freeze": 2})
    others = ({"seed": 2}, {"seed": 3})  # so that as many lanes are computed at once: a chunk of one rounds otherwise
    alone = runs.run(Sweep(plain, (*points, *others)), corpus, width=4, chunk=2)
    beside = runs.run(Sweep(plain, (*points, *more)), corpus, source=source, width=4, chunk=2)

    for number in range(2):
        assert same_bits(final(alone, number), final(beside, number))
        assert not same_bits(final(beside, number)[0], final(beside, number + 2)[0])
