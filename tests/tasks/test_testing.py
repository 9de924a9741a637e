"""The conformance check: every task that comes with the package keeps its promises, and each promise is found broken where a
task breaks just that one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SMALL

import jaxgen
from jaxgen import fields, runs
from jaxgen.tasks import TASKS, find
from jaxgen.testing import PROMISES, check, look

pytestmark = pytest.mark.usefixtures("compiled_quickly")


@dataclass(frozen=True)
class Model:
    scale: float = 1.0


class Line(jaxgen.Task):
    """A straight line through weighed points: the smallest task that keeps all promises."""

    name, Model = "line", Model

    def splits(self, data: Any) -> Any:
        source = np.random.default_rng(self.seed)
        x = source.normal(size=(800, 3))
        return x, x @ [1.0, -2.0, 0.5] + 0.1 * source.normal(size=800), (np.arange(800) % 5 > 0).astype(np.float32)

    seed: int | None = 0

    def init(self, config: Any, key: Any) -> tuple[Any, Any]:
        return {"w": 0.1 * jax.random.normal(key, (3,)), "b": jnp.zeros(())}, {"steps": jnp.zeros((), jnp.int32)}

    def error(self, config: Any, params: Any, rows: Any) -> jax.Array:
        return (config.model.scale * rows[0] @ params["w"] + params["b"] - rows[1]) ** 2

    def loss(self, config: Any, params: Any, stats: Any, rows: Any, key: Any, step: Any) -> tuple[Any, Any]:
        return jaxgen.Weighed(self.error(config, params, rows), rows[2]), {"steps": stats["steps"] + 1}

    def score(self, config: Any, params: Any, stats: Any, rows: Any, keys: Any) -> Mapping[str, Any]:
        return {"loss": (self.error(config, params, rows), rows[2])}


class Changing(Line):
    """Statistics that become floats."""

    def loss(self, config: Any, params: Any, stats: Any, rows: Any, key: Any, step: Any) -> tuple[Any, Any]:
        return super().loss(config, params, stats, rows, key, step)[0], {"steps": stats["steps"] + 0.5}


class Growing(Line):
    """Statistics under a name that was not there."""

    def loss(self, config: Any, params: Any, stats: Any, rows: Any, key: Any, step: Any) -> tuple[Any, Any]:
        found, stats = super().loss(config, params, stats, rows, key, step)
        return found, {**stats, "more": stats["steps"]}


class Branching(Line):
    """A leaf that is asked for its value."""

    def error(self, config: Any, params: Any, rows: Any) -> jax.Array:
        return super().error(config, params, rows) * (2.0 if config.model.scale > 0.5 else 1.0)


class Remade(Line):
    """Functions that are others each time."""

    def functions(self) -> Any:
        return super().functions()._replace(loss=lambda *given: self.loss(*given))


class Impure(Line):
    """A random number that does not come from a key."""

    def error(self, config: Any, params: Any, rows: Any) -> jax.Array:
        return super().error(config, params, rows) * np.float32(np.random.default_rng().uniform(1, 2))


class Infinite(Line):
    """A slope of the root of 0."""

    def loss(self, config: Any, params: Any, stats: Any, rows: Any, key: Any, step: Any) -> tuple[Any, Any]:
        found, stats = super().loss(config, params, stats, rows, key, step)
        return found._replace(penalty=jnp.sqrt(params["b"] ** 2)), stats


@jax.custom_batching.custom_vmap
def centre(x: jax.Array) -> jax.Array:
    return x.mean()


@centre.def_vmap
def _(size: int, batched: Sequence[bool], x: jax.Array) -> tuple[jax.Array, bool]:
    return jnp.full(size, x.mean()), True


class Mixing(Line):
    """What is a batch's own alone, and the mean of all lanes' batches beside others."""

    def loss(self, config: Any, params: Any, stats: Any, rows: Any, key: Any, step: Any) -> tuple[Any, Any]:
        return super().loss(config, params, stats, (rows[0], rows[1] - centre(rows[1]), rows[2]), key, step)


class Crossing(Line):
    """A row's number is that of the row beside it, where both weigh as much, so that means are as they should be."""

    def score(self, config: Any, params: Any, stats: Any, rows: Any, keys: Any) -> Mapping[str, Any]:
        values, weights = super().score(config, params, stats, rows, keys)["loss"]
        there, weigh = (x.reshape(-1, 2)[:, ::-1].reshape(-1) for x in (values, weights))
        return {"loss": (jnp.where(weigh == weights, there, values), weights)}


