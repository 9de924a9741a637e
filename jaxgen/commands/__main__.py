"""`jaxgen COMMAND`: the same as `python -m experiments.COMMAND`, from any folder."""

from __future__ import annotations

import importlib
import sys

from jaxgen.commands.cli import fail, main

COMMANDS = {
    "sweep": "train many configurations side by side and say which wins",
    "train": "train one",
    "sample": "make new names, or whatever else a run's task makes",
    "predict": "say what a run's trial makes of inputs",
    "score": "say how likely a run's trial finds names",
    "merge": "join the parts of a run that several machines trained",
    "export": "write one trial as a small folder",
    "report": "write a run's report again",
    "benchmark": "measure this machine",
}


def run() -> None:
    """The console script."""
    name, rest = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    sys.argv = [sys.argv[0], *rest]
    if name in COMMANDS:
        main(importlib.import_module(f"jaxgen.commands.{name}").command)
    elif name in ("-h", "--help"):
        main(lambda signals: usage())
    else:
        fail(f"there is no command {name!r}; expected one of {', '.join(COMMANDS)}")


def usage() -> None:
    """What there is."""
    print("usage: jaxgen COMMAND [FLAGS]; jaxgen COMMAND --help says more\n")
    print("\n".join(f"  {command:10} {what}" for command, what in COMMANDS.items()))


if __name__ == "__main__":
    run()
