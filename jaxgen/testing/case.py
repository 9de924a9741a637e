"""What promises are looked at on: a task with a config, on its first rows, and the few programs that all of them share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.config import Config, Penalties, validate
from jaxgen.engine import probe
from jaxgen.engine.plan import compiler_options
from jaxgen.engine.programs import Data, begin, column, prepare
from jaxgen.fields import Field, UserError, fields, flatten, keys, override
from jaxgen.job import prepared
from jaxgen.search.sweep import Group, Sweep
from jaxgen.tasks.base import Task
from jaxgen.tasks.rows import Splits, size
from jaxgen.train import trial as trials
from jaxgen.train.functions import Functions, weighed

LANES = 8
STEPS, EVERY = 12, 4
ROWS = 2048  # of each part: as many as curves come from
FEW = 64  # rows that are looked at one by one


class Broken(Exception):
    """What was seen where a promise is broken, and what to do about it."""


@dataclass(frozen=True)
class Case:
    """A task with a config on its first rows, and trials that differ in all that may differ in one program."""

    given: Task
    task: Task  # opened
    config: Config  # of few steps
    functions: Functions
    group: Group  # the config itself, and trials of other seeds and of other leaves of the model
    data: Data
    others: Mapping[str, Any]  # another value for each leaf of the task's own

    def lane(self, number: int) -> Config:
        """What a program is given of a trial."""
        return numbers(self.group.traced(number))

    def text(self, config: Config) -> str:
        """A trial's program as text, traced anew."""
        return probe.text_of(jax.make_jaxpr(lambda c, d: probe.trace(self.functions, c, d))(config, self.data))

    @functools.cached_property
    def begin(self) -> Callable[[Config], Any]:
        """config -> the state before the first step, compiled once for all that look."""
        return program(functools.partial(begin, self.functions))

    def step(self, config: Config, state: Any = None) -> dict[str, Any]:
        """What a step gives from a state, or from the start, by name; on the host."""
        return jax.device_get(self._stepped(config, self.data, self.begin(config) if state is None else state))

    @functools.cached_property
    def _stepped(self) -> Callable[..., dict[str, Any]]:
        return program(functools.partial(stepped, self.functions))

    @functools.cached_property
    def start(self) -> dict[str, Any]:
        """What the config's own trial begins with."""
        return self.step(self.lane(0))

    @functools.cached_property
    def few(self) -> Any:
        """Some rows for an evaluation."""
        return head(self.data.validation, min(FEW, size(self.data.train_part)))

    @functools.cached_property
    def score(self) -> Callable[..., dict[str, tuple[Any, Any]]]:
        """(rows, keys) -> metric -> values and weights of each row, (N, ...), at the start of the config's own trial."""
        assert self.functions.score is not None
        score, lane = self.functions.score, self.lane(0)

        def of(config: Config, params: Any, stats: Any, rows: Any, keys: Any) -> dict[str, tuple[Any, Any]]:
            found = {name: weighed(one) for name, one in score(config, params, stats, rows, keys).items()}
            return {
                name: (one.values, jnp.ones(one.values.shape) if one.weights is None else one.weights)
                for name, one in found.items()
            }

        made = program(of)
        return lambda rows, keys: jax.device_get(made(lane, self.start["params"], self.start["stats"], rows, keys))


def case_of(task: Task, config: Config | None) -> Case:
    """A task as it is looked at.

    Raises:
      UserError: where it cannot be run.
    """
    base = validate(task.config() if config is None else config)
    base = override(base, {"train.steps": STEPS, "train.eval_every": EVERY, "train.patience": 0})
    others = varied(base)
    job = prepared(Sweep(base, points(base, {key: x for key, x in others.items() if key.startswith("model.")})), task)
    group = job.groups[0]
    if not job.task.trains(group.static):
        raise UserError(f"the task {task.name!r} trains nothing of this config; give a config of what it trains")
    found = job.task.reads(group.static).splits
    data = prepare(Splits(*(None if part is None else head(part, ROWS) for part in found)), ROWS)
    data = jax.tree.map(jnp.asarray, data)
    probe.check_given(job.functions)
    return Case(task, job.task, base, job.functions, group, data, others)


