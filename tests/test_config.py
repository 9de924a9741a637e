from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from annotated_types import Interval
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from jaxgen import config as configs
from jaxgen import fields
from jaxgen.config import resolve, validate
from jaxgen.fields import Leaf, Share, Static, Strength, UserError, flatten, keys, override, parse
from jaxgen.near import near
from jaxgen.tasks.names import config as of_names
from jaxgen.tasks.names import models
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.models import layers
from jaxgen.train import optimizers


def test_registries_hold_what_the_config_names() -> None:
    assert tuple(models.FAMILIES) == of_names.FAMILIES
    assert tuple(layers.ACTIVATIONS) == of_names.ACTIVATIONS
    assert tuple(layers.INITIALIZATIONS) == of_names.INITIALIZATIONS
    assert tuple(optimizers.SCHEDULES) == configs.SCHEDULES
    assert tuple(optimizers.RULES) == tuple(configs.OPTIMIZERS)


def test_flatten_and_override_are_inverse() -> None:
    changed = override(Config(), {"optimizer.learning_rate": 0.5, "model.hidden": 7, "data.column": "name", "seed": 3})
    assert override(Config(), flatten(changed)) == changed
    assert changed.model.hidden == 7
    assert changed != Config()


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**40), 2**40))
def test_parse_reads_what_repr_writes(number: float, whole: int) -> None:
    assert parse("optimizer.learning_rate", repr(number), Config) == number
    assert parse("train.steps", str(whole), Config) == whole
    assert parse("optimizer.learning_rate", "None", Config) is None


@pytest.mark.parametrize("key", [key for key, part in keys(Config).items() if part.kinds == (bool,)])
def test_yes_or_no(key: str) -> None:
    assert [parse(key, text, Config) for text in ("True", "False")] == [True, False]
    for value in (True, False):
        assert flatten(validate(override(Config(), {key: value})))[key] is value
    assert [parse(key, text, Config) for text in ("true", "FALSE")] == [True, False]
    for wrong in ("yes", "1", ""):
        with pytest.raises(UserError, match="expected True or False"):
            parse(key, wrong, Config)
    for other in (1, 0.0, "True", None):
        with pytest.raises(UserError, match="expected bool"):
            override(Config(), {key: other})


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("optimizer.lr", "1", "optimizer.learning_rate"),
        ("optimiser.learning_rate", "1", r"did you mean optimizer\.learning_rate\?"),
        ("model.xyz", "1", "expected one of model.family, model.context"),
        ("xyz", "1", "expected one of data.path, data.column"),
        ("learning_rate", "1", "optimizer.learning_rate"),
        ("optimizer.learning_rate", "fast", "a number"),
        ("train.steps", "1.5", "a whole number"),
        ("train.steps", "1e400", "a whole number"),
        ("train.steps", "nan", "a whole number"),
    ],
)
def test_parse_says_what_is_expected(key: str, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse(key, text, Config)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("train.steps", "1e4", 10_000),
        ("train.steps", "2.0", 2),
        ("train.steps", "10_000", 10_000),
        ("optimizer.name", "Adam", "adam"),
        ("optimizer.name", "optax.lion", "optax.lion"),
        ("model.family", "LSTM", "lstm"),
        ("model.normalization", "None", "none"),
        ("model.normalization", "BatchNorm", "batchnorm"),
        ("data.column", "None", None),
        ("data.column", "none", "none"),  # the name of a column
        ("data.column", "Name", "Name"),
        ("optimizer.learning_rate", "none", None),
    ],
)
def test_names_are_read_in_any_case_and_whole_numbers_in_any_form(key: str, text: str, value: object) -> None:
    found = parse(key, text, Config)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("key", keys(Config))
def test_a_key_is_found_by_another_case_and_by_a_slip(key: str) -> None:
    """Whatever is registered: the key itself, one without its last letter, and two letters in each other's places."""
    section, _, last = key.rpartition(".")
    dot = f"{section}." if section else ""
    assert near(key.upper().replace("_", "-"), keys(Config)) == [key]
    assert key in near(key, [*keys(Config), "other"])
    if len(last) > 3:
        assert key in near(f"{dot}{last[:-1]}", keys(Config))
        assert key in near(f"{dot}{last[:-2]}{last[-1]}{last[-2]}", keys(Config))


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("lr", "optimizer.learning_rate"),
        ("optimizer.lr", "optimizer.learning_rate"),
        ("optimizer", "optimizer.name"),
        ("Optimiser", "optimizer.name"),
        ("learning-rate", "optimizer.learning_rate"),
        ("steps", "train.steps"),
        ("optimizer.steps", "train.steps"),
        ("epochs", "train.steps"),
        ("dropout", "regularizer.dropout"),
        ("wd", "optimizer.weight_decay"),
        ("data.seed", "data.split_seed"),
        ("model.layers", "model.depth"),
    ],
)
def test_a_half_remembered_key_is_found(name: str, first: str) -> None:
    assert near(name, keys(Config))[0] == first


