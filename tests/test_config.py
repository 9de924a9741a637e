from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from jaxgen import config as configs
from jaxgen.config import UserError, flatten, override, parse, resolve, validate
from jaxgen.tasks.names import models
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.models import layers
from jaxgen.train import optimizers


def test_registries_hold_what_the_config_names() -> None:
    assert tuple(models.FAMILIES) == configs.FAMILIES
    assert tuple(layers.ACTIVATIONS) == configs.ACTIVATIONS
    assert tuple(layers.INITIALIZATIONS) == configs.INITIALIZATIONS
    assert tuple(optimizers.SCHEDULES) == configs.SCHEDULES
    assert tuple(optimizers.RULES) == tuple(configs.OPTIMIZERS)


def test_flatten_and_override_are_inverse() -> None:
    changed = override(Config(), {"optimizer.learning_rate": 0.5, "model.hidden": 7, "data.column": "name", "seed": 3})
    assert override(Config(), flatten(changed)) == changed
    assert changed.model.hidden == 7
    assert changed != Config()


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**40), 2**40))
def test_parse_reads_what_repr_writes(number: float, whole: int) -> None:
    assert parse("optimizer.learning_rate", repr(number)) == number
    assert parse("train.steps", str(whole)) == whole
    assert parse("optimizer.learning_rate", "None") is None


@pytest.mark.parametrize("key", [key for key, _, kind in configs.items(Config()) if kind == "bool"])
def test_yes_or_no(key: str) -> None:
    assert [parse(key, text) for text in ("True", "False")] == [True, False]
    for value in (True, False):
        assert flatten(validate(override(Config(), {key: value})))[key] is value
    for wrong in ("true", "yes", "1", ""):
        with pytest.raises(UserError, match="expected True or False"):
            parse(key, wrong)
    for other in (1, 0.0, "True", None):
        with pytest.raises(UserError, match="expected bool"):
            override(Config(), {key: other})


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("optimizer.lr", "1", "optimizer.learning_rate"),
        ("optimiser.learning_rate", "1", "one of optimizer.learning_rate"),
        ("learning_rate", "1", "optimizer.learning_rate"),
        ("optimizer.learning_rate", "fast", "a number"),
        ("train.steps", "1.5", "a whole number"),
    ],
)
def test_parse_says_what_is_expected(key: str, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse(key, text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer.learning_rate", -1.0),
        ("optimizer.learning_rate", float("nan")),
        ("optimizer.learning_rate", float("inf")),
        ("optimizer.b1", 1.0),
        ("optimizer.name", "sdg"),
        ("optimizer.schedule", "linear"),
        ("optimizer.momentum", 0.5),  # adam has none
        ("regularizer.dropout", 1.0),
        ("train.steps", 0),
        ("train.batch_size", 0),
        ("model.activation", "swish"),
        ("model.family", "rnn2"),
        ("model.context", 0),
        ("data.split", "random"),
        ("seed", -1),
        ("seed", 2**31),
    ],
)
def test_validate_refuses(key: str, value: object) -> None:
    with pytest.raises(UserError, match=key):
        validate(override(Config(), {key: value}))


@pytest.mark.parametrize(("key", "value"), [("train.steps", 1.5), ("train.steps", True), ("model.init", 3), ("seed", None)])
def test_override_refuses_other_types(key: str, value: object) -> None:
    with pytest.raises(UserError, match="expected"):
        override(Config(), {key: value})


@pytest.mark.parametrize("name", configs.OPTIMIZERS)
def test_resolve_fills_what_the_optimizer_has(name: str) -> None:
    resolved = resolve(override(Config(), {"optimizer.name": name})).optimizer
    for key, value in configs.OPTIMIZERS[name].items():
        assert getattr(resolved, key) == value
    given_rate = resolve(override(Config(), {"optimizer.name": name, "optimizer.learning_rate": 0.125}))
    assert given_rate.optimizer.learning_rate == 0.125
    assert resolve(given_rate) == given_rate


def test_every_bound_and_choice_is_of_a_key() -> None:
    keys = set(flatten(Config()))
    assert set(configs.BOUNDS) | set(configs.CHOICES) <= keys
    numbers = {key for key, _, kind in configs.items(Config()) if "float" in kind or "int" in kind}
    assert numbers == set(configs.BOUNDS)


def test_reading_flags_imports_no_jax() -> None:
    code = (
        "import sys, experiments.sweep, experiments.train, experiments.sample, experiments.report; print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 1  # pyright: ignore[reportAttributeAccessIssue]