def points(config: Config, others: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Trials from the config's own to one with the others' values, at other seeds."""
    flat = flatten(config)
    leaves = [{key: between(flat[key], value, lane) for key, value in others.items()} for lane in range(LANES)]
    return tuple({"seed": (config.seed + lane) % 2**31, **values} for lane, values in enumerate(leaves))


def varied(config: Config) -> dict[str, Any]:
    """Another value, within its bounds, for each leaf of a task's own."""
    found: dict[str, Any] = {}
    shared = {f"regularizer.{part.name}" for part in fields(Penalties)}
    for key in (key for key in probe.leaves_of(type(config)) if key not in shared):
        value, part = flatten(config)[key], keys(type(config))[key]
        other = next((x for x in near(value, part) if _allowed(config, {**found, key: x})), None)
        if other is not None:
            found[key] = other
    return found


def near(value: Any, part: Field) -> Iterator[Any]:
    """Other values that a leaf may have."""
    if value is None:  # which is structure
        return
    whole = float not in part.kinds
    steps = (
        (value + 1, value - 1) if whole else (value * 0.5, value * 1.5, value + 0.1, value - 0.1, (part.low + part.high) / 2)
    )
    yield from (x for x in steps if x != value and part.wrong(x) is None)


def _allowed(config: Config, values: Mapping[str, Any]) -> bool:
    try:
        validate(override(config, values))
    except UserError:
        return False
    return True


def between(one: Any, other: Any, lane: int) -> Any:
    """A lane's value, from one in the first lane to the other in the last."""
    value = one + (other - one) * lane / (LANES - 1)
    return round(value) if isinstance(one, int) and isinstance(other, int) else value


def numbers(config: Config) -> Config:
    """A config's leaves in the types that programs know."""
    return jax.tree.map(lambda leaf: column(leaf, 1)[0], config)


def head(rows: Any, count: int) -> Any:
    """The first rows."""
    return jax.tree.map(lambda x: x[:count], rows)


def program(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function compiled, quickly."""
    return jax.jit(function, compiler_options=compiler_options(rare=True))


SEEN = ("params", "stats", "metrics", "loss", "gradients", "later stats")  # what a task's functions give in a step


def stepped(task: Functions, config: Config, data: Data, state: trials.TrialState) -> dict[str, Any]:
    """A state, its metrics on the first rows, what a step computes, and the state after it."""
    batch = trials.draw(task, data.train, config, state.step, data.source)
    total, loss, grads, stats = trials.descent(task, config, state, batch)
    params, opened = trials.moved(task, config, state, grads)
    return {
        "params": state.params,
        "stats": state.stats,
        "metrics": jax.lax.map(lambda part: trials.evaluate(task, config, state, part), data.curves),
        "loss": loss,
        "objective": total,
        "gradients": grads,
        "later stats": stats,
        "later": state._replace(step=state.step + 1, params=params, stats=stats, optimizer=opened),
    }


def arrays(tree: Any) -> dict[str, np.ndarray]:
    """A tree's arrays by their places, such as params.Dense_0.kernel."""
    found = jax.tree_util.tree_leaves_with_path(jax.device_get(tree))
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(x) for path, x in found}


def other_bits(a: Any, b: Any) -> list[str]:
    """Where two trees do not hold the same bits."""
    one, other = arrays(a), arrays(b)
    return [path for path in one if one[path].tobytes() != other[path].tobytes()]


def wild(found: Mapping[str, Any]) -> list[str]:
    """Where what a task gave is not finite."""
    return [path for path, x in arrays({what: found[what] for what in SEEN}).items() if not np.isfinite(x).all()]


def counted(values: Any, weights: Any) -> np.ndarray:
    """Values where they weigh anything."""
    return np.where(np.broadcast_to(weights, values.shape) != 0, values, 0)


def magnitude(found: Iterable[np.ndarray]) -> float:
    """The largest number in arrays, infinite where one is not finite."""
    return max((float(np.abs(np.nan_to_num(x, nan=np.inf)).max(initial=0)) for x in found), default=0.0)


def off(a: Any, b: Any, largest: float | None = None) -> float:
    """How far two arrays are apart, as a part of the largest number in them, or of `largest`; NaN is like NaN."""
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if not differ.any():
        return 0.0
    largest = magnitude((a, b)) if largest is None else largest
    apart = np.abs(a[differ] - b[differ]).max()
    return float(apart / largest) if np.isfinite(largest) and largest > 0 else float("inf")
