"""Faults, injected everywhere: whatever happens to a run, it goes on to the bits of one to which nothing happened.

A short form runs always; `pytest tests/test_faults.py --long -s` is the long one, and prints its counts.
"""

from __future__ import annotations

import collections
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import faults
import pytest
from conftest import ROOT, bytes_of, same, same_bits
from processes import Commands, Running

import jaxgen
from jaxgen import runs
from jaxgen.engine.lanes import SegmentDone
from jaxgen.fields import UserError
from jaxgen.runs import Interrupted
from jaxgen.storage import folder
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus

AXES = ("--grid", "optimizer.learning_rate=0.01,0.1,1e30", "--grid", "optimizer.name=sgd", "--seeds", "2")
MODEL = ("--model.hidden", "8", "--model.depth", "1", "--model.embedding", "4", "--train.batch_size", "16")
BUDGET = ("--train.steps", "60", "--train.eval_every", "3")
FLAGS = (*AXES, *MODEL, *BUDGET, "--width", "4", "--chunk", "2", "--resume")
EXIT_WITHIN = 10.0  # seconds, after a signal


pytestmark = pytest.mark.usefixtures("compiled_quickly")


@pytest.fixture(scope="module")
def long(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--long"))


class Sweeps:
    """The sweep command on one corpus, again and again."""

    def __init__(self, commands: Commands, tmp: Path) -> None:
        self._commands, self._data, self.reference = commands, tmp / "names.txt", tmp / "reference"
        self.takes = 0.0  # s, of the reference
        names = (ROOT / "data" / "names.txt").read_text(encoding="utf-8").splitlines()[:300]
        self._data.write_text("\n".join(names) + "\n", encoding="utf-8")

    def start(self, out: Path, *flags: str, fault: tuple[str, int, int] = ("", 0, 0)) -> Running:
        return self._commands.start("sweep", *FLAGS, *flags, "--data", self._data, "--out", out, fault=fault)

    def finish(self, out: Path, *flags: str) -> None:
        running = self.start(out, *flags)
        assert running.wait() == 0, running.err


def phase(running: Running, out: Path) -> str:
    """What a command is doing, from what it has said and written."""
    said, metrics = running.out, out / "metrics.csv"
    if "names from trial" in said:
        return "report"
    if " at a time on " not in said:
        return "start"
    return "training" if metrics.exists() and metrics.read_text().count("\n") > 1 else "compiling"


@pytest.fixture(scope="module")
def sweeps(commands: Commands, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Sweeps:
    """With the session's cache, which holds the program of all their runs."""
    tmp = tmp_path_factory.mktemp("faults")
    found = Sweeps(commands, tmp)
    began = time.monotonic()
    if request.config.getoption("--long"):
        found.finish(tmp / "warm")  # fills the cache
        began = time.monotonic()
    found.finish(found.reference)
    found.takes = time.monotonic() - began  # with what it compiled, which those that follow do not
    return found


@pytest.mark.parametrize(
    ("number", "short", "most"), [(signal.SIGKILL, 1, 200), pytest.param(signal.SIGTERM, 1, 100, marks=pytest.mark.long)]
)
def test_ended_by_a_signal_at_any_moment(
    number: signal.Signals, short: int, most: int, sweeps: Sweeps, long: bool, tmp_path: Path
) -> None:
    """Runs that get a signal at a random moment, again and again, until one comes through: its bytes are the reference's."""
    chance = random.Random(0)
    takes = {"": sweeps.takes}  # s
    if long:
        began = time.monotonic()
        sweeps.finish(tmp_path / "compiled", "--no-cache")
        takes["--no-cache"] = time.monotonic() - began
    reference = bytes_of(sweeps.reference)
    phases: collections.Counter[str] = collections.Counter()
    finished, slowest, out = 0, 0.0, tmp_path / "run"
    while sum(phases.values()) < (most if long else short):
        flags = chance.choice(list(takes))  # the long form compiles every other time
        running = sweeps.start(out, *flags.split())
        if running.wait(chance.uniform(0.02, takes[flags])) is None:
            doing, sent = phase(running, out), time.monotonic()
            running.send(number)
            code = running.wait(60)
            slowest = max(slowest, time.monotonic() - sent)
            if code == 0:  # it came through in that very moment
                continue
            expected = (-number,) if number == signal.SIGKILL else (128 + number, -number)  # -: before Python has its handler
            assert code in expected, running.err
            phases[doing] += 1
        else:
            assert running.wait() == 0, running.err
            assert same(bytes_of(out), reference)
            finished += 1
            shutil.rmtree(out)
    sweeps.finish(out)
    assert same(bytes_of(out), reference)
    finished += 1
    assert number == signal.SIGKILL or slowest < EXIT_WITHIN
    print(f"\n{number.name}: {dict(phases)}, {finished} runs came to the same bytes, slowest exit {slowest:.1f} s")


def harm(path: Path, chance: random.Random) -> str:
    """A bit flipped, a tail cut off, or the file removed."""
    content = path.read_bytes()
    what = chance.choice(["flip", "cut", "remove"] if content else ["remove"])
    if what == "flip":
        place = chance.randrange(len(content))
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :])
    elif what == "cut":
        path.write_bytes(content[: chance.randrange(len(content))])
    else:
        path.unlink()
    return what


