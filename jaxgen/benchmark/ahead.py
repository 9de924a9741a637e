"""A group's program on a device that is not here: XLA compiles for it all the same, and what it makes says what a step costs.

Nothing is run and nothing is tuned by timing, so that the sizes of tiles are guesses, while kernels, loops and bytes are real.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxgen.benchmark import compiled, measure
from jaxgen.benchmark.sequences import SIZES
from jaxgen.engine import programs
from jaxgen.engine.plan import Plan
from jaxgen.fields import UserError, override
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.models import FAMILIES

# What a GPU's graph takes to start one more kernel, and what the host does, in seconds: estimates, from NVIDIA's figures for
# graphs (about 1 us and less) and from launches that follow one another (2 to 4 us).
IN_GRAPH, BY_HOST, ROUND_TRIP = (0.5e-6, 1.5e-6), (2e-6, 4e-6), (10e-6, 25e-6)

ALONE = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"}  # else libtpu asks a cloud's server where it is


@dataclass(frozen=True)
class Target:
    """A device that programs are compiled for. The figures are its maker's."""

    platform: str
    topology: str
    bandwidth: float
    """Bytes a second between the chip and its memory."""
    memory: float
    """Bytes."""
    needs: str
    """The packages without which XLA cannot compile for it."""
    description: str = ""
    """Of a GPU, in XLA's own words (GpuTargetConfigProto)."""


def gpu(
    name: str, capability: tuple[int, int], cores: int, bandwidth: float, memory: float, cache: int, clock: float
) -> Target:
    """A GPU by its data sheet: compute capability, multiprocessors, bytes a second, bytes, bytes of level 2, GHz."""
    major, minor = capability
    shared = {8: 167_936, 9: 233_472}[major]  # bytes a multiprocessor; CUDA C++ Programming Guide, Technical Specifications
    # Versions of the driver and the runtime have to be there: without them graphs lose their loops, and nothing says so.
    told = f"""
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048 fpus_per_core: {64 if major == 8 else 128}
  shared_memory_per_block: 49152 shared_memory_per_core: {shared} shared_memory_per_block_optin: {shared - 1024}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  core_count: {cores} clock_rate_ghz: {clock}
  memory_bandwidth: {bandwidth:.0f} device_memory_size: {memory:.0f} l2_cache_size: {cache}
  cuda_compute_capability {{ major: {major} minor: {minor} {"feature_extension: ACCELERATED_FEATURES" if major == 9 else ""} }}
  device_vendor: "NVIDIA Corporation" platform_version: "Compute Capability {major}.{minor}" name: "{name}"
  driver_version: "13.0.0" runtime_version: "13.0.0" compile_time_toolkit_version: "13.0.0" dnn_version: "9.10.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{name}"
"""
    needs = f"jax-cuda13-plugin=={jax.__version__} jax-cuda13-pjrt=={jax.__version__} nvidia-cuda-nvcc"
    return Target("cuda", "1x1x1", bandwidth, memory, needs, told)


TARGETS: Mapping[str, Target] = {
    "cuda:a100": gpu("NVIDIA A100-SXM4-80GB", (8, 0), 108, 2.039e12, 80e9, 40 << 20, 1.41),
    "cuda:h100": gpu("NVIDIA H100 80GB HBM3", (9, 0), 132, 3.352e12, 80e9, 50 << 20, 1.98),
    "cuda:h200": gpu("NVIDIA H200", (9, 0), 132, 4.8e12, 141e9, 50 << 20, 1.98),
    "tpu:v5e": Target("tpu", "v5e:2x2", 8.19e11, 16e9, "libtpu"),
}


@dataclass(frozen=True)
class Ahead:
    """What a segment of some lanes of a family comes to on a device: of a step all figures are of all lanes together."""

    target: str
    family: str
    width: int
    kernels: int
    """Started a step."""
    bytes: float
    """Moved a trial-step: a step's, by the lanes."""
    graphs: compiled.Started | None
    """How a GPU is told to; None for others."""
    segment_bytes: float
    """Moved a trial in a segment beside its steps: the evaluation, and the looks whether all is finite."""
    every: int
    """Steps of a segment."""
    state: float
    """Bytes a lane: its state and its config."""
    temporary: float
    """Bytes a lane beside that, as the program runs."""
    padding: float
    """What the state takes in the device's tiles, by what is in it."""
    seconds: float
    """It took to compile here."""

    @property
    def memory(self) -> float:
        """Bytes of all lanes together."""
        return (self.state + self.temporary) * self.width

    @property
    def fits(self) -> bool:
        """Whether the device has that much memory."""
        return self.memory < TARGETS[self.target].memory

    @property
    def share(self) -> float:
        """Of the bytes of a segment those that are not its steps'."""
        return self.segment_bytes / (self.segment_bytes + self.every * self.bytes)

    @property
    def step(self) -> tuple[float, float]:
        """Seconds of a trial-step from bytes and starts, from and to. An estimate: nothing was run."""
        moving = self.bytes / TARGETS[self.target].bandwidth
        if self.graphs is None:
            return moving, moving
        outside = self.graphs.outside / max(self.graphs.outside + self.graphs.in_graphs, 1) * self.kernels
        inside, trips = self.kernels - outside, self.graphs.round_trips
        low, high = (inside * IN_GRAPH[i] + outside * BY_HOST[i] + trips * ROUND_TRIP[i] for i in (0, 1))
        return moving + low / self.width, moving + high / self.width


