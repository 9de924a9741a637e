"""What arms are called: short, told apart, the same while a run goes on."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxgen
from jaxgen.commands.ablations import ablations
from jaxgen.fields import override
from jaxgen.judge.naming import PLAIN, arm_names, commonest, named
from jaxgen.judge.results import Results
from jaxgen.search.sweep import Question, Sweep
from jaxgen.tasks import TASKS, find
from jaxgen.tasks.names.config import Config

KEYS = ("model.depth", "model.normalization", "model.residual", "optimizer.clip_norm")
KINDS = (("none", False, 0.0), ("none", False, 1.0), ("none", True, 0.0), ("batchnorm", False, 0.0))
LAYERS: list[dict[str, Any]] = [dict(zip(KEYS, (depth, *kind), strict=True)) for depth in (1, 6, 20) for kind in KINDS]
NAMED = [(task, name) for task in TASKS for name, one in ablations(task).items()]
SHORT = 42  # characters, of which a label has two lines


def points(*columns: Any) -> list[dict[str, Any]]:
    return [
        {f"model.{name}": value for name, value in zip("abcdefgh", row, strict=False)} for row in zip(*columns, strict=True)
    ]


def test_a_name_says_in_what_an_arm_differs_from_most() -> None:
    assert named(LAYERS)[:5] == ["depth 1", "depth 1, clip norm 1", "depth 1, residual", "depth 1, batchnorm", "depth 6"]
    assert commonest(LAYERS) == {"model.normalization": "none", "model.residual": False, "optimizer.clip_norm": 0.0}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        ([{}], ["the trial"]),
        (points("xyx"), ["x", "y", "x"]),  # which no arms are: nothing tells them apart, and they stay as they are
        (points(["none", "x", "none", "none"]), ["no a", "x", "no a", "no a"]),
        (points([0.1234567, 0.2345678]), ["a 0.123", "a 0.235"]),
        (points([0.1234567, 0.1234]), ["a 0.123", "a 0.1234"]),
        (points([0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 2, 0]), ["a 0, b 0, c 0", "b 1", "c 2", "a 1"]),
        (points(["none"] * 4, [False, False, False, True], [0, 1, 2, 0]), ["c 0", "c 1", "c 2", "b, c 0"]),
    ],
)
def test_names(given: list[dict[str, Any]], expected: list[str]) -> None:
    if len({tuple(point.items()) for point in given}) == len(given):
        assert named(given) == expected


def test_an_arm_that_has_nothing_of_its_own_is_plain() -> None:
    kinds: list[dict[str, Any]] = [dict(zip(KEYS[1:], kind, strict=True)) for kind in KINDS]
    assert named(kinds) == [PLAIN, "clip norm 1", "residual", "batchnorm"]
    assert named(kinds, {"plain": "bare", "nobody": "x"})[0] == "bare"
    assert named(kinds, {"plain": "residual"})[0] == PLAIN  # which would be two


values = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=False), st.text(max_size=3))
rows = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.tuples(*[values] * width), min_size=1, max_size=8, unique_by=lambda row: tuple(map(repr, row)))
)


@given(rows)
def test_no_two_names_are_alike(rows: list[tuple[Any, ...]]) -> None:
    found = points(*zip(*rows, strict=True))
    names = named(found)
    for (a, one), (b, other) in itertools.combinations(zip(names, found, strict=True), 2):
        assert a != b or one == other or list(map(repr, one.values())) == list(map(repr, other.values()))
    assert all(name.isprintable() for name in names)


def test_names_are_the_same_however_much_has_ended() -> None:
    sweep = jaxgen.seeds(Sweep(Config(), tuple(LAYERS)), 2)
    none = Results(sweep, question=Question(arms=KEYS))
    assert list(arm_names(none).of.values()) == named(LAYERS)
    assert arm_names(none)({**LAYERS[3], "optimizer.learning_rate": 0.1}) == "depth 1, batchnorm"
    assert (
        arm_names(none)({"model.depth": 7}) == "depth 7, default normalization, default residual, default clip norm"
    )  # no arm


@pytest.mark.parametrize(("task", "name"), NAMED)
def test_arms_of_an_ablation_have_short_names(task: str, name: str) -> None:
    ablation = ablations(task)[name]
    question, sweep = ablation.QUESTION, ablation.sweep(override(find(task).Config(), ablation.SETTINGS))
    found = arm_names(Results(sweep, question=question))
    assert max(map(len, found.of.values())) <= SHORT
    known = dict(zip(found.of, named([dict(zip(found.keys, values, strict=True)) for values in found.of]), strict=True))
    assert set(question.names) <= set(known.values())  # a name that is given is of an arm that there is
    assert [found.of[values] for values in known] == [question.names.get(own, own) for own in known.values()]


def test_of_many_numbers_those_that_agree_in_three_digits_have_more() -> None:
    rates = [0.0123, 0.01234, 0.04643908656, 0.0464390866]
    points = [{"optimizer.learning_rate": rate, "regularizer.l2": 0.1 * place} for place, rate in enumerate([*rates, 0.5])]
    one = [{**point, "regularizer.l2": 0.1} for point in points]
    assert named(points)[0] == "learning rate 0.0123, l2 0"
    assert named(one) == [
        "learning rate 0.0123, l2 0.1",
        "learning rate 0.01234, l2 0.1",
        *(f"optimizer.learning_rate {rate}, regularizer.l2 0.1" for rate in rates[2:]),
        "learning rate 0.5, l2 0.1",
    ]