@given(st.text(max_size=30) | st.text("abc._-", max_size=300))
def test_any_name_is_near_to_three_at_most(name: str) -> None:
    found = near(name, keys(Config))
    assert len(found) <= 3
    assert {*found} <= keys(Config).keys()


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


NUMBERS = {key: part for key, part in keys(Config).items() if {int, float} & {*part.kinds}}


@pytest.mark.parametrize("key", NUMBERS)
def test_every_number_has_the_bounds_of_its_type(key: str) -> None:
    """Its ends are as the type has them, and whatever lies beyond is refused by the key's name."""
    part = NUMBERS[key]
    assert part.low >= 0  # of all of these: a number without a type of its own would reach below
    whole = float not in part.kinds
    low, high = (int(part.low), int(part.high)) if whole else (part.low, part.high)
    assert (part.wrong(low) is None, part.wrong(high) is None) == (part.with_low, part.with_high)
    below, above = (low - 1, high + 1) if whole else (math.nextafter(low, -math.inf), math.nextafter(high, math.inf))
    for value in (below, above, *(() if whole else (math.nan, math.inf, -math.inf))):
        with pytest.raises(UserError, match=rf"{key} is .*, expected a value in"):
            validate(override(Config(), {key: value}))


CHOICES = {key: part for key, part in keys(Config).items() if part.choices}


def test_texts_that_are_free_are_known() -> None:
    texts = {key for key, part in keys(Config).items() if str in part.kinds}
    assert texts - {*CHOICES} == {"data.path", "data.column", "data.source", "optimizer.name"}


@pytest.mark.parametrize("key", CHOICES)
def test_every_choice_is_taken_and_no_other(key: str) -> None:
    part = CHOICES[key]
    assert [parse(key, value, Config) for value in part.choices if part.wrong(value) is None] == [*part.choices]
    with pytest.raises(UserError, match=f"{key} is 'swish', expected one of {', '.join(part.choices)}"):
        validate(override(Config(), {key: "swish"}))


def test_what_is_known_of_a_field_follows_from_its_type() -> None:
    """Of a task's own section: what is a leaf, what it takes, and what is left out of a program."""

    @dataclass(frozen=True)
    class Own:
        scale: float = 1.0
        fixed: Static[float] = 0.5
        layers: Annotated[int, Interval(ge=1)] = 2
        kept: Leaf[int] = 3
        kind: Literal["a", "b"] | None = None
        noise: Strength[Share] = 0.0

    kind = configs.config_of(model=Own)
    found = {key.partition(".")[2]: part for key, part in keys(kind).items() if key.startswith("model.")}
    assert [name for name, part in found.items() if part.leaf] == ["scale", "kept", "noise"]
    assert ("model", "noise") in fields.strengths(kind)
    assert fields.strengths(configs.config_of()) == tuple(s for s in fields.strengths(kind) if s[0] != "model")
    refused = {"scale": math.inf, "layers": 0, "kept": 2**31, "kind": "c", "noise": 1.0, "fixed": "x"}
    said = {
        "scale": "a finite number",
        "layers": "a value in [1, ",
        "kept": "32 bits",
        "kind": "one of a, b",
        "noise": "[0, 1)",
        "fixed": "float",
    }
    assert {name: said[name] in str(found[name].wrong(value)) for name, value in refused.items()} == dict.fromkeys(
        refused, True
    )
    taken = {"scale": -1.0, "layers": 7, "kept": -(2**31), "kind": None, "noise": 0, "fixed": 2}
    assert [found[name].wrong(value) for name, value in taken.items()] == [None] * len(taken)


def test_reading_flags_imports_no_jax() -> None:
    code = (
        "import sys, experiments.sweep, experiments.train, experiments.sample, experiments.report; "
        "print('jax' in sys.modules); "
        "import jaxgen.training, jaxgen.commands.launch; "  # and a run on one machine nothing of those on several
        "print(any(name.split('.')[0] == 'ray' or name.startswith('jaxgen.machines') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 1  # pyright: ignore[reportAttributeAccessIssue]