def test_damage_is_noticed(small: Config, corpus: Corpus, long: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One random harm to a run that was interrupted: what is read is right or refused, and so is what it goes on to."""
    rates = {"optimizer.name": ["sgd"], "optimizer.learning_rate": [1e-2, 0.1, 1e30], "seed": range(2)}
    sweep, chance = jaxgen.grid(small, rates), random.Random(0)
    monkeypatch.setattr(folder, "SHARE", float("inf"))  # a save after each segment

    def go(out: Path, segments: int = 99) -> None:
        left = segments

        def listener(event: object, results: object) -> None:
            nonlocal left
            left -= isinstance(event, SegmentDone)

        runs.run(sweep, corpus, out, width=4, chunk=2, resume=True, listener=listener, stop=lambda: left <= 0)

    go(tmp_path / "reference")
    reference = bytes_of(tmp_path / "reference")
    with pytest.raises(Interrupted):
        go(tmp_path / "begun", 3)
    files = sorted(path.relative_to(tmp_path / "begun") for path in (tmp_path / "begun").rglob("*") if path.is_file())
    counts: collections.Counter[str] = collections.Counter()
    for _ in range(1000 if long else 3):
        out = tmp_path / "run"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(tmp_path / "begun", out)
        name = chance.choice(files)
        what = harm(out / name, chance)
        try:
            results = jaxgen.load_results(out)
            for row in results.rows:
                trained = results.trained(row.trial)
                assert same_bits((trained.params, trained.stats), reference[2][row.trial])
            counts["read"] += 1
        except UserError:
            counts["refused to read"] += 1
        said = None
        try:
            go(out)
        except UserError as error:
            counts["refused to go on"] += 1
            said = str(error)
        else:
            counts["went on to the same bytes"] += 1
            assert same(bytes_of(out), reference), (what, name)
        assert said is None or name.name in said or "no run" in said, (what, name, said)
    print(f"\ndamage: {dict(counts)}, 0 silently wrong")


def test_a_disk_that_fails_at_a_write(library: Path | None, corpus: Corpus, long: bool, tmp_path: Path) -> None:
    """Every call that writes below the run's folder fails once, in the C library: it is refused, and the run goes on."""
    if library is None:
        pytest.skip("needs Linux and a C compiler")
    codes = [str(code) for code in (errno.ENOSPC, errno.EIO)[: 2 if long else 1]]
    line = [sys.executable, faults.__file__, str(tmp_path), corpus.path, "0" if long else "1", *codes]
    child = subprocess.run(line, capture_output=True, text=True, env={**os.environ, "LD_PRELOAD": str(library)}, cwd=ROOT)
    assert child.returncode == 0, child.stderr
    print(f"\n{child.stdout.strip()}")


def test_a_full_disk_is_one_line(sweeps: Sweeps, library: Path | None, tmp_path: Path) -> None:
    """The checkpoint's library says much when a write of its fails; the command says one line."""
    if library is None:
        pytest.skip("needs Linux and a C compiler")
    out = tmp_path / "run"
    running = sweeps.start(out, fault=(str(out), 60, errno.ENOSPC))
    assert running.wait() == 2, running.err
    (said,) = running.err.splitlines()
    assert said.startswith(f"error: cannot write '{out}/checkpoints")
    assert "No space left on device" in said
    assert "--resume" in said
