"""How the benchmark measures: everything compiled first, then short bursts in turn, round after round; medians are reported.

The machine may be shared and its speed may change from minute to minute. Bursts in turn meet the same weather, so that the
ratio of two medians says something although neither time is worth much.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxgen
from jaxgen.benchmark import peers
from jaxgen.benchmark.peers import Subject
from jaxgen.engine import lanes as engine
from jaxgen.engine import programs
from jaxgen.engine.lanes import SegmentDone
from jaxgen.engine.plan import Plan, candidates, choose
from jaxgen.fields import override
from jaxgen.job import prepared
from jaxgen.runs import fastest
from jaxgen.search.sweep import Group, Sweep, grid
from jaxgen.tasks.base import Task
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.task import NAMES
from jaxgen.train.functions import Functions

OPTIMIZERS = ("sgd", "momentum", "adam", "rmsprop")  # the optimizers of the sweeps that are measured: one program
MATMUL = 1024


class Setting(NamedTuple):
    """What all subjects train on."""

    task: Any  # a Task, on its rows
    data: programs.Data
    functions: Functions
    base: Config


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    rounds: int
    widths: tuple[int, ...]
    trials: int  # of the sweep
    steps: int  # of each of its trials
    hidden: tuple[int, ...]  # beside the default, for the growth with parameters
    few: int  # trials, for memory
    many: int
    names: int  # drawn at once
    families: tuple[str, ...] = ()  # of sequences, beside PyTorch


FULL = Scale(4, (1, 8, 32, 128, 512), 64, 400, (50, 200), 100, 1000, 10_000)
QUICK = Scale(2, (1, 8), 16, 400, (50,), 20, 100, 1000)


@dataclass(frozen=True)
class Rate:
    """A subject's speed. None: not measured, and the note says why."""

    name: str
    trials: int
    trial_steps_per_second: float | None
    compile_seconds: float | None = None
    bursts: int = 0
    note: str = ""


@dataclass(frozen=True)
class Clock:
    """The time that there is."""

    end: float  # of time.monotonic()

    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()


def setting(config: Any = None, task: Task = NAMES) -> Setting:
    """The rows of a task, as a config cuts them and its family learns from them; of names the bundled corpus."""
    config = Config() if config is None else config
    task = task.opened(config.data)
    job = prepared(Sweep(config), task)
    return Setting(task, job.data(job.groups[0]), job.functions, config)


