"""A run as people start it: on every core, seen as it trains, with a report at its end."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from invented import EVIL, large, verdict

import jaxgen
from jaxgen.engine.lanes import Ended, Evaluated, Position, SegmentDone
from jaxgen.fields import override
from jaxgen.report.live import Cell, in_notebook
from jaxgen.runs import Notice
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus
from jaxgen.train.trial import Status

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def test_it_is_seen_and_reported(small: Config, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, so that what a program prints stays its own; names may come as they are."""
    results = jaxgen.run(jaxgen.seeds(small, 2), list(corpus.names), tmp_path / "seen")
    out, err = capsys.readouterr()
    assert out == ""
    assert "networks at a time" in err
    assert "2 of 2 trials ended" in err
    assert f"open {tmp_path / 'seen' / 'report.html'}" in err.replace("\n", "")
    assert (tmp_path / "seen" / "report.html").exists()
    again = jaxgen.run(jaxgen.seeds(small, 2), corpus, tmp_path / "silent", progress=False, report=False)
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "silent" / "report.html").exists()
    assert [row.metrics for row in again.rows] == [row.metrics for row in results.rows]


USED = "import jax.numpy as jnp; jnp.zeros(1).block_until_ready()"


@pytest.mark.parametrize(
    ("before", "devices", "said"), [pytest.param("pass", 2, False, marks=pytest.mark.long), (USED, 1, True)]
)
def test_every_core_is_a_device(before: str, devices: int, said: bool, tmp_path: Path) -> None:
    """Where JAX has not been used; where it has, it is said that this is too late."""
    lines = f"""
import os
os.sched_getaffinity = lambda _: {{0, 1}}  # two cores, wherever this runs
{before}
import jax
from jaxgen.training import begin
kept, said = begin(cache=True)
print(jax.local_device_count(), len(said), kept is not None, jax.config.jax_compilation_cache_dir)
"""
    found = {key: value for key, value in os.environ.items() if key not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    home = found | {"XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    run = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, env=home, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(devices), str(int(said)), "True", str(tmp_path / "jaxgen" / "programs")]


def test_a_notebook_is_told_by_one_output(small: Config) -> None:
    """How far it is, the best settings so far, and the verdict at the end; whatever a task says stays text."""
    assert not in_notebook()
    cell, results = Cell(), jaxgen.Results(jaxgen.grid(override(small, {"train.steps": 40}), {"seed": range(2)}))
    assert cell.page() == "<p>compiling ...</p>"
    told: list[Any] = []

    class Seen:
        def update(self, html: Any) -> None:
            told.append(html)

    cell._handle = Seen()  # IPython need not be there

    def happened(event: Any) -> str:
        cell._draw = float("inf")  # nothing is drawn: `page` is what would be
        cell(event, results)
        return cell.page()

    page = happened(Notice(EVIL))
    assert "0 of 80 steps" in page
    assert EVIL not in page
    for trial in range(2):
        page = happened(Evaluated(trial, 20, {"val_loss": 2.0}))
    state: Any = "the lanes' arrays, which nobody here looks at"
    page = happened(SegmentDone(Position(0, 2, (0, 1), state)))
    assert '<progress value="40" max="80">' in page
    cell.glimpsed(EVIL)
    assert EVIL not in cell.page()
    page = happened(Ended(0, Status.STOPPED, 30, 20, {}, None, None))
    assert "50 of 70 steps" in page
    assert not told


def test_at_its_end_a_notebook_has_the_verdict() -> None:
    results = large()
    ends = [len(results.rows) - 1, len(results.rows)]
    for rows in ends:
        cell, now = Cell(), dataclasses.replace(results, rows=results.rows[:rows], verdict=verdict)
        cell._draw = float("inf")
        cell(Notice("a run"), now)
        assert ("a $x_1$ too" in cell.page()) == (rows == len(results.sweep))
