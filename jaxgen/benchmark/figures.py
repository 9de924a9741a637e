"""The benchmark's sections and what comes of them: rates of all subjects, and single figures."""

from __future__ import annotations

import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

import jaxgen
from jaxgen.benchmark import measure, peers, rooms, sequences
from jaxgen.benchmark.measure import Clock, Rate, Scale, Setting, seconds
from jaxgen.engine.plan import choose, cores
from jaxgen.fields import override
from jaxgen.search.sweep import grid
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.task import NAMES
from jaxgen.train.trial import Stream, init, stream

SMALL = {"model.hidden": 16, "model.depth": 2, "model.embedding": 4, "train.steps": 20, "train.eval_every": 20}
USED_UP = "not measured: the time was used up"
SHORT = 40  # steps of a short segment, to tell the evaluation's time from the steps'
PEERS = ("eager", "func", "one", "vmap")


@dataclass(frozen=True)
class Figure:
    """One number; its name ends with its unit. None: not measured, and the note says why."""

    name: str
    says: str
    value: float | None
    note: str = ""


@dataclass(frozen=True)
class Report:
    """All that a benchmark found."""

    machine: Mapping[str, Any]
    rates: Mapping[str, Rate]
    figures: tuple[Figure, ...]
    flop_per_trial_step: int
    matmul_flop_per_second: float | None

    def ratios(self, key: str) -> dict[str, float | None]:
        """How many times as fast as each peer a subject is; None where one was not measured or trains another network."""
        own = self._speed(key)
        others = {peer: self.rates[peer].trial_steps_per_second for peer in PEERS}
        return {peer: own / other if own and other else None for peer, other in others.items()}

    def share(self, key: str) -> float | None:
        """A subject's arithmetic rate as a share of the matmul rate, in percent; None as in `ratios`."""
        own = self._speed(key)
        if not own or not self.matmul_flop_per_second:
            return None
        return 100 * own * self.flop_per_trial_step / self.matmul_flop_per_second

    def _speed(self, key: str) -> float | None:
        return None if key.startswith(("hidden", "family")) else self.rates[key].trial_steps_per_second

    def as_json(self) -> str:
        """The report; every name says its unit."""
        rows = [
            {
                **asdict(rate),
                "microseconds_per_trial_step": 1e6 / rate.trial_steps_per_second if rate.trial_steps_per_second else None,
                **{f"times_as_fast_as_{peer}": ratio for peer, ratio in self.ratios(key).items()},
                "share_of_matmul_rate_percent": self.share(key),
            }
            for key, rate in self.rates.items()
        ]
        return json.dumps(
            {
                "machine": dict(self.machine),
                "flop_per_trial_step": self.flop_per_trial_step,
                "matmul_flop_per_second": self.matmul_flop_per_second,
                "rates": rows,
                "figures": {figure.name: figure.value for figure in self.figures},
                "notes": {figure.name: f"{figure.says}. {figure.note}" for figure in self.figures},
            },
            indent=2,
        )


def machine() -> dict[str, Any]:
    """What was measured on."""

    def found(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    versions = {name: found(name) for name in ("jax", "jaxlib", "flax", "optax", "torch")}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "devices": [str(device) for device in jax.devices()],
        "cores_count": cores(),
        "load_at_start_processes": load,  # of other programs: above 0, the times are not the machine's own
        "python": platform.python_version(),
        "versions": versions,
    }


