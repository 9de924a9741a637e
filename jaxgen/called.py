"""How the package's commands are called, in the way in which this process was."""

from __future__ import annotations

import os
import sys


def called(command: str) -> str:
    """A command with its flags as a line to type: `jaxgen ...` where this process is that, else `python -m experiments....`."""
    return f"jaxgen {command}" if os.path.basename(sys.argv[0]) == "jaxgen" else f"python -m experiments.{command}"
