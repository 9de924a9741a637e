"""The check of a device's promises, on the CPU; what it says where something does not hold."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import device_check
import lacking
import pytest
from conftest import ROOT

GOOD: dict[str, Any] = {
    "promises": {"goes_on_to_the_same_bytes": True, "rows": 12},
    "parity": {"device_highest": {"loss_off_after": {"1": 1e-7, "100": 1e-5}, "again_the_same_bits": True}},
    "width_64": {"us_a_trial_step": 1.0, "same_bits_three_times": True},
    "ceilings": "not run: the time was used up",
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"width_64": "FAILED XlaRuntimeError: no"}, ["width_64: FAILED XlaRuntimeError: no"]),
        ({"promises": {"goes_on_to_the_same_bytes": False}}, ["promises: goes_on_to_the_same_bytes is not true"]),
        ({"width_64": {"same_bits_three_times": False}}, ["width_64: same_bits_three_times is not true"]),
        (
            {"parity": {"device_highest": {"loss_off_after": {"10": 0.02}, "again_the_same_bits": False}}},
            ["parity: device_highest is not true", "parity: the loss of step 10 is off by 0.02"],
        ),
        (
            {"parity": {"device_highest": {"loss_off_after": {"1": float("nan")}}}},
            ["parity: the loss of step 1 is off by nan"],
        ),
    ],
)
def test_what_does_not_hold_is_said(change: dict[str, Any], said: list[str]) -> None:
    assert device_check.wrong(GOOD | change) == said


def test_wheels_are_those_that_are_asked_for_and_not_there(tmp_path: Path) -> None:
    """Of a needs b>=2 and c, b needs d: c is there, b too old, d neither there nor brought along."""
    for name, needs in (("a", ["b>=2", "c", 'e; extra == "more"']), ("b", ["d>1"]), ("c", [])):
        with zipfile.ZipFile(tmp_path / f"{name}-2.0-py3-none-any.whl", "w") as archive:
            said = "".join(f"Requires-Dist: {need}\n" for need in needs)
            archive.writestr(f"{name}-2.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\n{said}")
    wheels = {path.name[0]: ("2.0", path) for path in tmp_path.glob("*.whl")}
    there: dict[str, tuple[str, list[str]]] = {"b": ("1.0", []), "c": ("3.0", ["f"]), "f": ("1", [])}
    found, missing = lacking.lacking(["a", "a>=1"], wheels, there.get)
    assert [path.name[0] for path in found] == ["a", "b"]
    assert missing == ["d>1 (for b; there: None)"]
    assert lacking.lacking(["c<3", "b<1"], wheels, there.get) == ([wheels["c"][1]], ["b<1 (for jaxgen; there: 1.0)"])


@pytest.mark.long
def test_a_cpu_keeps_what_is_looked_at(tmp_path: Path) -> None:
    """In a process of its own, since it chooses devices: two minutes of a processor."""
    line = [sys.executable, str(ROOT / "tools" / "device_check.py"), str(tmp_path), "--widths", "4"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("all that was looked at holds\n")