def measured(scale: Scale, clock: Clock, say: Callable[[str], None]) -> Report:
    """Every section, in the order of its weight, as far as the time reaches."""
    about, setting, config = machine(), measure.setting(), Config()
    hand = (config, len(setting.task.vocabulary), jax.device_get(setting.data.train))
    sweep = measure.sweep_of(scale.trials, {"train.steps": scale.steps})
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        most, some = scale.rounds, max(2, scale.rounds // 2)
        halves: list[peers.Subject] = []

        def part(place: int) -> peers.Subject:
            halves.extend(measure.parts_of(setting, sweep) if not halves else ())
            return halves[place]

        def lanes(width: int, changes: dict[str, Any], name: str, note: str = "") -> peers.Subject:
            return measure.lanes(setting, choose(width, width), changes, most + 2, name, note)

        wide = {w: {"train.eval_every": 400 if w <= 128 else 100} for w in scale.widths}
        makers: list[tuple[str, int, int, Callable[[], peers.Subject]]] = [
            ("matmul", 1, most, measure.matmul),
            ("eager", 1, most, measure.torch_or_not(lambda: peers.torch_eager(*hand, 100))),
            ("func", 32, most, measure.torch_or_not(lambda: peers.torch_func(*hand, 32, 10))),
            ("one", 1, most, lambda: peers.jax_one(*hand, 200)),
            ("vmap", 32, most, lambda: peers.vmap_scan(*hand, 32, 50)),
            *(
                (f"width_{w}", w, most if w <= 32 else some, lambda w=w: lanes(w, wide[w], f"jaxgen, width {w}",
                 f"evaluation every {wide[w]['train.eval_every']} steps; chunk {choose(w, w).chunk}"))
                for w in scale.widths
            ),
            ("segments", scale.trials, some, lambda: part(0)),
            ("final", scale.trials, some, lambda: part(1)),
            ("sweep", scale.trials, some, lambda: measure.whole_run(
                setting, sweep, out, f"jaxgen.run, {scale.trials} trials", note=f"{scale.steps} steps, to a folder")),
            ("short", 8, most, lambda: lanes(8, {"train.eval_every": SHORT}, f"width 8, evaluation every {SHORT} steps")),
            *(
                (f"hidden_{h}", 8, most,
                 lambda h=h: lanes(8, {"model.hidden": h, "train.eval_every": 100}, f"jaxgen, width 8, hidden {h}"))
                for h in scale.hidden
            ),
            *(maker for family in scale.families for maker in beside_torch(family, most)),
        ]  # fmt: skip
        soft = Clock(clock.end - 0.35 * clock.left())  # the other sections want some time too
        found = measure.in_turn(makers, scale.rounds, clock, say, soft)
    rates = {key: rate for key, (rate, _) in found.items()}
    params = init(setting.functions, measure.group_of(setting, sweep).static, stream(0, Stream.START)).params
    products = rates.pop("matmul").trial_steps_per_second
    sections = (
        costs(rates, scale),
        families(rates, scale),
        sampling(scale, setting, clock),
        saving(scale, setting, clock),
        diverging(setting, clock),
        memory(scale, clock),
    )
    figures = []
    for section in sections:
        for figure in section:
            say(f"{figure.says}: {figure.note if figure.value is None else f'{figure.value:.3g}'}")
            figures.append(figure)
    own = {key: rate for key, rate in rates.items() if key in PEERS or key.startswith(("width", "sweep", "hidden", "family"))}
    return Report(
        about, own, tuple(figures), measure.flop(params, config.train.batch_size),
        products and products * 2 * measure.MATMUL**3,
    )  # fmt: skip


def beside_torch(family: str, rounds: int) -> list[tuple[str, int, int, Callable[[], peers.Subject]]]:
    """Makers of 16 trials of a family of sequences at makemore's sizes, or of another room's at its own, and of one in PyTorch
    eager."""
    other = rooms.FAMILIES.get(family)
    config = sequences.config_of(family) if other is None else rooms.config_of(family)
    setting = functools.cache(lambda: measure.setting(config, NAMES if other is None else other.task))

    def peer() -> peers.Subject:
        if other is not None:
            return rooms.torch_eager(family, 20)
        return sequences.torch_eager(family, len(setting().task.vocabulary), jax.device_get(setting().data.train), 20)

    def own() -> peers.Subject:
        changes = {"train.eval_every": 100}
        plan = measure.plan_of(setting(), changes, 16)
        return measure.lanes(setting(), plan, changes, rounds + 2, f"jaxgen, 16 of {family}")

    return [(f"family_{family}_eager", 1, rounds, measure.torch_or_not(peer)), (f"family_{family}", 16, rounds, own)]


def families(rates: Mapping[str, Rate], scale: Scale) -> Iterator[Figure]:
    """How many times as fast as PyTorch eager each family of sequences is."""
    for family in scale.families:
        own, other = (rates[key].trial_steps_per_second for key in (f"family_{family}", f"family_{family}_eager"))
        sizes = "its own sizes" if family in rooms.FAMILIES else "makemore's: context 16, width 64, 4 layers, 4 heads"
        note = sizes if own and other else rates[f"family_{family}_eager"].note
        yield Figure(f"{family}_times_as_fast_as_eager", f"16 trials of {family}, times as fast as PyTorch eager",
                     own / other if own and other else None, note)  # fmt: skip


def costs(rates: Mapping[str, Rate], scale: Scale) -> Iterator[Figure]:
    """What evaluation and everything around the segments cost, from the rates."""

    def time_of(key: str, trial_steps: int) -> float | None:
        speed = rates[key].trial_steps_per_second if key in rates else None
        return trial_steps / speed if speed else None

    long, short = time_of("width_8", 400), time_of("short", SHORT)
    share = None
    if long and short:
        step = (long - short) / (400 - SHORT)  # the evaluation is in both
        share = 100 * max(0.0, 1 - 400 * step / long)
    yield Figure("evaluation_share_percent", "evaluation's share of a segment of 400 steps, %", share,
                 f"from segments of 400 and {SHORT} steps at width 8" if share is not None else USED_UP)  # fmt: skip
    total = scale.trials * scale.steps
    whole, pure, final = (time_of(key, total) for key in ("sweep", "segments", "final"))
    known = whole and pure and final
    note = f"{scale.trials} trials of {scale.steps} steps, jaxgen.run to a folder" if known else USED_UP
    yield Figure("run_s", "a whole run, s", whole, note)
    yield Figure("run_segments_s", "its segments alone, s", pure, note)
    yield Figure("run_final_evaluation_s", "its final evaluation over whole splits alone, s", final, note)
    rest = whole - pure - final if whole and pure and final else None
    yield Figure("run_overhead_s", "the rest: engine, folder, cutting windows, s", rest, note)
    default = Config().train.steps
    after = None if rest is None or not pure or not final else 100 * rest / (pure * default / scale.steps + final + rest)
    yield Figure(
        "run_overhead_percent", "the rest's share of this run, %", 100 * rest / whole if rest and whole else None, note
    )
    yield Figure("run_overhead_at_default_percent", f"the same at the default {default} steps, computed, %", after,
                 "segments grow with the steps, the rest counted as fixed" if after is not None else USED_UP)  # fmt: skip
    if rest is not None and pure and final:
        speed = scale.trials * default / (pure * default / scale.steps + final + rest)
        for peer in PEERS:
            other = rates[peer].trial_steps_per_second
            yield Figure(f"run_at_default_times_as_fast_as_{peer}",
                         f"{scale.trials} trials at {default} steps, computed so, times as fast as {rates[peer].name}",
                         speed / other if other else None, "" if other else rates[peer].note)  # fmt: skip


def sampling(scale: Scale, setting: Setting, clock: Clock) -> Iterator[Figure]:
    """Names in one call against one call a name."""
    many, one = f"sampling_{scale.names}_names_s", "sampling_one_at_a_time_names_per_second"
    says = f"sampling {scale.names:,} names in one call, after compilation, s"
    if clock.left() < 10:
        yield Figure(many, says, None, USED_UP)
        return
    config = override(Config(), {"train.steps": 50, "train.eval_every": 50})
    trained = jaxgen.run([config], setting.task).best()
    jaxgen.sample(trained, scale.names)
    jaxgen.sample(trained, 1)
    at_once = statistics.median(seconds(lambda seed=seed: jaxgen.sample(trained, scale.names, seed=seed)) for seed in (1, 2, 3))
    singly = 50 / seconds(lambda: [jaxgen.sample(trained, 1, seed=seed) for seed in range(50)])
    yield Figure(many, says, at_once)
    yield Figure("sampling_names_per_second", "the same, names a second", scale.names / at_once)
    yield Figure(one, "one call a name, names a second", singly, "50 names")
    yield Figure("sampling_speedup_times", "in one call against one at a time, times as fast", scale.names / at_once / singly)


def took(setting: Setting, rates: Sequence[float], seeds: int, out: Path | None = None) -> float:
    """Seconds of a whole run of SGD at the default steps, to a folder or in memory."""
    axes = {"optimizer.name": ["sgd"], "optimizer.learning_rate": rates, "seed": range(seeds)}
    return seconds(measure.whole_run(setting, grid(Config(), axes), out, "SGD").burst)


SOUND, WILD = 0.3, 1e30  # learning rates; at the second one a trial diverges in its first step


def saving(scale: Scale, setting: Setting, clock: Clock) -> Iterator[Figure]:
    """The same sweep to a folder and in memory, in turn, at the default steps: about a minute each at full scale."""
    ratios: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        out, pair, memory = Path(folder) / "run", 140.0, 60.0  # seconds: of a pair, at first a guess; kept for the last section
        if clock.left() > pair + memory:
            took(setting, [WILD], scale.trials, out)  # compiles: all of its trials diverge at once
        while len(ratios) < scale.rounds and clock.left() > pair + memory:
            first, second = (out, None) if len(ratios) % 2 else (None, out)  # a drift of the machine's speed cancels
            times = {place: took(setting, [SOUND], scale.trials, place) for place in (first, second)}
            ratios.append(times[out] / times[None])
            pair = sum(times.values())
    pairs = ", ".join(f"{100 * (ratio - 1):.2f}" for ratio in ratios)
    yield Figure("saving_percent", f"{scale.trials} trials to a folder, what that adds to their time in memory, %",
                 100 * (statistics.median(ratios) - 1) if ratios else None,
                 f"at the default steps; a median, the pairs being {pairs}" if ratios else USED_UP)  # fmt: skip


def diverging(setting: Setting, clock: Clock) -> Iterator[Figure]:
    """Half of the trials diverge in their first step; and how time grows with trials."""
    times: dict[str, float] = {}
    if clock.left() > 180:
        for key, rates, seeds in (("8", [SOUND], 8), ("half", [SOUND, WILD], 32), ("64", [SOUND], 64)):
            for tried in ([WILD] * len(rates), rates):  # the first compiles: all of its trials diverge at once
                times[key] = took(setting, tried, seeds)
    half, whole = times.get("half"), times.get("64")
    note = "at the default width, steps and segments" if whole else USED_UP
    yield Figure("diverging_half_to_all_sound_ratio", "64 trials of which 32 diverge at once, time to that of 64 sound ones",
                 half / whole if half and whole else None, note)  # fmt: skip
    for count in (8, 64):
        time = times.get(str(count))
        yield Figure(f"sweep_of_{count}_trials_s_per_trial", f"{count} trials, s a trial", time and time / count, note)


CHILD = """
import resource, sys, tempfile
from jaxgen.engine.plan import use_every_core
use_every_core()
import jaxgen
from jaxgen.benchmark.figures import SMALL
from jaxgen.fields import override
from jaxgen.tasks.names.config import Config
sweep = jaxgen.grid(override(Config(), SMALL), {"seed": range(int(sys.argv[1]))})
with tempfile.TemporaryDirectory() as folder:
    with open("data/names.txt") as names, open(folder + "/names.txt", "w") as few:
        few.writelines(names.readlines()[:1000])
    jaxgen.run(sweep, jaxgen.load_corpus(folder + "/names.txt"), folder + "/run", width=16)
try:  # Linux hands a process the ru_maxrss of the one that started it; VmHWM is its own
    with open("/proc/self/status") as file:
        print(next(line.split()[1] for line in file if line.startswith("VmHWM")))
except OSError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(trials: int, clock: Clock) -> float | None:
    """Peak resident memory in MB of a process that trains `trials` small trials on 16 lanes; None if it takes too long."""
    line = [sys.executable, "-c", CHILD, str(trials)]
    try:
        child = subprocess.run(line, capture_output=True, text=True, check=True, timeout=max(1.0, clock.left()))
    except subprocess.TimeoutExpired:
        return None
    unit = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss, in bytes or kilobytes
    return int(child.stdout.split()[-1]) / unit


def memory(scale: Scale, clock: Clock) -> Iterator[Figure]:
    """Peak memory at equal width, few trials against many."""
    found = [peak(trials, clock) if clock.left() > 5 else None for trials in (scale.few, scale.many)]
    for trials, value in zip((scale.few, scale.many), found, strict=True):
        yield Figure(f"memory_of_{trials}_trials_mb", f"peak memory, {trials:,} small trials on 16 lanes, MB", value,
                     "a process of its own, run to a folder" if value else USED_UP)  # fmt: skip
    few, many = found
    yield Figure("memory_ratio", "the ratio", many / few if few and many else None, "" if few and many else USED_UP)
