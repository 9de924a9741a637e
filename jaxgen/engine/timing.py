"""How long a plan takes, measured with the very programs that train."""

from __future__ import annotations

import hashlib
import math
import statistics
import time
from dataclasses import replace
from importlib.metadata import version

import jax
import numpy as np

from jaxgen.config import Config
from jaxgen.engine.plan import Plan
from jaxgen.engine.programs import Data, by_lane, column, empty, everywhere, kind, programs, state_shape
from jaxgen.search.sweep import Group
from jaxgen.train.functions import Functions

TIMED_STEPS = 16


def seconds(task: Functions, data: Data, group: Group, plan: Plan, repeat: int = 2) -> float:
    """How long a trial-step takes under a plan, without evaluation: in seconds, from a few short segments.

    The program that is timed is the one that trains. Infinite where the plan does not fit the device's memory.
    """
    run = programs(task, plan, kind(group.traced(), data))
    sharding = by_lane(plan)
    steps = min(TIMED_STEPS, group.static.train.eval_every)

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
        evaluation = segment(budget(0))
        taken = [segment(budget(steps)) - evaluation for _ in range(repeat)]
    except jax.errors.JaxRuntimeError as error:
        if out_of_memory(error):
            return math.inf
        raise
    return max(statistics.median(taken), 0.0) / (steps * plan.width)


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
    facts = (name, str(jax.tree.structure(group.traced())), str(shapes), str(kinds), jax.__version__, version("jaxlib"))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
