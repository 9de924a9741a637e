"""How lanes lie on the devices: what is measured, what is believed, and what is done where memory runs out."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from conftest import ROOT, SMALL
from hypothesis import given
from hypothesis import strategies as st

import jaxgen
from jaxgen import runs
from jaxgen.engine import lanes as engine
from jaxgen.engine import plan, timing
from jaxgen.engine.plan import Lanes, Plan, Planned, candidates, choose, fit, fitting, halved, measure
from jaxgen.engine.programs import Data, state_shape
from jaxgen.fields import UserError
from jaxgen.job import prepared
from jaxgen.search.sweep import Group, seeds
from jaxgen.storage import cache
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus
from jaxgen.tasks.names.task import Names
from jaxgen.train.functions import Functions

PLANS = [Plan(2, 64, 4), Plan(2, 64, 2), Plan(2, 64, 8)]


def test_plan_covers_the_trials_and_no_more_than_a_chunk_each() -> None:
    for trials in range(1, 200):
        for found in candidates(trials):
            assert found.width % (found.devices * found.chunk) == 0
            assert found.width >= min(trials, 64)
            assert found.width < min(trials, 64) + found.devices * found.chunk
    assert choose(100, width=6).width == 6


def test_a_plan_keeps_to_what_is_wished() -> None:
    assert candidates(100, lanes=Lanes(width=12, chunk=3, devices=1)) == [Plan(1, 12, 3)]
    assert {p.devices for p in candidates(100, lanes=Lanes(devices=1))} == {1}
    assert len(candidates(100)) == len(set(candidates(100))) > 3
    assert candidates(1) == [Plan(1, 1, 1)]


@pytest.mark.parametrize(
    ("lanes", "said"), [(Lanes(width=0), "width is 0"), (Lanes(chunk=-1), "chunk"), (Lanes(devices=3), "there are 2")]
)
def test_what_no_plan_can_keep_to_is_refused(lanes: Lanes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        candidates(10, lanes=lanes)


@given(st.integers(1, 40_000))
def test_an_accelerators_lanes_are_not_left_empty(trials: int) -> None:
    """As few rounds as there must be, and in each as many trials: 1,025 are not 1,024 and one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        found = candidates(trials, lanes=Lanes(devices=1))
        assert candidates(trials, lanes=Lanes(width=100, devices=1))[0].width == min(100, trials)
    for one in found:
        rounds = -(-trials // one.width)
        assert 0 <= rounds * one.width - trials < rounds
    assert found[0].width == (trials if trials <= 1024 else -(-trials // -(-trials // 1024)))


def test_what_a_lane_takes_decides_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of the narrowest plan, and only where it might matter."""
    plans, asked = [Plan(1, 1024, 1024), Plan(1, 4096, 4096), Plan(1, 64, 64)], list[Plan]()

    def lane_memory(plan: Plan) -> float:
        asked.append(plan)
        return 33e6

    monkeypatch.setattr("jaxgen.engine.plan._memory", lambda: 80e9)
    assert fitting(plans, 3_300_000, 0, lane_memory) == plans  # on a CPU
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    assert fitting(plans[1:2], 3_300_000, 0, lane_memory) == plans[1:2]  # no choice
    assert fitting(plans, 200_000, 0, lane_memory) == plans
    assert asked == []
    assert fitting(plans, 3_300_000, 0, lane_memory) == [plans[0], plans[2]]
    assert asked == [plans[2]]
    assert fitting(plans, 3_300_000, 79_000_000_000, lane_memory) == [plans[2]]
    assert fitting(plans, 3_300_000, 0, lambda plan: math.inf) == [plans[2]]


@pytest.mark.long  # it compiles two programs for a figure; what is planned with it is tried above
def test_a_lanes_memory_is_that_of_the_program(small: Config, corpus: Corpus) -> None:
    """At least what a state takes; twice the lanes take twice as much."""
    job = prepared(seeds(small, 8), Names(corpus))
    (group,) = job.groups
    state = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state_shape(job.functions, group.traced(), 1)))
    few, many = (timing.lane_memory(job.functions, job.data(group), group, Plan(1, width, width)) for width in (4, 8))
    assert few > state
    assert many > state
    assert many == pytest.approx(few, rel=0.1)


def test_a_state_has_to_fit_the_memory_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxgen.engine.plan._memory", lambda: 1000.0)
    assert candidates(1, lane_bytes=500) == [Plan(1, 1, 1)]
    with pytest.raises(UserError, match=r"takes 5\.01e-07 GB and lies 2 times in memory"):
        candidates(1, lane_bytes=501)


def test_a_stored_plan_fits_the_devices_that_there_are() -> None:
    assert fit(Plan(2, 12, 3)) == Plan(2, 12, 3)
    assert fit(Plan(8, 24, 3)) == Plan(2, 24, 3)
    assert fit(Plan(3, 9, 3)) == Plan(1, 9, 3)


class Stopwatch:
    """Measures plans at set speeds, and a clock that says measuring one takes ten seconds."""

    def __init__(self, speeds: list[float]) -> None:
        self.speeds, self.now, self.asked = dict(zip(PLANS, speeds, strict=True)), 0.0, []

    def __call__(self, which: Plan) -> float:
        self.now += 10.0
        self.asked.append(which)
        return self.speeds[which]

    def measured(self, work: int, known: plan.Seconds | None = None) -> Planned:
        return measure(PLANS, self, work, known or {}, clock=lambda: self.now)


def test_the_fastest_plan_is_taken_and_a_tie_goes_to_the_believed_one() -> None:
    long = 10**9  # trial-steps
    assert Stopwatch([3e-4, 2e-4, 1e-4]).measured(long).plan == PLANS[2]
    assert Stopwatch([3e-4, 2.95e-4, 5e-4]).measured(long).plan == PLANS[0]
    assert Stopwatch([math.inf, 2e-4, 5e-4]).measured(long).plan == PLANS[1]


@pytest.mark.parametrize(("seconds", "asked"), [(50, 1), (150, 1), (250, 2), (350, 3)])
def test_measuring_takes_a_tenth_of_the_time_at_most(seconds: float, asked: int) -> None:
    watch = Stopwatch([1e-3] * 3)
    watch.measured(int(seconds / 1e-3))
    assert watch.asked == PLANS[:asked]


def test_what_is_known_is_not_measured_again() -> None:
    watch = Stopwatch([1e-3] * 3)
    assert watch.measured(1, {PLANS[1]: 5e-4}).plan == PLANS[1]
    assert watch.asked == []
    assert watch.measured(10**9, {PLANS[1]: 5e-4}).measured == {PLANS[0]: 1e-3, PLANS[1]: 5e-4, PLANS[2]: 1e-3}


def test_a_plan_says_what_was_measured() -> None:
    assert str(Planned(PLANS[0], {PLANS[0]: 2e-4, PLANS[1]: 3e-4})) == ("64 networks at a time on 2 cores (0.2 ms a step)")
    assert str(Planned(Plan(1, 1, 1), {})) == "1 network at a time on 1 core"
    assert (
        str(Planned(Plan(1, 3, 1), {PLANS[0]: 2e-4}, where="program 2 of 3"))
        == "program 2 of 3: 3 networks at a time on 1 core"
    )
    there = "64 networks at a time on 2 cores"
    assert str(Planned(PLANS[0], {PLANS[0]: math.inf})) == there
    assert str(Planned(PLANS[0], {PLANS[0]: 2e-4}, instead=PLANS[1])) == (
        f"{there} (4 at once on each); the run began with {there} (2 at once on each), so that its last bits may differ"
    )


@given(st.integers(1, 8), st.integers(1, 64), st.integers(1, 64))
def test_halving_ends_at_a_lane_a_device(devices: int, chunks: int, chunk: int) -> None:
    wide = Plan(devices, devices * chunks * chunk, chunk)
    for _ in range(13):
        if wide.width == wide.devices:
            break
        narrow = halved(wide)
        assert narrow.width <= wide.width / 2
        assert narrow.width >= wide.width / 4
        assert narrow.width % (narrow.devices * narrow.chunk) == 0
        wide = narrow
    with pytest.raises(UserError, match="out of memory"):
        halved(wide)


@pytest.mark.usefixtures("compiled_quickly")
def test_a_plan_that_does_not_fit_the_memory_is_halved(
    small: Config, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device's refusal is made up, because a test cannot use up a machine's memory."""
    sweep = jaxgen.grid(small, {"optimizer.learning_rate": [1e-3, 1e-2, 1e-1, 0.3]})
    wanted = runs.run(sweep, corpus, width=2, chunk=1)
    train, said = engine.train, []

    def narrow(task: Functions, data: Data, group: Group, plan: Plan, *rest: object) -> object:
        if plan.width > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
        return train(task, data, group, plan, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(engine, "train", narrow)
    found = runs.run(
        sweep,
        corpus,
        tmp_path / "run",
        width=4,
        chunk=1,
        listener=lambda event, _: said.append(event) if isinstance(event, Planned) else None,
    )
    assert [p.plan.width for p in said] == [4, 2]
    assert found.results_csv() == wanted.results_csv()
    assert '"width": 2' in (tmp_path / "run" / "config.json").read_text()


def test_the_cache_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache.private_folder()
    assert folder is not None
    assert folder == tmp_path / "jaxgen"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o770)
    assert cache.private_folder() is None
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    assert cache.private_folder() is None
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert cache.private_folder() is None


def test_the_cache_remembers_what_was_measured_and_survives_damage(tmp_path: Path) -> None:
    measured = {PLANS[0]: 2e-4, PLANS[1]: math.inf}
    cache.learn(tmp_path, "a", measured)
    cache.learn(tmp_path, "b", {PLANS[2]: 1e-4})
    assert cache.known(tmp_path, "a") == measured
    assert cache.known(tmp_path, "c") == {}
    assert cache.known(None, "a") == {}
    for damaged in (
        '{"a": [[1, "x"]]}', "{", "[" * 100_000, '{"a": ' + "[" * 100_000, '{"a": [[1e999, 2, 2, 1]]}', '{"a": [[0, 2, 2, 1]]}',
        '{"a": [[1, 3, 2, 1]]}', '{"a": [[1, 2, 2, NaN]]}', '{"a": [[1, 2, 2, -1]]}', '{"a": 5}', '{"a": {"b": 1}}', "\0",
    ):  # fmt: skip
        (tmp_path / cache.PLANS).write_text(damaged)
        assert cache.known(tmp_path, "a") == {}, damaged[:30]
    (tmp_path / cache.PLANS).unlink()
    os.mkfifo(tmp_path / cache.PLANS)
    assert cache.known(tmp_path, "a") == {}


def test_kept_programs_have_a_limit_and_the_least_lately_used_go(tmp_path: Path) -> None:
    programs = tmp_path / cache.PROGRAMS
    cache.forget(tmp_path)  # there is none yet
    programs.mkdir()
    for place, name in enumerate("cadb"):
        (programs / name).write_bytes(bytes(100))
        os.utime(programs / name, (1000 + place, 1000))
    for most, left in ((400, "abcd"), (399, "abd"), (250, "bd"), (0, "")):
        cache.forget(tmp_path, most)
        assert sorted(path.name for path in programs.iterdir()) == [*left]


DAMAGED = """
import sys, pathlib
import jax, jax.numpy as jnp
from jaxgen.storage import cache
folder = pathlib.Path(sys.argv[1])
cache.keep_programs(folder)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
with cache.mending(folder, print):
    for power in (2, 3):
        assert float(jax.jit(lambda x: (x ** power).sum())(jnp.arange(3.0))) == 1 + 2 ** power
"""


def test_damaged_programs_are_removed_and_said_in_a_line(tmp_path: Path) -> None:
    """One with a bit flipped, one cut, one empty."""

    def said() -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", DAMAGED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout, done.stderr

    assert said() == ("", "")
    kept = {path: path.read_bytes() for path in sorted((tmp_path / cache.PROGRAMS).iterdir())}
    harms = itertools.cycle([lambda x: bytes([x[0] ^ 1]) + x[1:], lambda x: x[: len(x) // 2], lambda x: b""])
    bad = {path: harm(content) for (path, content), harm in zip(kept.items(), harms, strict=False)}
    assert len(bad) > 2
    for path, content in bad.items():
        path.write_bytes(content)
    (line, err) = said()
    assert (line.count("\n"), err) == (1, "")
    assert line.startswith(f"a compiled program that was kept in {tmp_path} is damaged; it was removed")
    assert said() == ("", "")
    assert {*(tmp_path / cache.PROGRAMS).iterdir()} == {*kept}
    assert not [path for path in bad if path.read_bytes() == bad[path]]


EIGHT = """
import sys
import jaxgen, jax
from jaxgen import runs
from jaxgen.engine import plan, timing
assert jax.local_device_count() == 8
plan.CPU_OPTIONS = plan.RARE  # as `compiled_quickly` has it
base = jaxgen.override(jaxgen.Config(), eval(sys.argv[2]))
sweep = jaxgen.seeds(jaxgen.grid(base, {"optimizer.name": ["sgd", "adam"]}), 8)
for devices in (1, 8):
    print(runs.run(sweep, jaxgen.load_corpus(sys.argv[1]), width=16, chunk=2, devices=devices).results_csv(), end="END")
"""


@pytest.mark.long  # `test_engine.py` has one device and two
def test_one_and_eight_devices_agree(corpus: Corpus) -> None:
    """In a process of its own, whose CPU counts as eight devices."""
    line = [sys.executable, "-c", EIGHT, str(corpus.path), repr(SMALL)]
    done = subprocess.run(
        line, cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "JAX_NUM_CPU_DEVICES": "8"}
    )
    tables = [[line.split(",") for line in table.splitlines()] for table in done.stdout.split("END")[:2]]
    assert len(tables[0]) == 1 + 16
    for table in tables[1:]:
        for row, wanted in zip(table, tables[0], strict=True):
            assert row[:-3] == wanted[:-3]
            if wanted[0] != "trial":
                assert [float(x) for x in row[-3:]] == pytest.approx([float(x) for x in wanted[-3:]], rel=2e-5)
