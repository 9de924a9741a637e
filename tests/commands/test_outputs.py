"""Where what a command says goes: to a stream that was closed, to a full disk, to a reader that has left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from jaxgen.tasks.names.data import Corpus

LATER = pytest.mark.long  # each is a process of its own, which imports everything; what they share writes for all commands
FULL = Path("/dev/full")  # of Linux: each write fails, as on a full disk
SMALL = ("--model.hidden", "4", "--model.depth", "1", "--train.steps", "4", "--train.eval_every", "2", "--train.names", "0")


def shell(line: str) -> tuple[int, str, str]:
    """A shell's line, in which $P is `python -m experiments`, at the repository's root."""
    line = line.replace("$P.", f"{sys.executable} -m experiments.")
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=300, env=os.environ.copy())
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def run(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was begun with its stdout closed: it trains all the same, and no file is printed to."""
    out = tmp_path_factory.mktemp("outputs") / "run"
    names = out.parent / "names.txt"
    names.write_text("\n".join(corpus.names) + "\n", encoding="utf-8")
    code, said, err = shell(f"$P.train --data {names} --out {out} {' '.join(SMALL)} >&-")
    assert (code, said, err) == (0, "", "")
    assert (out / "report.html").exists()
    assert not any(b"trial on" in path.read_bytes() for path in out.rglob("*") if path.is_file() and path.suffix != ".html")
    return out


@pytest.mark.parametrize(
    "command", ["sample", *(pytest.param(one, marks=LATER) for one in ("score --names data/names.txt", "predict"))]
)
def test_an_answer_wants_a_stdout(command: str, run: Path) -> None:
    name, _, rest = command.partition(" ")
    code, said, err = shell(f"$P.{name} {run} {rest} >&-")
    assert (code, said) == (2, "")
    assert err == "error: stdout is closed, and what this command answers goes there; leave it open, or send it to a file\n"


@pytest.mark.skipif(not FULL.exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize(
    "line",
    [
        "$P.sample --help",
        *(pytest.param(one, marks=LATER) for one in ("$P.sample {run}", "$P.sweep --list", "$P.export {run} {run}-trial")),
    ],
)
def test_a_full_disk_is_one_line(line: str, run: Path) -> None:
    code, _, err = shell(f"{line.format(run=run)} > /dev/full")
    assert code == 2
    assert err == "error: No space left on device; see to it, then go on with --resume\n"


@pytest.mark.skipif(not FULL.exists(), reason="needs Linux's /dev/full")
def test_nothing_can_be_said_of_what_cannot_be_said() -> None:
    for end in ("2> /dev/full", "2>&-", "> /dev/full 2> /dev/full", ">&- 2>&-"):
        code, said, err = shell(f"$P.sweep nowhere {end}")
        assert (code, said, err) == (2, "", ""), end


def test_a_reader_may_leave(run: Path) -> None:
    code, said, err = shell(f"set -o pipefail; $P.sample {run} --count 12000 | head -n 1")
    assert (code, len(said.splitlines()), err) == (1, 1, "")
