"""The head of a run that others train: whatever becomes of its workers, each part ends once, or it is said why it cannot."""

from __future__ import annotations

import heapq
import itertools
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import jaxgen
from jaxgen.engine.lanes import Ended, Evaluated, SegmentDone
from jaxgen.fields import UserError
from jaxgen.machines import head
from jaxgen.machines import parts as dealing
from jaxgen.machines.by_ray import alone, asked, packed, unpacked
from jaxgen.machines.head import Done, lead
from jaxgen.machines.merging import merge
from jaxgen.machines.orders import order, train
from jaxgen.machines.parts import Dealt, Part, deal
from jaxgen.runs import Interrupted, Notice
from jaxgen.storage.lock import Lock
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus

pytestmark = pytest.mark.usefixtures("compiled_quickly")


class Here:
    """A pool of this process alone.

    Args:
      dies: says when a worker does: after so many segments and one more; None: not.
      never: what becomes of a part as often as it is given, without a segment.
    """

    def __init__(
        self,
        run: Dealt,
        dies: Callable[[Part], int | None] = lambda part: None,
        never: Mapping[int, Done] = MappingProxyType({}),
    ) -> None:
        self._run, self._dies, self._never, self.given, self._done = run, dies, never, list[int](), list[Done]()
        self.stopped = False

    def give(self, part: Part, folder: Path) -> None:
        self.given.append(part.number)
        self._done.append(self._train(part, folder))

    def _train(self, part: Part, folder: Path) -> Done:
        if part.number in self._never:
            return self._never[part.number]
        left, asked = self._dies(part), itertools.count(1)
        try:
            told = order(self._run, part, folder, chunk=2)
            train(told, stop=lambda: left is not None and next(asked) > left)
        except Interrupted:
            return Done(part, died="killed")
        except UserError as error:
            return Done(part, failed=str(error))
        return Done(part)

    def ended(self, seconds: float) -> Sequence[Done]:
        found, self._done = self._done, []
        return found

    def workers(self) -> str:
        return "1 worker"

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def run(small: Config, corpus: Corpus, tmp_path: Path) -> Dealt:
    return deal(jaxgen.seeds(small, 6), corpus, tmp_path / "run", most=2)


def test_workers_that_die_are_followed_by_others_and_what_has_ended_is_left(run: Dealt, tmp_path: Path) -> None:
    told: list[Any] = []
    deaths = Counter({0: 2, 1: 1})

    def dies(part: Part) -> int | None:
        deaths[part.number] -= 1
        return 0 if deaths[part.number] >= 0 else None

    pool = Here(run, dies)
    lead(run, pool, lambda event, results: told.append((event, len(results.rows))))
    assert Counter(pool.given) == {0: 3, 1: 2, 2: 1}
    said = [str(event) for event, _ in told if isinstance(event, Notice)]
    assert said[0] == "3 parts; 1 worker"
    assert said.count("the worker of part 0 died (killed); it goes on from its last save") == 2
    # Of the whole run, and each trial once.
    assert sorted(event.trial for event, _ in told if isinstance(event, Ended)) == [*range(6)]
    steps = Counter((event.trial, event.step) for event, _ in told if isinstance(event, Evaluated))
    assert steps == dict.fromkeys(itertools.product(range(6), (20, 40)), 1)
    assert told[-1][1] == 6
    assert any(isinstance(event, SegmentDone) for event, _ in told)
    found = merge(run.path)
    assert (found.ended, found.missing, found.notices) == (6, [], [])
    again = Here(run)
    lead(run, again)
    assert again.given == []
    shutil.rmtree(dealing.place(run.path, 1))
    lead(run, again)
    assert again.given == [1]


def test_a_part_whose_workers_all_die_is_given_up_and_the_others_are_not(run: Dealt) -> None:
    pool = Here(run, never={1: Done(run.parts[1], died="killed")})
    with pytest.raises(UserError, match="1 of 3 parts could not be trained: part 1: 5 workers died in a row without a"):
        lead(run, pool)
    assert Counter(pool.given) == {0: 1, 1: head.DEATHS, 2: 1}
    assert merge(run.path).missing == ["part 1 (trials 2-3) is not there"]


def test_a_part_that_is_refused_is_said_at_the_end(run: Dealt) -> None:
    pool = Here(run, never={0: Done(run.parts[0], failed="no such rows")})
    with pytest.raises(UserError, match="part 0: no such rows"):
        lead(run, pool)
    assert dealing.ended(run.path, run.parts[2])


