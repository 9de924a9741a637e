"""The promises that a task makes to the engine. Each is a function that looks at a `Case` and raises `Broken` where it does not
hold; what it calls are the functions that runs are made of.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgen.config import Config
from jaxgen.engine import lanes as engine
from jaxgen.engine import probe
from jaxgen.engine.lanes import Ended, SegmentDone
from jaxgen.engine.plan import Plan, compiler_options
from jaxgen.engine.programs import Data, begin
from jaxgen.fields import UserError, override
from jaxgen.search.sweep import Sweep, groups
from jaxgen.tasks.rows import size
from jaxgen.testing.case import (
    LANES,
    SEEN,
    STEPS,
    Broken,
    Case,
    arrays,
    counted,
    magnitude,
    numbers,
    off,
    other_bits,
    points,
    program,
    stepped,
    wild,
)
from jaxgen.train import trial as trials

ROUNDING = 1e-4  # of the largest of the numbers that are compared


class Promise(NamedTuple):
    """What is promised, and what looks at it: it says what is to be known of it, and raises `Broken`."""

    text: str
    look: Callable[[Case], str]
    first: bool = False  # where it is broken, nothing can be said of those after it


def stats(case: Case) -> str:
    config = case.lane(0)  # in numbers: that they may be traced is another promise

    def step(data: Data) -> tuple[Any, Any]:
        state = begin(case.functions, config)
        batch = trials.draw(case.functions, data.train, config, state.step, data.source)
        return state.stats, trials.descent(case.functions, config, state, batch)[3]

    change = probe.changed(*jax.eval_shape(step, case.data))
    if change is not None:
        raise Broken(
            f"a step turns stats{change}; return what `init` gives, under the same names, in the same shapes and types"
        )
    return ""


def leaves(case: Case) -> str:
    if case.task.functions() != case.task.functions():
        raise Broken("its `functions` gives others each time, and each compiles anew; make them once, of methods or at import")
    sweep = Sweep(case.config, points(case.config, case.others))
    group = groups(sweep, case.task.rows)[0]
    one, other = (numbers(group.traced(lane)) for lane in (0, LANES - 1))
    try:
        with probe.asking(case.functions, numbers(group.traced()), case.data, type(case.config)):
            first = case.text(one)
    except UserError as error:
        if isinstance(error.__cause__, probe.ASKED):
            raise Broken(str(error)) from error
        raise
    if first != case.text(other) and first == case.text(one):  # what is another each time is not pure, and said there
        raise Broken(
            f"another {' or '.join(case.others)} is another program; compute with the config that a function is given, and "
            "with nothing that was taken from it elsewhere"
        )
    return f"one program for every {', '.join(case.others)}" if case.others else "it has none of its own"


def pure(case: Case) -> str:
    own = case.lane(0)
    there = other_bits(case.start, case.step(own))
    if there or case.text(own) != case.text(own):
        what = f"called again, it gives another {there[0]}" if there else "traced again, it is another program"
        raise Broken(f"{what}; draw random numbers from the key that is given, and read nothing that changes")
    return ""


def lanes(case: Case) -> str:
    configs = jax.tree.map(lambda *x: np.stack(x), *(case.lane(number) for number in range(LANES)))

    def all_of(config: Config, data: Data) -> dict[str, Any]:
        return stepped(case.functions, config, data, begin(case.functions, config))

    together = jax.device_get(program(jax.vmap(all_of, in_axes=(0, None)))(configs, case.data))
    for number in range(LANES):
        alone = case.step(case.lane(number))
        beside = jax.tree.map(lambda x, number=number: x[number], together)
        for what in SEEN:  # not what an optimizer makes of it, whose first step divides a gradient by itself
            one, other = arrays(alone[what]), arrays(beside[what])
            largest = magnitude(one.values()) if what == "gradients" else None
            apart = {path: off(x, other[path], largest) for path, x in one.items()}
            worst = max(apart, key=lambda path: apart[path], default="")
            if apart and apart[worst] > ROUNDING:
                raise Broken(
                    f"beside seven others its {'.'.join(filter(None, (what, worst)))} is {apart[worst]:.2g} of the largest "
                    "off; look for a callback or a rule of `custom_vmap` that sees all lanes at once, or an `axis_name`"
                )
    return ""


def rows(case: Case) -> str:
    if case.functions.score is None:
        return "of `evaluate` nothing is asked, which sees a split as a whole"
    count = size(case.few)
    own, order = np.arange(count) % 2 == 0, np.random.default_rng(0).permutation(count)
    given = jax.random.split(jax.random.key(0), count)

    def half(a: Any, b: Any) -> Any:
        return np.where(own.reshape(-1, *(1,) * (a.ndim - 1)), a, b[:count])

    as_is = case.score(case.few, given)
    shuffled = case.score(jax.tree.map(lambda x: x[order], case.few), given[order])
    others = case.score(jax.tree.map(half, case.few, case.data.train_part), given)
    for name, (values, weights) in as_is.items():
        for what, (found, weighs), here, there in (
            ("in another order", shuffled[name], order, slice(None)),
            ("beside other rows", others[name], own, own),
        ):
            one, other = counted(values, weights)[here], counted(found, weighs)[there]
            apart = max(off(one, other), off(weights[here], weighs[there]))
            if apart > ROUNDING:
                raise Broken(
                    f"{what} a row's {name!r} is {apart:.2g} of the largest off; in `score` take no mean over rows, use "
                    "running statistics (train=False), and of `keys` each row's own"
                )
    return ""


def padding(case: Case) -> str:
    task, few, state = case.functions, case.few, case.start["later"]
    count = size(few)

    @functools.partial(jax.jit, static_argnums=(3,), compiler_options=compiler_options(rare=True))
    def made(config: Config, state: Any, given: Any, chunk: int, count: Any) -> dict[str, jax.Array]:
        return trials.evaluate(task, config, state, given, chunk, count)

    def of(given: Any, chunk: int = count) -> dict[str, Any]:
        return jax.device_get(made(case.lane(0), state, given, chunk, np.int32(count)))

    whole, chunk, changes = of(few), max(1, 3 * count // 8), {}
    if task.evaluate is None:
        longer = jax.tree.map(lambda a, b: np.concatenate([a, b[: count // 2 + 1]]), few, case.data.train_part)
        changes["with other rows behind them and in several chunks, the last one padded,"] = of(longer, chunk)
    else:  # it is never given rows that do not count
        changes["in several chunks, the last one padded,"] = of(few, chunk)
    if task.score is not None:
        found = case.score(few, jax.random.split(jax.random.key(0), count))
        light = np.flatnonzero([not any(np.any(weights[row]) for _, weights in found.values()) for row in range(count)])
        order = np.arange(count)
        order[light] = light[:1]
        changes["with other contents in those of weight 0"] = of(jax.tree.map(lambda x: x[order], few))
    for what, other in changes.items():
        for name, value in whole.items():
            if off(value, other[name]) > ROUNDING:
                raise Broken(
                    f"{what} the same rows' {name!r} is {other[name]:.6g} in place of {value:.6g}; give each row's number "
                    "and weight as they are, divided by nothing, and what weighs nothing no part in `evaluate`"
                )
    return ""


def finite(case: Case) -> str:
    bad = wild(case.start)
    if bad:
        value = arrays(case.start)[bad[0]]
        raise Broken(
            f"{bad[0]} holds {value[~np.isfinite(value)].flat[0]} on the first rows; look for a logarithm or root of 0, or a "
            "division by 0 (where a metric has nothing to tell, let it say a number all the same)"
        )
    return ""


def gradients(case: Case) -> str:
    reached: dict[str, bool] = {}
    for number in (0, LANES - 1):
        state = None
        for _ in range(STEPS):
            found = case.step(case.lane(number), state)
            state = found["later"]
            reached = {path: reached.get(path, False) or bool(x.any()) for path, x in arrays(found["gradients"]).items()}
    still = [path for path, there in reached.items() if not there]
    meant = [path for path in still if any(path == said or path.startswith(f"{said}.") for said in case.task.untrained)]
    if lost := [path for path in still if path not in meant]:
        raise Broken(
            f"none reaches {', '.join(lost)} in {STEPS} steps; look for what has no slope on the way (argmax, rounding, "
            "stop_gradient), or name what is meant so in the task's `untrained`"
        )
    return f"but for {', '.join(meant)}, as it says" if meant else ""


def alone(case: Case) -> str:
    config = override(case.config, {"train.batch_size": 1})
    (group,) = groups([config], case.task.rows)
    known = {*case.task.notices(case.config)}
    said = [line for line in case.task.notices(config) if line not in known]
    try:
        said += probe.look(case.functions, group, case.data).cautions
    except UserError as error:
        if str(error).startswith(probe.UNTRACED):
            raise Broken(f"{error}, or raise a UserError that says why not") from error
        return f"it says {error}"
    bad = wild(case.step(numbers(group.traced()), case.begin(case.lane(0))))
    if bad and not said and not wild(case.start):
        raise Broken(
            f"{bad[0]} is not finite; take no spread of one row (a variance over n - 1, a softmax over the batch), or raise a "
            "UserError that says why not"
        )
    return f"it says {said[0]}" if said else ""


def resume(case: Case) -> str:
    data = case.config.data
    again = copy.copy(case.given.opened(data))
    again.__dict__.pop("_kept", None)  # the rows that it has read
    if case.task.facts(data).get("sha256") != again.facts(data).get("sha256"):
        raise Broken("read again, the rows are others; give `splits` a generator with a seed, and files that stay as they are")
    pair = [override(case.config, {"seed": (case.config.seed + number) % 2**31}) for number in (0, 1)]
    (group,) = groups(pair, case.task.rows)
    plan = Plan(1, 2, 2)
    whole = {event.trial: event for event in engine.train(case.functions, case.data, group, plan) if isinstance(event, Ended)}
    parts: dict[int, Ended] = {}
    position = None
    while len(parts) < len(whole) and (position is None or any(trial is not None for trial in position.lanes)):
        for event in engine.train(case.functions, case.data, group, plan, 0, position):
            if isinstance(event, Ended):
                parts[event.trial] = event
            if isinstance(event, SegmentDone):
                position = dataclasses.replace(event.position, state=jax.device_get(event.position.state))
                break
        next(event for event in engine.train(case.functions, case.data, group, plan) if isinstance(event, SegmentDone))
    for number, end in whole.items():
        if there := other_bits(vars(end), vars(parts[number])):
            raise Broken(
                f"interrupted after each segment, a trial ends with another {there[0]}; keep what a step needs of those "
                "before it in `stats`, which are saved, and nowhere else"
            )
    return ""


PROMISES: Mapping[str, Promise] = {
    "stats": Promise("statistics keep their names, shapes and types over a step", stats, first=True),
    "leaves": Promise("leaves are data: one program serves all their values", leaves, first=True),
    "pure": Promise("the same call gives the same bits", pure, first=True),
    "finite": Promise("all numbers are finite at the start", finite),
    "lanes": Promise("a trial alone is the same trial as among eight, but for rounding", lanes),
    "rows": Promise("in an evaluation no row sees another", rows),
    "padding": Promise("rows that pad, or that weigh nothing, change no metric", padding),
    "gradients": Promise("a gradient reaches every parameter, or the task says which not", gradients),
    "alone": Promise("a step on one row works, or says why not", alone),
    "resume": Promise("interrupted and resumed, a trial ends with the same bits", resume),
}
