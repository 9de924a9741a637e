"""Says whether jaxgen keeps its promises on the devices that JAX sees here, and how fast they are.

    python tools/device_check.py OUT [--seconds 200] [--widths 1024,256,4096]

Writes OUT/device-check.json after each section: a run that is interrupted and goes on, parity with float64, the bits of a
segment that is run three times, how long a trial-step takes at each width, and the device's own ceilings. A section that fails
says so, and the others go on; what the time does not reach says that.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
import math
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen
from jaxgen import runs
from jaxgen.benchmark import figures, measure
from jaxgen.engine import plan as plans
from jaxgen.engine import programs, timing
from jaxgen.engine.plan import Plan
from jaxgen.fields import override
from jaxgen.tasks.names.config import Config
from jaxgen.train import optimizers
from jaxgen.train import trial as trials

SMALL = {
    "model.hidden": 16,
    "model.depth": 2,
    "model.embedding": 4,
    "train.steps": 120,
    "train.eval_every": 20,
    "train.names": 16,
}
STEPS = 128  # of a segment that is timed
COURSE = 100  # of a trial that is held against float64


def machine() -> dict[str, Any]:
    """What there is, and the plans that would be measured for a few sweeps."""
    state = 760_844  # bytes of a lane of DL-101's network
    return figures.machine() | {
        "kinds": [f"{jax.default_backend()} {device.device_kind}" for device in jax.devices()],
        "memory": (jax.devices()[0].memory_stats() or {}).get("bytes_limit"),
        "plans": {str(count): [str(plan) for plan in plans.candidates(count, state)] for count in (126, 1025, 5000)},
    }


def promises() -> dict[str, Any]:
    """A sweep in a folder, whole, and interrupted and gone on with: the same bytes; more steps; names, a score, an export."""
    corpus = jaxgen.load_corpus("data/names.txt")
    axes = {"optimizer.name": ["sgd", "adam"], "optimizer.learning_rate": [0.01, 1e30], "seed": range(3)}

    def sweep(steps: int) -> jaxgen.Sweep:
        return jaxgen.grid(override(Config(), SMALL | {"train.steps": steps}), axes)

    def content(folder: Path) -> list[list[str]]:
        return [sorted((folder / name).read_text().splitlines()) for name in ("results.csv", "metrics.csv")]

    said: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        began = time.monotonic()
        whole = runs.run(sweep(120), corpus, folder / "whole", width=8, devices=1)
        said["first_run_seconds"] = time.monotonic() - began
        segments = iter(range(99))
        try:
            runs.run(sweep(120), corpus, folder / "stopped", width=8, devices=1, stop=lambda: next(segments) == 2)
        except runs.Interrupted:
            said["interrupted"] = True
        runs.run(sweep(120), corpus, folder / "stopped", width=8, devices=1, resume=True)
        said["goes_on_to_the_same_bytes"] = content(folder / "whole") == content(folder / "stopped")
        runs.run(sweep(240), corpus, folder / "stopped", width=8, devices=1, resume=True)
        runs.run(sweep(240), corpus, folder / "longer", width=8, devices=1)
        said["more_steps_come_to_the_same_bytes"] = content(folder / "longer") == content(folder / "stopped")
        said["rows"], said["diverged"] = len(whole.rows), sum(row.status == "diverged" for row in whole.rows)
        best = jaxgen.load(folder / "whole")
        jaxgen.export(best, folder / "exported")
        mine, theirs = (jaxgen.score(one, ["maria", "kim"]) for one in (best, jaxgen.load(folder / "exported")))
        said["names"], said["an_export_scores_the_same"] = jaxgen.sample(best, 5, seed=1), bool(np.array_equal(mine, theirs))
        said["results_sha256"] = hashlib.sha256((folder / "whole" / "results.csv").read_bytes()).hexdigest()[:16]
    return said


def off(found: Any, wanted: Any) -> float:
    """How far one tree of arrays is from another, by the norm of this one."""
    a, b = (np.concatenate([np.ravel(np.asarray(x, np.float64)) for x in jax.tree.leaves(tree)]) for tree in (found, wanted))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def parity() -> dict[str, Any]:
    """Loss and gradient of a batch, and the losses of a trial of COURSE steps, against float64 on the CPU: at full products, as
    jaxgen trains, and at JAX's own."""
    setting = measure.setting()
    config = override(Config(), {"optimizer.name": "adam", "optimizer.learning_rate": 3e-3, "train.steps": COURSE})
    lowered = optimizers.lower(config, len(setting.data.train.targets))
    host, device = jax.devices("cpu")[0], jax.devices()[0]
    split = jax.device_get(setting.data.train)
    with jax.default_device(host):
        key = trials.stream(0, trials.Stream.START)
        state = jax.device_get(trials.init(setting.functions, lowered, key))
        batches = [jax.device_get(trials.draw(setting.functions, split, lowered, jnp.asarray(i))) for i in range(COURSE)]

    def courses(place: Any, precision: str, kind: Any = np.float32, times: int = 2) -> list[tuple[list[float], Any]]:
        def cast(x: Any) -> Any:
            return jnp.asarray(x, kind if np.issubdtype(np.asarray(x).dtype, np.floating) else None)

        found = []
        with jax.default_device(place), jax.default_matmul_precision(precision):
            step = jax.jit(lambda config, s, batch: trials.update(setting.functions, config, s, batch))
            own = jax.tree.map(cast, lowered)
            for _ in range(times):
                now, losses = jax.tree.map(cast, state), []
                for batch in batches:
                    now, metrics = step(own, now, jax.device_put(batch, place))
                    losses.append(float(metrics["loss"]))
                found.append((losses, jax.device_get(now.params)))
        return found

    with jax.enable_x64(True):
        ((exact, exactly),) = courses(host, "highest", np.float64, times=1)
    said: dict[str, Any] = {}
    for name, place, precision in (("cpu", host, "default"), ("device", device, "highest"), ("device", device, "default")):
        (losses, params), (again, _) = courses(place, precision)
        said[f"{name}_{precision}"] = {
            "loss_off_after": {str(n): abs(losses[n - 1] - exact[n - 1]) for n in (1, 10, COURSE)},
            "parameters_off": off(params, exactly),
            "again_the_same_bits": losses == again,
        }
    return said