def test_a_head_that_is_asked_to_stop_lets_its_workers_save(run: Dealt) -> None:
    pool = Here(run, lambda part: 1)
    with pytest.raises(Interrupted):
        lead(run, pool, stop=lambda: True)
    assert pool.stopped


def test_a_part_that_another_worker_still_trains_is_trained_beside_it(run: Dealt) -> None:
    train(order(run, run.parts[0], chunk=2))
    shutil.rmtree(dealing.place(run.path, 0) / "checkpoints")
    lock = Lock(dealing.place(run.path, 0))
    lead(run, Here(run))
    lock.release()
    assert dealing.attempts(run.path, 0)[-1].name == "00000-2"
    assert merge(run.path).ended == 6


class Simulated:
    """Workers that wait in place of training, on a clock of their own: some die now and then, and say so late."""

    def __init__(self, workers: int, hourly: float, seed: int = 0) -> None:
        self._chance, self._hourly = random.Random(seed), hourly
        self._free, self._queue = workers, list[Part]()
        self._running: list[tuple[float, int, Part, bool]] = []
        self.now, self._count = 0.0, itertools.count()
        self.ends, self.deaths = Counter[int](), 0

    def clock(self) -> float:
        return self.now

    def give(self, part: Part, folder: Path) -> None:
        self._queue.append(part)
        self._start()

    def _start(self) -> None:
        while self._free and self._queue:
            part = self._queue.pop(0)
            takes = self._chance.uniform(300, 900)  # s
            dies = self._chance.expovariate(self._hourly / 3600) if self._hourly else float("inf")
            heapq.heappush(self._running, (self.now + min(takes, dies), next(self._count), part, dies < takes))
            self._free -= 1

    def ended(self, seconds: float) -> Sequence[Done]:
        done = []
        if self._running:
            self.now = max(self.now, self._running[0][0])
        while self._running and self._running[0][0] <= self.now:
            _, _, part, died = heapq.heappop(self._running)
            self._free += 1
            self.deaths += died
            self.ends[part.number] += not died
            done.append(Done(part, died="gone" if died else ""))
        self._start()
        return done

    def workers(self) -> str:
        return "many"

    def stop(self) -> None:
        raise AssertionError


@pytest.mark.parametrize(("workers", "trials"), [(100, 2000), pytest.param(1000, 100_000, marks=pytest.mark.long)])
def test_a_thousand_workers(workers: int, trials: int, small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """Nothing is lost and nothing twice where 2% of the workers die in an hour. `-s` shows what a part costs the head."""
    run = deal(jaxgen.seeds(small, trials), corpus, tmp_path / "run", most=10)
    pool = Simulated(workers, hourly=0.02)
    began = time.perf_counter()
    lead(run, pool, clock=pool.clock, looks=False)
    each = (time.perf_counter() - began) / len(run.parts)
    assert pool.ends == dict.fromkeys(range(len(run.parts)), 1)
    print(f"\n{workers} workers, {len(run.parts)} parts, {pool.deaths} deaths: {1e3 * each:.2f} ms of the head a part")


@pytest.mark.parametrize(
    ("nodes", "wanted"),
    [
        ([{"CPU": 4.0}, {"CPU": 8.0}], {"num_cpus": 4.0}),
        ([{"CPU": 4.0, "GPU": 8.0}, {"CPU": 8.0}], {"num_gpus": 1}),
        ([{"CPU": 4.0, "TPU": 4.0}, {"CPU": 4.0, "TPU": 4.0}], {"resources": {"TPU": 4.0}}),
        ([{"memory": 1.0}], {"num_cpus": 1}),
    ],
)
def test_a_part_asks_for_what_a_cluster_has(nodes: list[dict[str, float]], wanted: dict[str, Any]) -> None:
    assert asked(nodes) == {"num_cpus": 0, "num_gpus": 0, "resources": {"TPU": 0}} | wanted


def test_where_the_folder_is_not_seen_a_part_travels_back(run: Dealt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One of them twice, over what a worker left that died."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for number in (0, 1, 1):
        part = run.parts[number]
        told = alone(order(run, part, chunk=2), "the sum of another machine's file")
        assert told.folder.is_relative_to(tmp_path)
        assert not told.folder.is_relative_to(run.path)
        train(told)
        unpacked(packed(told.folder), dealing.place(run.path, number))
    assert merge(run.path).ended == 4
