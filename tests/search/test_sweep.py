from __future__ import annotations

import math
from collections.abc import Callable

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxgen.config import OPTIMIZERS
from jaxgen.fields import UserError, override
from jaxgen.search.sweep import TABLE, Group, Sweep, Uniform, grid, groups, random, read_axis, read_random, seeds, zipped
from jaxgen.tasks.names.config import Config


def test_grid_is_every_combination_in_order() -> None:
    sweep = grid(Config(), {"optimizer.name": ["momentum", "adam"], "optimizer.learning_rate": [1e-3, 1e-2], "seed": range(2)})
    found = [(c.optimizer.name, c.optimizer.learning_rate, c.seed) for c in sweep]
    assert found == [(n, r, s) for n in ("momentum", "adam") for r in (1e-3, 1e-2) for s in (0, 1)]
    assert sweep.keys == ("optimizer.name", "optimizer.learning_rate", "seed")


@pytest.mark.parametrize("bad", [{"seed": 9, "optimizer.learning_rate": -1.0}, {"model.hidden": 0}, {"optimizer.b1": 0.9}])
def test_a_value_that_is_not_allowed_is_found_in_any_point(bad: dict[str, float]) -> None:
    """Whether others vary the same keys or not; the last one by the config as a whole."""
    good = [{"seed": i, "optimizer.learning_rate": 0.1} for i in range(3)]
    with pytest.raises(UserError, match=r"learning_rate is -1|hidden is 0|no such coefficient"):
        list(Sweep(override(Config(), {"optimizer.name": "sgd"}), (*good, bad, *good)))


def test_a_base_that_is_not_allowed_is_found_where_a_point_has_it() -> None:
    base = override(Config(), {"optimizer.learning_rate": -1.0})
    assert len([*Sweep(base, ({"optimizer.learning_rate": 0.1},))]) == 1
    with pytest.raises(UserError, match="learning_rate is -1"):
        list(Sweep(base, ({"optimizer.learning_rate": 0.1}, {"seed": 1})))


def test_zip_seeds_and_sum() -> None:
    base = override(Config(), {"seed": 5})
    pairs = zipped(base, {"optimizer.name": ["sgd", "adam"], "optimizer.learning_rate": [0.1, 0.001]})
    found = [(c.optimizer.name, c.optimizer.learning_rate, c.seed) for c in seeds(pairs, 2)]
    assert found == [("sgd", 0.1, 5), ("sgd", 0.1, 6), ("adam", 0.001, 5), ("adam", 0.001, 6)]
    assert len(pairs + seeds(base, 3)) == 5
    with pytest.raises(UserError, match=r"2 for optimizer\.name, 1 for seed"):
        zipped(base, {"optimizer.name": ["sgd", "adam"], "seed": [1]})
    with pytest.raises(UserError, match="different base"):
        pairs + Sweep(Config())  # pyright: ignore[reportUnusedExpression]


def test_an_empty_axis_is_a_sweep_of_none() -> None:
    assert len(grid(Config(), {"seed": []})) == 0
    assert len(seeds(Config(), 0)) == 0