class Divided(Line):
    """Parts of a mean, which are of the rows that are read at once."""

    def score(self, config: Any, params: Any, stats: Any, rows: Any, keys: Any) -> Mapping[str, Any]:
        values, weights = super().score(config, params, stats, rows, keys)["loss"]
        return {"loss": (values / len(values), weights)}


class Heavy(Line):
    """A whole split's number to which rows add that weigh nothing."""

    metrics = (jaxgen.Metric(), jaxgen.Metric("total"))

    def evaluate(self, config: Any, params: Any, stats: Any, rows: Any, key: Any) -> Mapping[str, Any]:
        return {"total": self.error(config, params, rows).sum()}


class Idle(Line):
    """A parameter that nothing depends on."""

    def init(self, config: Any, key: Any) -> tuple[Any, Any]:
        params, stats = super().init(config, key)
        return {**params, "idle": {"w": jnp.ones(2)}}, stats


class Spread(Line):
    """The spread of a batch, which one row has none of."""

    def loss(self, config: Any, params: Any, stats: Any, rows: Any, key: Any, step: Any) -> tuple[Any, Any]:
        found, stats = super().loss(config, params, stats, rows, key, step)
        return found._replace(values=found.values / (1 + rows[0].std(axis=0, ddof=1).mean())), stats


class Squeezed(Line):
    """An axis that is lost where it is of one row."""

    def loss(self, config: Any, params: Any, stats: Any, rows: Any, key: Any, step: Any) -> tuple[Any, Any]:
        return super().loss(config, params, stats, (rows[0].squeeze() @ jnp.eye(3), *rows[1:]), key, step)[0], {
            "steps": stats["steps"] + rows[0].squeeze().shape[1] // 3
        }


class Unseeded(Line):
    """Rows that are others each time that they are read."""

    seed = None


class Remembering(Line):
    """A count of the steps of a trial that is kept on the host, and begins anew with a trial."""

    def __init__(self) -> None:
        self.steps = 0

    def counted(self, step: Any) -> np.ndarray:
        self.steps = 1 if not np.any(step) else self.steps + 1
        return np.full(np.shape(step), self.steps, np.int32)

    def loss(self, config: Any, params: Any, stats: Any, rows: Any, key: Any, step: Any) -> tuple[Any, Any]:
        found, _ = super().loss(config, params, stats, rows, key, step)
        like = jax.ShapeDtypeStruct((), jnp.int32)
        return found, {"steps": jax.pure_callback(self.counted, like, step, vmap_method="expand_dims")}


BREAKING: Mapping[str, Sequence[type[Line]]] = {
    "stats": (Changing, Growing),
    "leaves": (Branching, Remade),
    "pure": (Impure,),
    "finite": (Infinite,),
    "lanes": (Mixing,),
    "rows": (Crossing,),
    "padding": (Divided, Heavy),
    "gradients": (Idle,),
    "alone": (Spread, Squeezed),
    "resume": (Unseeded, Remembering),
}


def test_the_smallest_task_keeps_all_promises() -> None:
    found = check(Line())
    assert [kept.name for kept in found.promises if kept.holds] == [*PROMISES]


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_that_is_broken_is_found(promise: str, request: pytest.FixtureRequest) -> None:
    for kind in BREAKING[promise]:
        # To look at the last one takes two runs: of tasks that break another one, it is looked at by --long.
        asked = PROMISES if promise == "resume" or request.config.getoption("--long") else [*PROMISES][:-1]
        found = look(kind(), promises=[*asked])
        assert found.broken == (promise,), f"{kind.__name__}\n{found}"
        assert f"\n  {promise}: BROKEN: {PROMISES[promise].text}, but " in str(found)


