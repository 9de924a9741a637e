"""By Ray, on a cluster of this machine: the bytes of the run alone, whatever becomes of workers, nodes and the head."""

from __future__ import annotations

import importlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, SMALL

import jaxgen
from jaxgen import runs
from jaxgen.machines.by_ray import RayPool
from jaxgen.machines.head import lead
from jaxgen.machines.merging import merge
from jaxgen.machines.orders import order
from jaxgen.machines.parts import Dealt, deal
from jaxgen.runs import Notice
from jaxgen.search.sweep import Sweep
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus

ray: Any = pytest.importorskip("ray", reason="of the extra jaxgen[ray], which weighs 70 MB: pip install '.[ray]' to run these")

AXES: dict[str, Any] = {"optimizer.name": ["sgd", "adam"], "regularizer.l2": [0.0, 1e-3], "seed": range(24)}


@pytest.fixture(scope="module")
def sweep(small: Config) -> Sweep:
    """96 trials."""
    return jaxgen.grid(jaxgen.override(small, {"train.steps": 200, "train.eval_every": 10}), AXES)


@pytest.fixture(scope="module")
def alone(sweep: Sweep, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    runs.run(sweep, corpus, out, width=24, chunk=4)
    return out


class Nodes:
    """A cluster of this machine, whose nodes come and go."""

    def __init__(self, count: int) -> None:
        self._cluster = importlib.import_module("ray.cluster_utils").Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        self.nodes: list[Any] = []
        for _ in range(count):
            self.add()
        self.address = self._cluster.address

    def add(self) -> None:
        self.nodes.append(self._cluster.add_node(num_cpus=1))

    def remove(self) -> None:
        self._cluster.remove_node(self.nodes.pop(0), allow_graceful=False)

    def close(self) -> None:
        ray.shutdown()
        self._cluster.shutdown()


@pytest.fixture
def nodes(request: pytest.FixtureRequest) -> Iterator[Nodes]:
    found = Nodes(request.param)
    yield found
    found.close()


def led(run: Dealt, nodes: Nodes, during: Any = lambda: None) -> list[str]:
    """What is said as a cluster trains a run."""
    said: list[str] = []

    def listener(event: object, results: object) -> None:
        if isinstance(event, Notice):
            said.append(str(event))
        during()

    pool = RayPool(lambda part, folder: order(run, part, folder, "names", chunk=4), nodes.address)
    lead(run, pool, listener, stop=lambda: bool(during()))
    return said


def same_as(alone: Path, run: Dealt) -> None:
    found = merge(run.path)
    assert (found.ended, found.missing) == (96, [])
    assert not [line for line in found.notices if "other bits" in line]
    assert (run.path / "results.csv").read_bytes() == (alone / "results.csv").read_bytes()


def workers() -> list[int]:
    """The processes of Ray's that train a part."""
    found = subprocess.run(["pgrep", "-f", "ray::_trained"], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


@pytest.mark.parametrize("nodes", [2, 3], indirect=True)
def test_eight_parts_by_some_workers(nodes: Nodes, alone: Path, sweep: Sweep, corpus: Corpus, tmp_path: Path) -> None:
    run = deal(sweep, corpus, tmp_path / "run", most=12)
    assert len(run.parts) == 8
    assert led(run, nodes) == [f"8 parts; {len(nodes.nodes) + 1} nodes of Ray, 1 cores a part"]
    same_as(alone, run)


@pytest.mark.long
@pytest.mark.parametrize("nodes", [2], indirect=True)
def test_workers_that_are_killed_at_random_moments(
    nodes: Nodes, alone: Path, sweep: Sweep, corpus: Corpus, tmp_path: Path
) -> None:
    """20 times, over several runs if one ends before."""
    chance, killed, done = random.Random(0), 0, 0
    while killed < 20:
        run = deal(sweep, corpus, tmp_path / f"run-{done}", most=12)
        due = time.monotonic() + chance.uniform(1, 6)

        def kill() -> None:
            nonlocal killed, due
            if time.monotonic() >= due and killed < 20 and (there := workers()):
                os.kill(chance.choice(there), signal.SIGKILL)
                killed += 1
                due = time.monotonic() + chance.uniform(1, 6)

        led(run, nodes, kill)
        same_as(alone, run)
        ray.shutdown()
        done += 1
    print(f"\n{killed} workers killed over {done} runs of 8 parts: the same bytes")


@pytest.mark.long
@pytest.mark.parametrize("nodes", [2], indirect=True)
def test_a_node_goes_and_another_comes(nodes: Nodes, alone: Path, sweep: Sweep, corpus: Corpus, tmp_path: Path) -> None:
    run = deal(sweep, corpus, tmp_path / "run", most=12)
    changed = False

    def change() -> None:
        nonlocal changed
        if not changed and any((run.path / "parts").glob("*/metrics.csv")):
            changed = True
            nodes.add()
            nodes.remove()

    led(run, nodes, change)
    assert changed
    same_as(alone, run)


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_the_head_is_ended_and_started_again(number: int, code: int, corpus: Corpus, tmp_path: Path) -> None:
    """By the command, which starts a cluster of its own; where it can, it lets its workers save."""
    flags = [part for key, value in SMALL.items() for part in (f"--{key}", str(value))]
    line = [sys.executable, "-m", "experiments.sweep", "--data", str(corpus.path), "--grid", "optimizer.name=sgd,adam"]
    line += ["--seeds", "8", *flags, "--train.steps", "4000", "--chunk", "2"]
    by_ray = [*line, "--out", str(tmp_path / "run"), "--ray", "--part-trials", "4"]
    head = subprocess.Popen(by_ray, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not any((tmp_path / "run" / "parts").glob("*/results.csv")):
        time.sleep(0.2)
        assert head.poll() is None
    head.send_signal(number)
    said, _ = head.communicate(timeout=120)
    assert head.returncode == code, said
    assert number == signal.SIGKILL or "stopped; everything is saved in" in said
    assert not [*(tmp_path / "run" / "parts").glob("stop-*")] or number == signal.SIGKILL
    done = subprocess.run(by_ray, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    subprocess.run([*line, "--out", str(tmp_path / "alone")], cwd=ROOT, check=True, capture_output=True)
    assert (tmp_path / "run" / "results.csv").read_bytes() == (tmp_path / "alone" / "results.csv").read_bytes()