HUGE = "9" * 400


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: grid(Config(), {"seed": range(10**9)}), "would have 1000000000 trials, expected 1,000,000 at most"),
        (lambda: grid(Config(), {f"model.{k}": range(1, 1001) for k in ("hidden", "depth", "embedding")}), "1000000000 trials"),
        (lambda: grid(grid(Config(), {"seed": range(1001)}), {"model.hidden": range(1, 1001)}), "would have 1001000 trials"),
        (lambda: seeds(Config(), 10**12), "would have 1000000000000 trials"),
        (lambda: random(Config(), {"seed": Uniform(1, 9)}, 10**9), "would have 1000000000 trials"),
        (
            lambda: read_random(f"seed=1:{HUGE}", Config),
            r"an end of 'seed=1:9+\.\.\. \(409 characters\) is a number of many digits",
        ),
        (lambda: read_random("seed=-1:5", Config), "an end of 'seed=-1:5' is -1, expected a value in"),
        (lambda: read_random(f"optimizer.learning_rate=1e-3:1e{HUGE}", Config), "an end of .* is inf"),
        (lambda: read_axis(f"seed={HUGE}{HUGE * 11}", Config), "seed is '9+... .4,802 characters., expected a whole number"),
        (
            lambda: override(Config(), {"optimizer.learning_rate": int(HUGE)}),
            "_rate is a number of many digits, expected",
        ),
        (lambda: list(grid(Config(), {"seed": [int(HUGE)]})), "seed is a number of many digits, expected"),
        (lambda: read_axis("x" * 10**6, Config), r"'x+\.\.\. \(1,000,002 characters\) is no axis"),
        (lambda: read_axis("y" * 10**6 + "=1", Config), "there is no config key 'y+... .1,000,002 characters."),
    ],
)
def test_amounts_beyond_reason_are_said_in_a_line_at_once(make: Callable[[], object], says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        make()
    assert len(str(error.value)) < 2000  # all keys may stand in it


@given(st.floats(1e-6, 1e3), st.floats(1.0, 1e4), st.booleans(), st.integers(0, 100))
def test_random_stays_between_its_ends_and_repeats(low: float, factor: float, log: bool, seed: int) -> None:
    axis = Uniform(low, low * factor, log)
    draw = [c.optimizer.learning_rate for c in random(Config(), {"optimizer.learning_rate": axis}, 5, seed)]
    assert all(rate is not None and axis.low <= rate <= axis.high for rate in draw)
    assert draw == [c.optimizer.learning_rate for c in random(Config(), {"optimizer.learning_rate": axis}, 5, seed)]


def test_random_has_the_quartiles_of_its_distribution() -> None:
    for log, quartiles in ((False, (0.25075, 0.5005, 0.75025)), (True, (10**-2.25, 10**-1.5, 10**-0.75))):
        sweep = random(Config(), {"regularizer.l2": Uniform(1e-3, 1.0, log)}, 4000)
        drawn = sorted(c.regularizer.l2 for c in sweep)
        for share, wanted in zip((0.25, 0.5, 0.75), quartiles, strict=True):
            below = sum(x < wanted for x in drawn) / len(drawn)
            assert abs(below - share) < 4 * math.sqrt(share * (1 - share) / len(drawn))  # four standard errors


def test_a_random_axis_may_be_a_list() -> None:
    """Each value as often as the others (chi-squared at 2 degrees of freedom), and one drawn by itself as beside others."""
    axes = {"optimizer.name": ["sgd", "adam", "adamw"], "model.hidden": Uniform(1, 4), "optimizer.b1": iter([None, 0.5])}
    sweep = random(Config(), axes, 3000)
    drawn = [point["optimizer.name"] for point in sweep.points]
    assert sum((drawn.count(name) - 1000) ** 2 / 1000 for name in axes["optimizer.name"]) < 13.8  # the 0.999 quantile
    assert {point["optimizer.b1"] for point in sweep.points} == {None, 0.5}
    assert len(random(Config(), {"optimizer.name": ["sgd"]})) == 20


@pytest.mark.parametrize("make", [lambda axes: random(Config(), axes), lambda axes: grid(Config(), axes)])
@pytest.mark.parametrize("values", ["adam", 3])
def test_an_axis_that_is_no_list_is_refused(make: Callable[[object], object], values: object) -> None:
    with pytest.raises(UserError, match=rf"the values of optimizer\.name are {values!r}, expected a list"):
        make({"optimizer.name": values})


def test_nothing_is_drawn_from_no_values() -> None:
    with pytest.raises(UserError, match=r"optimizer\.name has no values to draw from"):
        random(Config(), {"optimizer.name": []})


def test_whole_numbers_stay_whole() -> None:
    """Each of 1 to 4 as often (chi-squared at 3 degrees of freedom); on a logarithmic scale by their share of it."""
    for log in (False, True):
        drawn = [c.model.hidden for c in random(Config(), {"model.hidden": Uniform(1, 4, log)}, 4000)]
        assert set(drawn) == {1, 2, 3, 4}
        shares = [math.log((n + 0.5) / (n - 0.5)) / math.log(9) if log else 0.25 for n in (1, 2, 3, 4)]
        chi_squared = sum((drawn.count(n) - 4000 * p) ** 2 / (4000 * p) for n, p in zip((1, 2, 3, 4), shares, strict=True))
        assert chi_squared < 16.3  # the 0.999 quantile


def test_a_key_is_varied_once() -> None:
    sweep = grid(Config(), {"model.hidden": [5, 6]})
    with pytest.raises(UserError, match="varied twice"):
        random(sweep, {"model.hidden": Uniform(3, 4)}, 2)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("model.hidden=50,100", ("model.hidden", [50, 100])),
        ("optimizer.name=sgd,optax.lion", ("optimizer.name", ["sgd", "optax.lion"])),
        ("optimizer.learning_rate=1e-3,None", ("optimizer.learning_rate", [1e-3, None])),
        ("model.residual=True,False", ("model.residual", [True, False])),
    ],
)
def test_read_axis(text: str, wanted: object) -> None:
    assert read_axis(text, Config) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "model.hidden",
        "model.hidden=",
        "=3",
        "hidden=3",
        "model.hidden=3,x",
        "model.hidden=3,,4",
        "seed=1,1",
        "model.residual=1",
    ],
)
def test_read_axis_refuses(text: str) -> None:
    with pytest.raises(UserError):
        read_axis(text, Config)


