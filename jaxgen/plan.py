"""How lanes lie on the devices: how many shards, and how many lanes are computed at once on each."""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass, replace

import jax

from jaxgen.config import UserError

CPU_CHUNK = 4  # lanes whose states together fit a core's second-level cache, for networks of the home task's size
CPU_WIDTH = 64
ACCELERATOR_WIDTH = 1024


@dataclass(frozen=True)
class Plan:
    """`devices` shards of `width / devices` lanes each; on a device `chunk` lanes at once (vmap), chunk after chunk (map)."""

    devices: int
    width: int
    chunk: int

    def __str__(self) -> str:
        devices = f"{self.devices} {jax.default_backend()} device{'s' * (self.devices > 1)}"
        return f"{self.width} lanes on {devices}, {self.chunk} at once on each"


def use_every_core() -> None:
    """Makes each CPU core a device. To be called before JAX first computes; without effect where the user chose a number."""
    if (
        "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", "")
        and "JAX_NUM_CPU_DEVICES" not in os.environ
    ):
        jax.config.update(
            "jax_num_cpu_devices",
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        )


# Measured on the home task's network: the region analysis saves copies of the state in every step, reductions written out
# by the compiler are faster than those of its library for products, and level 1 compiles faster into code as fast.
CPU_OPTIONS: dict[str, bool | str | int] = {
    "xla_cpu_copy_insertion_use_region_analysis": True,
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT",
    "xla_backend_optimization_level": 1,
}
RARE = {"xla_backend_optimization_level": 0}


@functools.cache
def compiler_options(rare: bool = False) -> dict[str, bool | str | int]:
    """What the compiler is told on this backend: of what is known to help, what this version of XLA knows.

    Args:
      rare: of a program that runs so seldom that its compilation is what counts.
    """
    known = (CPU_OPTIONS | (RARE if rare else {})).items() if jax.default_backend() == "cpu" else ()
    return {name: value for name, value in known if _compiles({name: value})}


def _compiles(options: dict[str, bool | str | int]) -> bool:
    try:
        jax.jit(lambda x: x + 1, compiler_options=options)(1)
    except jax.errors.JaxRuntimeError:  # another version of XLA, in which there is no such option
        return False
    return True


def choose(trials: int, width: int | None = None) -> Plan:
    """A plan for a group of `trials` trials on the local devices, of `width` lanes rounded up to fill every device.

    Raises:
      UserError: for a width below 1.
    """
    if width is not None and width < 1:
        raise UserError(f"width is {width}, expected 1 or more lanes")
    cpu = jax.default_backend() == "cpu"
    limit = min(trials, width or (CPU_WIDTH if cpu else ACCELERATOR_WIDTH))
    devices = min(jax.local_device_count(), limit)
    share = math.ceil(limit / devices)  # lanes a device
    chunks = math.ceil(share / CPU_CHUNK) if cpu else 1
    chunk = math.ceil(share / chunks)
    return Plan(devices, devices * chunks * chunk, chunk)


def fit(stored: Plan) -> Plan:
    """A stored plan on the devices that there are now: as it is, or of the same width on fewer of them."""
    most = min(stored.devices, jax.local_device_count())
    devices = next(n for n in range(most, 0, -1) if stored.width % (n * stored.chunk) == 0)
    return replace(stored, devices=devices)
