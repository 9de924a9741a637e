"""How lanes lie on the devices: how many shards, and how many lanes are computed at once on each; measured, not guessed."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from jaxgen.fields import UserError

CPU_CHUNKS = (4, 2, 8, 1, 32)  # 4: lanes whose states fit a core's caches, for networks of the home task's size
CPU_WIDTH = 64
ACCELERATOR_WIDTHS = (1024, 4096, 256, 16384, 64)
BESIDE = 2  # a state and what its program needs beside it, which is at least as much (XLA's own account of these programs)
MEMORY_SHARE = 0.2  # of a device's memory for the lanes' states: gradients, activations and a copy need the rest
SPEND = 0.1  # of a group's time, at most, goes into measuring
COST = 10.0  # seconds to compile and measure one plan, as long as none of the group has been
CLEARLY = 0.95  # timings are noisy


@dataclass(frozen=True)
class Plan:
    """`devices` shards of `width / devices` lanes each; on a device `chunk` lanes at once (vmap), chunk after chunk (map)."""

    devices: int
    width: int
    chunk: int

    def __str__(self) -> str:
        kind = "core" if jax.default_backend() == "cpu" else jax.default_backend().upper()
        devices = f"{self.devices} {kind}{'s' * (self.devices > 1)}"
        return f"{self.width} network{'s' * (self.width > 1)} at a time on {devices}"


def use_every_core() -> None:
    """Makes each CPU core a device. To be called before JAX first computes; without effect where the user chose a number."""
    if (
        "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", "")
        and "JAX_NUM_CPU_DEVICES" not in os.environ
        # To set it again, JAX refuses once it has begun.
        and jax.config.jax_num_cpu_devices != cores()  # pyright: ignore[reportAttributeAccessIssue]
    ):
        jax.config.update("jax_num_cpu_devices", cores())


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# Measured on the home task's network: the region analysis saves copies of the state in every step, reductions written out
# by the compiler are faster than those of its library for products, and level 1 compiles faster into code as fast.
CPU_OPTIONS: dict[str, bool | str | int] = {
    "xla_cpu_copy_insertion_use_region_analysis": True,
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT",
    "xla_backend_optimization_level": 1,
}
RARE = {"xla_backend_optimization_level": 0}
# Loops and branches in graphs of the device, of which a kernel alone is worth one: else the host waits for the device at each
# step, whose loop has an end that the device alone knows. Where a driver has no such graphs, XLA makes none.
GPU_OPTIONS: dict[str, bool | str | int] = {
    "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE",
    "xla_gpu_graph_min_graph_size": 1,
}


@functools.cache
def compiler_options(rare: bool = False, device: Any = None) -> dict[str, bool | str | int]:
    """What the compiler is told: of what is known to help, what this version of XLA knows.

    Args:
      rare: of a program that runs so seldom that its compilation is what counts.
      device: a `jax.Device` that the program is for, which need not be here. None: the first of this process.
    """
    device = device or jax.local_devices()[0]
    known = {"cpu": CPU_OPTIONS | (RARE if rare else {}), "gpu": {} if rare else GPU_OPTIONS}.get(device.platform, {})
    return {name: value for name, value in known.items() if _compiles({name: value}, device)}


def _compiles(options: dict[str, bool | str | int], device: Any) -> bool:
    number = jax.ShapeDtypeStruct((), jnp.float32, sharding=SingleDeviceSharding(device))
    try:
        jax.jit(lambda x: x + 1, compiler_options=options).lower(number).compile()
    except jax.errors.JaxRuntimeError:  # another version of XLA, in which there is no such option
        return False
    return True


@dataclass(frozen=True)
class Lanes:
    """What a plan must keep to. None: free.

    width: lanes in all, rounded up to fill every device. chunk: lanes that a device computes at once, or fewer where that
    leaves no lane empty; with `exact` so many even then, since last bits depend on it. devices: how many.
    """

    width: int | None = None
    chunk: int | None = None
    devices: int | None = None
    exact: bool = False


def check(lanes: Lanes) -> None:
    """Refuses what no plan can keep to.

    Raises:
      UserError: for a number below 1, or more devices than there are.
    """
    for name in ("width", "chunk", "devices"):
        value = getattr(lanes, name)
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}, expected 1 or more")
    there = jax.local_device_count()
    if lanes.devices is not None and lanes.devices > there:
        raise UserError(f"devices is {lanes.devices}, but there {'are' if there > 1 else 'is'} {there}; give {there} or fewer")


def candidates(trials: int, lane_bytes: int = 0, lanes: Lanes | None = None) -> list[Plan]:
    """The plans worth measuring for a group of `trials` trials, the one that is best by experience first.

    On a CPU they differ in the lanes that a core computes at once (the caches decide), on an accelerator in the width.

    Args:
      lane_bytes: of one lane's state.
      lanes: what they must keep to.

    Raises:
      UserError: for lanes that cannot be, or one lane that needs more memory than there is.
    """
    lanes = lanes or Lanes()
    check(lanes)

    def lay(width: int, chunk: int) -> Plan:
        limit = min(trials, width)
        if jax.default_backend() != "cpu" and lanes.width is None:
            limit = math.ceil(trials / math.ceil(trials / limit))  # 1,025 trials are twice 513, and not 1,024 and one
        devices = lanes.devices or jax.local_device_count()
        if lanes.exact and lanes.chunk is not None:
            shards = min(devices, math.ceil(limit / chunk))
            return Plan(shards, shards * chunk * math.ceil(limit / (shards * chunk)), chunk)
        shards = min(devices, limit)
        share = math.ceil(limit / shards)  # lanes a device
        chunks = math.ceil(share / min(chunk, share))
        even = math.ceil(share / chunks)
        return Plan(shards, shards * chunks * even, even)

    memory = _memory()
    if BESIDE * lane_bytes > memory:
        raise UserError(
            f"one trial's state takes {lane_bytes / 1e9:.3g} GB and lies {BESIDE} times in memory as it is begun and as it is "
            f"trained, and there are {memory / 1e9:.3g} GB of memory; make the model smaller"
        )
    fits = MEMORY_SHARE * memory / max(lane_bytes, 1)
    if jax.default_backend() == "cpu":
        width = lanes.width or max(1, int(min(CPU_WIDTH, fits)))
        plans = [lay(width, lanes.chunk or c) for c in CPU_CHUNKS]
    else:
        widths = [w for w in ACCELERATOR_WIDTHS if w <= max(fits, min(ACCELERATOR_WIDTHS))]
        plans = [lay(w, lanes.chunk or w) for w in ([lanes.width] if lanes.width else widths)]
    return list(dict.fromkeys(plans))


FULL = 0.9  # of a device's memory, at most, for what a program holds: the rest is the driver's, and what lies in pieces
ROOMY = 64  # states of a lane, which a lane's program has never been found to need (a GRU of makemore's size: 22)


def fitting(plans: Sequence[Plan], lane_bytes: int, rows: int, lane_memory: Callable[[Plan], float]) -> list[Plan]:
    """Of some plans those that fit the devices' memory; at least the narrowest. On a CPU all: there the state is what counts.

    Args:
      lane_bytes: of one lane's state. Where ROOMY of them fit for every lane, nothing is asked.
      rows: bytes of the rows, which every device holds.
      lane_memory: finds what a lane takes on its device in all, under a plan (`timing.lane_memory`).
    """
    if jax.default_backend() == "cpu" or len(plans) == 1:
        return list(plans)
    room = FULL * _memory() / jax.local_device_count() - rows
    share = {plan: plan.width // plan.devices for plan in plans}
    if max(share.values()) * ROOMY * lane_bytes <= room:
        return list(plans)
    narrowest = min(plans, key=lambda plan: plan.width)
    lane = lane_memory(narrowest)
    return [plan for plan in plans if share[plan] * lane <= room] or [narrowest]


COPIES = 4  # of a group's rows in memory: as they were read, cut, on the host and on each device


def check_rows(size: int) -> None:
    """Refuses rows that do not fit the memory.

    Args:
      size: of a group's rows, in bytes.

    Raises:
      UserError: then.
    """
    one = _memory() / (1 if jax.default_backend() == "cpu" else jax.local_device_count())
    if COPIES * size > one:
        raise UserError(
            f"the rows take {size / 1e9:.3g} GB and lie {COPIES} times in memory, of which there are {one / 1e9:.3g} GB; "
            "give fewer rows, or smaller types, such as bytes that the network divides by 255"
        )


def _memory() -> float:
    """Bytes of all local devices, as far as they tell; else without limit. CPU devices share the machine's memory."""
    if jax.default_backend() == "cpu":
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError):  # not on every system
            return math.inf
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    return min(s.get("bytes_limit", math.inf) for s in stats) * len(stats)


