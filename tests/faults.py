"""What runs in processes of its own: a command, which `processes.py` starts; and for `test_faults.py` a run whose writes fail
one after the other, where `faults.c` is loaded by LD_PRELOAD."""

from __future__ import annotations

import collections
import ctypes
import errno
import importlib
import json
import os
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent


def arm(folder: str, at: int = 0, error: int = 0) -> None:
    """Makes the `at`-th write below a folder fail from now on; 0: counts the writes."""
    ctypes.CDLL(None).fault_arm(folder.encode(), at, error)


def command(name: str, args: Sequence[str], out: str, err: str, pictures: bool, folder: str, at: int, error: int) -> None:
    """A command. What it says goes to the files `out` and `err`; where `folder` is given, a write below it fails.

    Its programs run so briefly that they are compiled quickly, as by `compiled_quickly`; and pictures are drawn where they are
    looked at, as by `unillustrated`.
    """
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
    os.chdir(ROOT)
    sys.argv = [name, *args]
    from jaxgen.commands import cli
    from jaxgen.engine import plan
    from jaxgen.report import page

    plan.CPU_OPTIONS = plan.RARE
    if not pictures:
        page.save = lambda *_: {}
    module = importlib.import_module(f"jaxgen.commands.{name}")
    if folder:
        arm(folder, at, error)
    cli.main(module.command)


def disk(tmp: Path, names: Path, few: int, codes: Sequence[int]) -> None:
    """A run and its report, of which each write in turn fails (`few`: as many by chance; 0: all); then it goes on.

    Prints counts as JSON, a line for each error code, and raises where a run does not go on to the bytes of one in which
    nothing failed.
    """
    import jax

    jax.config.update("jax_num_cpu_devices", 2)
    from conftest import SMALL, bytes_of, same

    import jaxgen
    from jaxgen import runs
    from jaxgen.engine import plan
    from jaxgen.report.page import report

    plan.CPU_OPTIONS = plan.RARE
    corpus = jaxgen.load_corpus(names)
    sweep = jaxgen.grid(
        jaxgen.override(jaxgen.Config(), SMALL),
        {"optimizer.name": ["sgd"], "optimizer.learning_rate": [1e-2, 1e30], "seed": range(2)},
    )

    trained = 0  # writes of the run, after which those of the report come

    def go(out: Path, reported: bool = True) -> None:
        nonlocal trained
        runs.run(sweep, corpus, out, width=2, chunk=1, resume=True)
        trained = trained or int(ctypes.CDLL(None).fault_count())
        if reported:
            report(out)

    out = tmp / "run"
    go(out)  # compiles: a run that waits for that saves more often than those whose writes fail below
    shutil.rmtree(out)
    trained = 0
    arm(str(out))
    go(out)
    total, reference = int(ctypes.CDLL(None).fault_count()), bytes_of(out)
    for code in codes:
        counts: collections.Counter[str] = collections.Counter(writes=total)
        places = range(1, total + 1)
        for place in sorted(random.Random(code).sample(places, few)) if few else places:
            shutil.rmtree(out)
            arm(str(out), place, code)
            try:
                go(out)
                counts["done without"] += 1  # such as removing what is not needed any more
            except jaxgen.UserError as error:
                if "cannot write" not in str(error):
                    raise
                counts["refused"] += 1
            arm("")
            go(out, reported=place > trained)  # to make its pictures takes longer than to train
            if not same(bytes_of(out), reference):
                raise AssertionError(f"write {place} of {total} failed, and the run went on to other bytes")
            counts["went on to the same bytes"] += 1
        print(errno.errorcode[code], json.dumps(counts))


if __name__ == "__main__":
    disk(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), [int(code) for code in sys.argv[4:]])