def test_what_is_broken_is_said_in_a_line_each() -> None:
    with pytest.raises(jaxgen.UserError) as error:
        check(Changing())
    text = "a step turns stats['steps'] from int32[] into float32[]; return what `init` gives"
    assert str(error.value).startswith(f"the task 'line' breaks stats:\n  stats: {PROMISES['stats'].text}, but {text}")
    assert len(str(error.value).splitlines()) == 2


class Unlike(Line):
    """Gradients of some of the parameters."""

    def gradients(self, config: Any, params: Any, stats: Any, rows: Any, key: Any, step: Any) -> tuple[Any, Any, Any]:
        return self.error(config, params, rows), {"w": params["w"]}, stats


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Changing, r"the loss turns stats\['steps'\] from int32\[\] into float32\[\]; keep names, shapes and types"),
        (Growing, r"the loss turns stats\['more'\] from nothing into int32\[\]"),
        (Unlike, r"gradients are not like params: they turn params\['b'\] from float32\[\] into nothing"),
    ],
)
def test_a_run_refuses_a_step_that_changes_what_a_state_is_made_of(kind: type[Line], said: str) -> None:
    with pytest.raises(jaxgen.UserError, match=said):
        runs.run([kind().config()], kind())


class Net(nn.Module):
    width: int = 8
    dropout: float = 0.1

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(self.width)(x))
        return nn.Dense(2)(jaxgen.nn.Dropout(self.dropout)(nn.relu(x), train))


def test_a_network_in_a_call_keeps_them(request: pytest.FixtureRequest) -> None:
    """Short: those promises that a program of a few operations tells of. `--long`: all."""
    x = np.random.default_rng(0).normal(size=(300, 4))
    weights = np.arange(300) % 3 > 0
    task = jaxgen.supervised(Net, (x, (x.sum(1) > 0).astype(int), weights), metrics=("accuracy",))
    quick = ("stats", "pure", "finite", "gradients", "alone")
    found = check(task, promises=[*PROMISES] if request.config.getoption("--long") else quick)
    assert "BatchNorm sees one row" in str(found)


def families() -> list[Any]:
    """Every task of the package with each network that it has; `--long` alone but for that of its defaults."""
    found = []
    for task in TASKS:
        config = find(task).config()
        own = getattr(config.model, "family", None)
        families = fields.keys(type(config))["model.family"].choices if own else (None,)
        trained = [
            family
            for family in families
            if family is None or find(task).trains(fields.override(config, {"model.family": family}))
        ]
        found += [pytest.param(task, family, marks=[pytest.mark.long] * (family != own)) for family in trained]
    return found


@pytest.mark.parametrize(("task", "family"), families())
def test_every_task_keeps_them(task: str, family: str | None, request: pytest.FixtureRequest) -> None:
    """But the last one, to which each room has a test of its own; that one, too, by --long."""
    found = find(task)
    known = fields.keys(found.Config)
    values = {key: value for key, value in SMALL.items() if key in known and known[key].takes(value)}
    values |= {} if family is None else {"model.family": family}
    values |= {"model.context": 4} if "model.context" in known else {}  # a power of two, as wavenet wants it
    asked = [*PROMISES] if request.config.getoption("--long") else [*PROMISES][:-1]
    check(found, fields.override(found.config(), values), promises=asked)


def test_what_is_meant_to_rest_is_said() -> None:
    task = Idle()
    task.untrained = ("idle",)
    assert "but for idle.w, as it says" in str(check(task, promises=["gradients"]))


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(jaxgen.UserError, match="there is no promise 'kept'; expected one of stats, "):
        check(Line(), promises=["kept"])
    with pytest.raises(jaxgen.UserError, match="trains nothing"):
        check(find("names"), fields.override(find("names").config(), {"model.family": "ngram"}))


def test_what_cannot_be_traced_says_where() -> None:
    class Misspelt(Line):
        def error(self, config: Any, params: Any, rows: Any) -> jax.Array:
            return params["v"] + super().error(config, params, rows)

    with pytest.raises(jaxgen.UserError, match=r"cannot be traced: KeyError: 'v' at .*test_testing.py"):
        check(Misspelt())
