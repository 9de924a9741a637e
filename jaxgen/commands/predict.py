"""What a run's trial says of inputs, as CSV on stdout."""

from __future__ import annotations

import csv
from dataclasses import dataclass

import tyro

from jaxgen.commands.cli import Signals, given_task, output, parse


@dataclass(frozen=True)
class Flags:
    """Prints what a run's trial says of inputs, as CSV: a row an input, in their order."""

    run: tyro.conf.Positional[str]
    """The run's folder, or that of an exported trial."""
    input: str | None = None
    """A CSV file of numbers, with or without a head, a row an input; or a .npy file. None: the rows of the test part."""
    trial: str = "best"
    """The trial's number, or best; best-5 or 3,5,8 for the mixture of several."""
    task: str | None = None
    """FILE.py:OBJECT or package.module:OBJECT, where the run's task is one of your own."""


def command(signals: Signals) -> None:
    flags = parse(Flags, "predict")
    stdout = output()
    from jaxgen.reopen import inputs_of_test, load_all, predict

    task = given_task(flags.task)
    members = load_all(flags.run, flags.trial, task)
    first = members[0]
    inputs = inputs_of_test(flags.run, first, task) if flags.input is None else first.task.inputs(flags.input)
    head, rows = first.task.answers(predict(members, inputs))
    out = csv.writer(stdout, lineterminator="\n")
    out.writerow(head)
    out.writerows(rows)
    stdout.flush()
