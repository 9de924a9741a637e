"""The check of a device's promises, on the CPU; what it says where something does not hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import device_check
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


@pytest.mark.long
def test_a_cpu_keeps_what_is_looked_at(tmp_path: Path) -> None:
    """In a process of its own, since it chooses devices: two minutes of a processor."""
    line = [sys.executable, str(ROOT / "tools" / "device_check.py"), str(tmp_path), "--widths", "4"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("all that was looked at holds\n")