def device(target: str) -> Any:
    """A device (`jax.Device`) that is not here.

    Raises:
      UserError: for a target that is not known, or where a package lacks.
    """
    known = TARGETS.get(target)
    if known is None:
        raise UserError(f"--ahead is {target!r}, expected one of {', '.join(TARGETS)}")
    told = {"topology": known.topology, "target_config": known.description} if known.description else {}
    for name, value in ALONE.items():
        os.environ.setdefault(name, value)
    try:
        there = topologies.get_topology_desc(known.topology, known.platform, **told)
    except Exception as error:  # of many kinds, by what lacks
        said = (str(error).splitlines() or [""])[0][:200]
        raise UserError(f"to compile for {target}, XLA needs more packages ({said}); pip install {known.needs}") from error
    return there.devices[0]


def changes(family: str) -> dict[str, Any]:
    """The sizes at which a family is looked at: DL-101's network at its own, families of sequences at makemore's, with Adam."""
    if not FAMILIES[family].sequences:
        return {"model.family": family}
    return {"model.family": family, **SIZES, "optimizer.name": "adam", "optimizer.learning_rate": 1e-3}


def looked(target: str, families: Sequence[str], widths: Sequence[int]) -> Iterator[Ahead]:
    """Compiles a segment of each family at each width, one after the other.

    Raises:
      UserError: as `device` does.
    """
    there = device(target)
    mesh = Mesh(np.array([there]), (programs.LANES,), axis_types=(AxisType.Auto,))
    for family in families:
        setting = measure.setting(override(Config(), changes(family)))
        group = measure.group_of(setting, measure.sweep_of(len(measure.OPTIMIZERS), changes(family)))
        for width in widths:
            yield look(target, mesh, family, setting, group, width)


def look(target: str, mesh: Mesh, family: str, setting: measure.Setting, group: Any, width: int) -> Ahead:
    """Compiles a segment of one width, and reads what came out."""
    lanes, whole = NamedSharding(mesh, PartitionSpec(programs.LANES)), NamedSharding(mesh, PartitionSpec())

    def shapes(tree: Any, where: NamedSharding) -> Any:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree)

    config = shapes(jax.tree.map(lambda leaf: programs.column(leaf, width), group.traced()), lanes)
    state = shapes(programs.state_shape(setting.functions, group.traced(), width), lanes)
    run = programs.programs(setting.functions, Plan(1, width, width), None, mesh)
    lowered = run.segment.lower(config, state, shapes(setting.data, whole))  # pyright: ignore[reportFunctionMemberAccess]  (jitted)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        made = lowered.compile(compiler_options={"xla_dump_to": folder, "xla_dump_hlo_as_text": True})
        seconds = time.monotonic() - began
        thunks = [path.read_text() for path in Path(folder).glob("*.thunk_sequence_after_thunk_passes.txt")]
    program = compiled.read(made.as_text())
    outer, steps = program.steps()[-2:]
    body = program.kernels(steps.called("body"))
    strides = math.ceil(group.static.train.eval_every / programs.stride(group.static.train.eval_every))
    rest = [
        *program.kernels(program.entry, but=outer.called("body")),
        *strides * program.kernels(outer.called("body"), but=steps.called("body")),
    ]
    given = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves((config, state)))
    memory = made.memory_analysis()
    held = [op.type for op in program.computations[program.entry] if op.kind == "parameter"]
    return Ahead(
        target=target,
        family=family,
        width=width,
        kernels=sum(kernel.times for kernel in body),
        bytes=sum(kernel.moved for kernel in body) / width,
        graphs=compiled.started(thunks[0], body) if thunks else None,
        segment_bytes=sum(kernel.moved for kernel in rest) / width,
        every=group.static.train.eval_every,
        state=given / width,
        temporary=memory.temp_size_in_bytes / width,
        padding=sum(map(compiled.size, held)) / sum(map(compiled.unpadded, held)),
        seconds=seconds,
    )