def choose(trials: int, width: int | None = None) -> Plan:
    """The plan for a group of `trials` trials that is best by experience (`candidates`)."""
    return candidates(trials, lanes=Lanes(width))[0]


Seconds = Mapping[Plan, float]  # a trial-step, by plan


@dataclass(frozen=True)
class Planned:
    """The plan of a group, and what was measured for it: seconds a trial-step by plan; empty where there was no choice."""

    plan: Plan
    measured: Seconds
    instead: Plan | None = None  # what it was begun under, if that was another one
    where: str = ""  # which group it is of, where there are several: program 3 of 9
    known: bool = True  # False: it stands for a plan that nobody has made

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        if self.instead is not None:
            now, then = (f"{plan} ({plan.chunk} at once on each)" for plan in (self.plan, self.instead))
            return f"{where}{now}; the run began with {then}, so that its last bits may differ"
        seconds = self.measured.get(self.plan, math.nan)
        return f"{where}{self.plan}{f' ({1e3 * seconds:.2g} ms a step)' if math.isfinite(seconds) else ''}"


def measure(
    plans: Sequence[Plan],
    seconds: Callable[[Plan], float],
    work: int,
    known: Seconds,
    clock: Callable[[], float] = time.monotonic,
) -> Planned:
    """The fastest of some plans.

    Measuring goes on while it takes no more than a tenth of what the group's training will take: the first plan's program is
    compiled in any case, each further one costs as long as that one did.

    Args:
      plans: in the order of belief; a plan must be CLEARLY faster than an earlier one to be preferred.
      seconds: measures a plan, in seconds a trial-step; infinite where it does not fit the memory.
      work: trial-steps of the group.
      known: what was measured before.
    """
    found = {plan: known[plan] for plan in plans if plan in known}
    spent, last = 0.0, COST
    for plan in plans:
        cheapest = min(found.values(), default=math.inf)
        if plan in found or (math.isfinite(cheapest) and spent + last > SPEND * work * cheapest):
            continue
        began = clock()
        found[plan] = seconds(plan)
        last = clock() - began
        spent += last
    best = next(plan for plan in plans if plan in found)
    for plan in plans:
        if found.get(plan, math.inf) < CLEARLY * found[best]:
            best = plan
    return Planned(best, found)


def halved(plan: Plan) -> Plan:
    """A plan of half the width.

    Raises:
      UserError: where a device has one lane already.
    """
    share = plan.width // plan.devices
    if share == 1:
        raise UserError(f"one lane on each of {plan.devices} devices is out of memory; make the model or the batch smaller")
    chunk = min(plan.chunk, share // 2)
    return Plan(plan.devices, plan.devices * chunk * (share // 2 // chunk), chunk)


def fit(stored: Plan) -> Plan:
    """A stored plan on the devices that there are now: as it is, or of the same width on fewer of them."""
    most = min(stored.devices, jax.local_device_count())
    devices = next(n for n in range(most, 0, -1) if stored.width % (n * stored.chunk) == 0)
    return replace(stored, devices=devices)
