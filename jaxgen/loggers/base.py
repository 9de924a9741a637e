"""The seam: what a logger is told of a run. One of the user's own inherits `Logger` and overrides what it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxgen.judge.results import Scalar

EVERYTHING = float("inf")  # what `start` gives of a trial that is logged to its end


@dataclass(frozen=True)
class Logged:
    """What is logged: a run of many trials."""

    name: str
    """Of the run's folder, or of its sweep where it has none."""
    folder: Path | None
    id: str
    """The same in every session of a run that goes on, and of no other run."""
    again: bool
    """Whether an earlier session may have logged a part of it."""
    settings: Sequence[Mapping[str, Scalar]]
    """Of each trial, in the order of the sweep: the values of the varied keys and the seed."""
    selected: tuple[str, ...] = ("val_loss", "test_loss", "train_loss")
    """The metrics of a summary that say how good a trial is, the first of which ranks trials."""


@dataclass(frozen=True)
class Trial:
    """A trial that begins."""

    number: int
    name: str
    """Its number and its setting, on one line: 07 adam learning_rate=0.003 seed=1"""
    settings: Mapping[str, Scalar]
    """The values of the varied keys, and the seed."""
    config: Mapping[str, Scalar]
    """All values, those that were left out too."""


class Logger:
    """Takes in a run's trials as they train. What it raises ends the logging, and not the run.

    It is called from a thread of its own, so that a service that is slow or away holds up nothing. Whenever a session of a run
    begins or goes on, it is told all that is known from the first step on; `start` can say what it has already.

    Examples:
      >>> class Finals(jaxgen.Logger):
      ...     def end(self, trial, summary):
      ...         if trial == 0:
      ...             print(sorted(summary)[-1])
      >>> with jaxgen.log_to(Finals()) as listener:
      ...     results = jaxgen.run(sweep, corpus, progress=False, listener=listener)
      val_loss
    """

    def open(self, run: Logged) -> None:
        """Once, before anything else."""

    def start(self, trial: Trial) -> float | None:
        """Before what a trial has to tell. Returns the last step that is logged of it already: only later ones follow;
        EVERYTHING: nothing at all does; None: nothing is."""

    def log(self, trial: int, step: int, metrics: Mapping[str, float]) -> None:
        """An evaluation: loss/train, loss/validation, accuracy/validation and so on."""

    def end(self, trial: int, summary: Mapping[str, float | int | str]) -> None:
        """A trial has ended: the columns of `results.csv`, first the metric that ranks trials, at its best step."""

    def flush(self) -> None:
        """After a number of calls of the others: what was held back is to be written."""

    def close(self) -> None:
        """At the end of a session, however the run ended."""

    def look(self, name: str, folder: Path | None) -> str:
        """The command that shows what is logged of a run of that name, as a line to type; "" where there is none."""
        return ""