def sweep_of(trials: int, changes: dict[str, Any], base: Any = None) -> Sweep:
    """`trials` trials of one program: four optimizers at as many seeds as it takes."""
    whole = grid(
        override(Config() if base is None else base, changes),
        {"seed": range(-(-trials // len(OPTIMIZERS))), "optimizer.name": OPTIMIZERS},
    )
    return Sweep(whole.base, whole.points[:trials])


def group_of(setting: Setting, sweep: Sweep) -> Group:
    """A sweep's only group."""
    (group,) = prepared(sweep, setting.task).groups
    return group


def flop(params: Any, batch: int) -> int:
    """Arithmetic of a step of a trial: forward and backward are three products a matrix, each of two operations a weight.

    The embedding is looked up and not multiplied. What is no matrix product is not counted.
    """
    kernels = {name: layer["linear"]["kernel"] for name, layer in params.items() if name != "embedding"}
    return 6 * batch * sum(int(np.prod(kernel.shape)) for kernel in kernels.values())


def plan_of(setting: Setting, changes: dict[str, Any], trials: int) -> Plan:
    """The plan that a sweep of so many trials measures for itself."""
    return fastest(
        setting.task, setting.data, group_of(setting, sweep_of(trials, changes, setting.base)), candidates(trials), None
    ).plan


def lanes(setting: Setting, plan: Plan, changes: dict[str, Any], segments: int, name: str, note: str = "") -> Subject:
    """As many trials as lanes on jaxgen's engine; a burst is a segment: `train.eval_every` steps and an evaluation."""
    every = override(setting.base, changes).train.eval_every
    sweep = sweep_of(plan.width, {"train.steps": every * segments, **changes}, setting.base)
    events = engine.train(setting.functions, setting.data, group_of(setting, sweep), plan)

    def burst() -> None:
        for event in events:
            if isinstance(event, SegmentDone):
                return
        raise AssertionError("the trials are at their end")

    return Subject(name, plan.width, every, burst, note or str(plan))


def whole_run(setting: Setting, sweep: Sweep, out: Path | None, name: str, note: str = "") -> Subject:
    """A whole `jaxgen.run`: windows cut, trials trained, evaluated and saved."""

    plan = choose(len(sweep))

    def burst() -> None:  # at a given chunk: measuring a plan is not what is measured
        jaxgen.run(sweep, setting.task, out, overwrite=out is not None, width=plan.width, chunk=plan.chunk)

    return Subject(name, len(sweep), sweep.base.train.steps, burst, note)


def parts_of(setting: Setting, sweep: Sweep) -> tuple[Subject, Subject]:
    """Of the same sweep, its compiled segments alone, and its final evaluation over whole splits alone."""
    group, plan = group_of(setting, sweep), choose(len(sweep))
    assert plan.width >= len(sweep)
    run = programs.programs(setting.functions, plan)
    sharding = programs.by_lane(plan)
    data = jax.device_put(setting.data, programs.everywhere(plan))
    traced = [group.traced(trial) for trial in group.trials]
    traced += [traced[0]] * (plan.width - len(traced))
    columns = jax.tree.map(lambda *leaves: np.stack([programs.column(leaf, 1)[0] for leaf in leaves]), *traced)
    configs = jax.device_put(columns, sharding)
    places = jax.device_put(np.arange(plan.width) < len(sweep), sharding)

    def filled() -> Any:
        empty = programs.empty(setting.functions, group.traced(), plan.width)
        return run.fill(configs, jax.device_put(empty, sharding), places)

    def segments() -> None:
        state = filled()
        for _ in range(-(-sweep.base.train.steps // sweep.base.train.eval_every)):
            state, _ = run.segment(configs, state, data)
        jax.block_until_ready(state)

    whole = filled()

    def final() -> None:
        for _, places, used in engine.dealt(range(len(sweep)), plan):
            jax.block_until_ready(run.finish(configs, whole, data, *jax.device_put((places, used), sharding)))

    steps = sweep.base.train.steps
    return Subject("segments alone", len(sweep), steps, segments), Subject("final evaluation alone", len(sweep), steps, final)


def matmul() -> Subject:
    """The machine's matmul rate: its "steps" are products of two 1024x1024 float32 matrices."""
    x = jax.random.normal(jax.random.key(0), (MATMUL, MATMUL))
    product = jax.jit(lambda x: x @ x)

    def burst() -> None:
        for _ in range(20):
            product(x).block_until_ready()

    return Subject(f"matmul {MATMUL}x{MATMUL} float32", 1, 20, burst)


def seconds(work: Callable[[], Any]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def every(place: int, rounds: int, total: int) -> bool:
    """Whether the round `place` is one of `rounds` of `total` rounds that lie evenly, the first among them."""
    return place * rounds % total < rounds


def in_turn(
    makers: Sequence[tuple[str, int, int, Callable[[], Subject]]],
    rounds: int,
    clock: Clock,
    say: Callable[[str], None],
    soft: Clock | None = None,
) -> dict[str, tuple[Rate, Subject | None]]:
    """Makes and warms each subject, then times bursts in turn.

    Args:
      makers: for each subject a key, its trials (for the row of one that cannot be made), in how many of the rounds it takes
        part, and what makes it.
      clock: no burst begins that would end after it.
      soft: the same, but for each subject's first burst; None: `clock`.

    Returns:
      key -> its rate, and the subject if it could be made.
    """
    compiling: list[float] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration_secs, **kwargs: compiling.append(duration_secs) if event in COMPILING else None
    )
    made: dict[str, tuple[Subject, float, list[float], int]] = {}
    failed: dict[str, Rate] = {}
    expected: dict[str, float] = {}  # seconds of a burst
    for key, trials, part, make in makers:
        if clock.left() <= 0:
            failed[key] = Rate(key, trials, None, note="not measured: the time was used up")
            continue
        try:
            subject = make()
        except ImportError as error:
            failed[key] = Rate(key, trials, None, note=f"not measured: {error}")
            continue
        compiling.clear()  # making starts from random numbers op by op, which compiles too, and is not what is measured
        took = seconds(subject.burst)
        made[key] = (subject, sum(compiling), [], part)
        expected[key] = took - sum(compiling)
        say(f"warm: {subject.name} ({took:.1f} s, {sum(compiling):.1f} s of it compiling)")
    for place in range(rounds):
        for key, (subject, _, times, part) in made.items():
            limit = soft if soft is not None and times else clock
            if (every(place, part, rounds) or not times) and limit.left() > expected[key]:
                times.append(seconds(subject.burst))
                expected[key] = times[-1]
        say(f"round {place + 1} of {rounds}")
    rates: dict[str, tuple[Rate, Subject | None]] = {key: (rate, None) for key, rate in failed.items()}
    for key, (subject, compile_seconds, times, _) in made.items():
        if not times:
            rates[key] = (
                Rate(subject.name, subject.trials, None, compile_seconds, 0, "not measured: the time was used up"),
                None,
            )
            continue
        speed = subject.trials * subject.steps / statistics.median(times)
        rates[key] = (Rate(subject.name, subject.trials, speed, compile_seconds, len(times), subject.note), subject)
    return {key: rates[key] for key, *_ in makers}


COMPILING = ("/jax/core/compile/jaxpr_to_mlir_module_duration", "/jax/core/compile/backend_compile_duration")


def torch_or_not(make: Callable[[], Subject]) -> Callable[[], Subject]:
    """`make`, where PyTorch is installed."""

    def made() -> Subject:
        if not peers.has_torch():
            raise ImportError("PyTorch is not installed")
        return make()

    return made