def test_read_random() -> None:
    assert read_random("optimizer.learning_rate=1e-4:1e-1:log", Config) == (
        "optimizer.learning_rate",
        Uniform(1e-4, 1e-1, True),
    )
    assert read_random("model.hidden=10:20", Config) == ("model.hidden", Uniform(10, 20))
    assert read_random("optimizer.name=sgd,Adam", Config) == ("optimizer.name", ["sgd", "adam"])
    assert read_random("optimizer.learning_rate=0.1,1e-2", Config) == ("optimizer.learning_rate", [0.1, 0.01])


@pytest.mark.parametrize("rest", ["", "1", "1:", "2:1", "0:1:log", "1:2:exp", "a:b", "nan:1", "0:inf", "None:None"])
def test_read_random_refuses(rest: str) -> None:
    with pytest.raises(UserError):
        read_random(f"optimizer.learning_rate={rest}", Config)


@pytest.mark.parametrize(("key", "ends"), [("model.residual", "False:True"), ("optimizer.name", "sgd:adam")])
def test_a_range_of_what_is_no_number_is_refused(key: str, ends: str) -> None:
    with pytest.raises(UserError, match=f"no range, .* draw from: {key}={ends.replace(':', ',')}"):
        read_random(f"{key}={ends}", Config)


def test_values_are_checked_when_the_sweep_is_read() -> None:
    with pytest.raises(UserError, match="learning_rate"):
        list(grid(Config(), {"optimizer.learning_rate": [0.1, -0.1]}))


def grouped(sweep: Sweep) -> list[Group]:
    return groups(sweep, lambda config: 1000)


def test_groups_are_tree_structures() -> None:
    sweep = grid(Config(), {"model.hidden": [10, 20], "optimizer.name": list(OPTIMIZERS), "seed": range(2)})
    found = grouped(sweep)
    assert [group.trials for group in found] == [tuple(range(14)), tuple(range(14, 28))]
    for group in found:
        assert len({jax.tree.structure(config) for config in map(group.lowered, group.trials)}) == 1


def test_a_strength_of_zero_everywhere_leaves_the_program() -> None:
    off = grouped(seeds(Config(), 2))[0].static
    assert off.regularizer.dropout is None
    assert off.regularizer.l2 is None
    assert off.optimizer.clip_norm is None
    mixed = grouped(grid(Config(), {"regularizer.dropout": [0.0, 0.5]}))
    assert len(mixed) == 1
    assert [config.regularizer.dropout for config in map(mixed[0].lowered, (0, 1))] == [0.0, 0.5]


def test_step_budgets_share_a_program_and_its_memory() -> None:
    """Whatever they are: of so many steps that a rate for each would take 0.4 GB, too."""
    budgets = [10, 30, 100_000_000]
    (group,) = grouped(grid(Config(), {"train.steps": budgets, "optimizer.schedule": ["constant", "cosine"]}))
    (few,) = grouped(grid(Config(), {"train.steps": [1000]}))
    shapes = {jax.tree.map(np.shape, config.optimizer.learning_rate) for config in map(group.lowered, group.trials)}
    assert shapes == {(TABLE,)} == {np.shape(few.static.optimizer.learning_rate)}


KEYS = st.sampled_from(["optimizer.learning_rate", "model.hidden", "optimizer.name", "data.column", "seed", "nothing", ""])
VALUES = st.text(st.sampled_from("0123456789.,:=-+e_ nanifNoTru\n\0log"), max_size=20)


@pytest.mark.parametrize("read", [read_axis, read_random])
@given(text=st.text(max_size=30) | st.builds("{}={}".format, KEYS, VALUES))
def test_any_text_is_an_axis_or_refused(read: Callable[[str, type], tuple[str, object]], text: str) -> None:
    try:
        key, _ = read(text, Config)
    except UserError:
        return
    assert text.startswith(f"{key}=")
