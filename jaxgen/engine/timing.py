"""How long a plan takes, measured with the very programs that train."""

from __future__ import annotations

import functools
import hashlib
import math
import statistics
import time
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.config import Config
from jaxgen.engine.plan import Plan
from jaxgen.engine.precision import chosen
from jaxgen.engine.programs import Data, by_lane, column, empty, everywhere, kind, programs, state_shape
from jaxgen.search.sweep import Group
from jaxgen.train.functions import Functions

TIMED_STEPS = 16
ACCELERATED_STEPS = 512  # on an accelerator, where a step takes as long as the evaluation's jitter


def seconds(task: Functions, data: Data, group: Group, plan: Plan, repeat: int = 2) -> float:
    """How long a trial-step takes under a plan, without evaluation: in seconds, from a few short segments.

    The program that is timed is the one that trains. Infinite where the plan does not fit the device's memory.
    """
    run = programs(task, plan, kind(group.traced(), data))
    sharding = by_lane(plan)
    most = TIMED_STEPS if jax.default_backend() == "cpu" else ACCELERATED_STEPS
    steps = min(most, group.static.train.eval_every)

    def segment(config: Config) -> float:
        columns = jax.device_put(jax.tree.map(lambda leaf: column(leaf, plan.width), config), sharding)
        state = jax.device_put(empty(task, config, plan.width), sharding)
        state = jax.block_until_ready(run.fill(columns, state, jax.device_put(np.ones(plan.width, bool), sharding)))
        began = time.perf_counter()
        jax.block_until_ready(run.segment(columns, state, data))
        return time.perf_counter() - began

    def budget(steps: int) -> Config:
        return replace(group.traced(), train=replace(group.static.train, steps=steps))

    try:
        data = jax.device_put(data, everywhere(plan))
        segment(budget(0))  # compiles
        evaluation = statistics.median(segment(budget(0)) for _ in range(repeat - 1))
        taken = [segment(budget(steps)) - evaluation for _ in range(repeat)]
    except jax.errors.JaxRuntimeError as error:
        if out_of_memory(error):
            return math.inf
        raise
    return max(statistics.median(taken), 0.0) / (steps * plan.width)


def lane_memory(task: Functions, data: Data, group: Group, plan: Plan) -> float:
    """Bytes that a lane takes on its device while a segment runs: its state and what is computed beside it, by XLA's account of
    the program, which is compiled for that and not run.

    Infinite where it cannot even be compiled for lack of memory.
    """

    def shapes(tree: Any, where: Any) -> Any:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree)

    run, sharding = programs(task, plan, kind(group.traced(), data)), by_lane(plan)
    config = shapes(jax.tree.map(lambda leaf: column(leaf, plan.width), group.traced()), sharding)
    state = shapes(state_shape(task, group.traced(), plan.width), sharding)
    lowered = run.segment.lower(config, state, shapes(data, everywhere(plan)))  # pyright: ignore[reportFunctionMemberAccess]  (jitted)
    try:
        found = lowered.compile().memory_analysis()
    except jax.errors.JaxRuntimeError as error:
        if out_of_memory(error):
            return math.inf
        raise
    rows = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(data))
    held = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes - rows
    return (held + found.temp_size_in_bytes) / (plan.width // plan.devices)


LONG = 60.0  # seconds of a segment from which on a user is told before
WORTH = 1e12  # products from which on it is worth to measure how fast this machine is


def said_of_long_segments(task: Functions, group: Group) -> list[str]:
    """What a user should know of a group whose segments take minutes: until the end of the first one, nothing is heard.

    By the least that a step computes for a row: each weight twice on the way forward and four times on the way back. A family
    that reads a row place by place computes as much at each.
    """
    train = group.static.train
    shapes = jax.tree.leaves(state_shape(task, group.traced(), 1).params)
    weights = sum(math.prod(x.shape) for x in shapes if len(x.shape) > 2)  # matrices; the first axis is the lane
    products = 6 * weights * train.batch_size * train.eval_every
    seconds = products / products_a_second() if products > WORTH else 0.0
    if seconds < LONG:
        return []
    return [
        f"a segment of {train.eval_every:,} steps with batches of {train.batch_size:,} rows takes about {seconds / 60:.0f} "
        "minutes or more (an estimate, by the products that it computes), and until its end there is nothing to tell; a "
        "smaller --train.eval_every or --train.batch_size tells sooner"
    ]


@functools.cache
def products_a_second(size: int = 1024) -> float:
    """How many products and sums of numbers the device computes a second, in a product of two matrices."""
    one = jnp.ones((size, size))
    jax.block_until_ready(one @ one)  # compiles
    began = time.perf_counter()
    jax.block_until_ready(one @ one)
    return 2 * size**3 / (time.perf_counter() - began)


def out_of_memory(error: Exception) -> bool:
    """Whether a device ran out of memory."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def program_key(name: str, task: Functions, data: Data, group: Group) -> str:
    """What decides how long a group's program takes, but for the plan: its task, structure, shapes, devices and versions.

    Args:
      name: tells the task from others, and from what it was before.
    """
    shapes = jax.tree.map(lambda x: (x.shape, str(x.dtype)), (state_shape(task, group.traced(), 1), data))
    kinds = [device.device_kind for device in jax.local_devices()]
    made = (jax.__version__, version("jaxlib"), chosen())
    facts = (name, str(jax.tree.structure(group.traced())), str(shapes), str(kinds), *made)
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