@functools.cache
def _setting() -> measure.Setting:
    return measure.setting()


def speed(width: int, repeat: int = 3) -> dict[str, Any]:
    """A segment at a width, all lanes at once on one device: its steps without evaluation, its memory, and its bits."""
    setting, plan = _setting(), Plan(1, width, width)
    sweep = measure.sweep_of(width, {"train.eval_every": STEPS, "train.steps": 100_000})
    group, sharding = measure.group_of(setting, sweep), programs.by_lane(plan)
    run, data = programs.programs(setting.functions, plan), jax.device_put(setting.data, programs.everywhere(plan))

    def columns(steps: int) -> Any:
        found = jax.tree.map(lambda leaf: programs.column(leaf, width), group.traced())
        train = dataclasses.replace(found.train, steps=np.full(width, steps, np.int32))
        return jax.device_put(dataclasses.replace(found, train=train, seed=np.arange(width, dtype=np.int32)), sharding)

    def filled(configs: Any) -> Any:
        empty = jax.device_put(programs.empty(setting.functions, group.traced(), width), sharding)
        return jax.block_until_ready(run.fill(configs, empty, jax.device_put(np.ones(width, bool), sharding)))

    def segment(steps: int) -> tuple[float, Any, Any]:
        configs = columns(steps)
        state = filled(configs)
        began = time.perf_counter()
        state, metrics = jax.block_until_ready(run.segment(configs, state, data))
        return time.perf_counter() - began, state, metrics

    began = time.perf_counter()
    segment(0)
    compiling = time.perf_counter() - began
    evaluation = min(segment(0)[0] for _ in range(repeat))
    taken = [segment(STEPS) for _ in range(repeat)]
    bits = [
        hashlib.sha256(b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves((state.params, metrics)))).hexdigest()
        for _, state, metrics in taken
    ]
    last, configs = taken[-1][1], columns(STEPS)
    seats = programs.finishing_plan(plan, jax.default_backend()).width
    places, used = np.zeros(seats, np.int32), np.arange(seats) == 0
    ends = []
    for _ in range(repeat):
        began = time.perf_counter()
        jax.device_get(run.finish(configs, last, data, *jax.device_put((places, used), sharding)))
        ends.append(time.perf_counter() - began)
    return {
        "us_a_trial_step": 1e6 * (statistics.median(one[0] for one in taken) - evaluation) / (STEPS * width),
        "evaluation_ms": 1e3 * evaluation,
        "one_trial_ends_ms": 1e3 * min(ends[1:]),
        "compiling_seconds": compiling,
        "same_bits_three_times": len(set(bits)) == 1,
        "MB_a_lane": timing.lane_memory(setting.functions, setting.data, group, plan) / 1e6,
    }


