"""A command in a process of its own that was forked from one with everything imported; armed to fail at a write if wished."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence


def child(args: Sequence[str], log: str, folder: str = "", at: int = 0, error: int = 0) -> None:
    """Runs the sweep command. stdout and stderr go to `log`; where `folder` is given, the library of faults is armed."""
    held = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(held, 1)
    os.dup2(held, 2)
    sys.argv = ["sweep", *args]
    from experiments import cli, sweep

    faults = None
    if folder:
        faults = ctypes.CDLL(None)
        faults.fault_arm(folder.encode(), at, error)
    try:
        cli.main(sweep.command)
    finally:
        if faults is not None:
            count = faults.fault_count()
            faults.fault_arm(b"", 0, 0)
            print(f"writes: {count}", flush=True)