def ceilings() -> dict[str, float]:
    """What the device can do at all: bytes a second of a copy, products a second by precision, and what a start costs."""
    accelerated = jax.default_backend() != "cpu"

    def best(function: Callable[..., Any], *given: Any) -> float:
        jax.block_until_ready(function(*given))
        times = []
        for _ in range(5):
            began = time.perf_counter()
            jax.block_until_ready(function(*given))
            times.append(time.perf_counter() - began)
        return min(times)

    large = jax.random.normal(jax.random.key(0), (1 << (27 if accelerated else 22),))
    size = 8192 if accelerated else 512
    square = jax.random.normal(jax.random.key(1), (size, size))
    found = {"copy_GB_a_second": 2 * large.nbytes / best(jax.jit(lambda x: x + 1), large) / 1e9}
    for precision in ("default", "highest"):
        product = jax.jit(lambda x, precision=precision: jnp.dot(x, x, precision=precision))
        found[f"products_{precision}_TFLOP_a_second"] = 2 * size**3 / best(product, square) / 1e12
    found["start_us"] = 1e6 * best(jax.jit(lambda x: x + 1), jnp.zeros(8))
    trips = 1000  # of a loop whose length the compiler does not know
    loop = jax.jit(lambda n, x: jax.lax.fori_loop(0, n, lambda i, x: x * 1.0001 + 1e-6, x))
    found["a_trip_of_a_loop_us"] = 1e6 * best(loop, jnp.asarray(trips), jnp.zeros(1024)) / trips
    return found


def check(out: Path, seconds: float, widths: Sequence[int]) -> dict[str, Any]:
    """All sections, as far as the time reaches; what they found, which `out` has after each of them."""
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    parts: Mapping[str, Callable[[], Any]] = {
        "machine": machine,
        "promises": promises,
        **{f"width_{width}": functools.partial(speed, width) for width in widths[:1]},
        "parity": parity,
        **{f"width_{width}": functools.partial(speed, width) for width in widths[1:]},
        "ceilings": ceilings,
    }
    found: dict[str, Any] = {"seconds": {}}
    for name, part in parts.items():
        began = time.monotonic()
        try:
            found[name] = part() if began < end else "not run: the time was used up"
        except Exception as error:  # of a device that is not known yet, anything
            found[name] = f"FAILED {type(error).__name__}: {error}"[:2000]
            traceback.print_exc()
        found["seconds"][name] = round(time.monotonic() - began, 1)
        print(f"{name}: {json.dumps(found[name])[:1500]}", flush=True)
        (out / "device-check.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


def wrong(found: Mapping[str, Any]) -> list[str]:
    """What does not hold of what was found: sections that failed, promises that are not kept, losses that are off."""
    lines = [f"{name}: {said}" for name, said in found.items() if str(said).startswith("FAILED")]
    kept = {name: said for name, said in found.items() if isinstance(said, dict)}
    lines += [
        f"{name}: {what} is not true"
        for name, said in kept.items()
        for what, value in said.items()
        if value is False or (isinstance(value, dict) and value.get("again_the_same_bits") is False)
    ]
    full = kept.get("parity", {}).get("device_highest", {}).get("loss_off_after", {})
    lines += [f"parity: the loss of step {step} is off by {value}" for step, value in full.items() if not value < 1e-3]
    return lines


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="the folder for device-check.json")
    parser.add_argument("--seconds", type=float, default=math.inf, help="of all sections; the one in progress is ended")
    parser.add_argument("--widths", default="1024,256,4096", help="lanes to time, the first before all else")
    flags = parser.parse_args(given)
    plans.use_every_core()
    lines = wrong(check(flags.out, flags.seconds, [int(width) for width in flags.widths.split(",")]))
    print("\n".join(lines) or "all that was looked at holds")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
