"""The table of a run, the arms of a sweep over their seeds, and the best trial."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, get_type_hints

import numpy as np

from jaxgen.config import Config, UserError, flatten
from jaxgen.corpus import Vocabulary
from jaxgen.files import checked
from jaxgen.sweep import Question, Sweep

DIVERGED = "diverged"
LOSSES = ("train_loss", "val_loss", "test_loss")

Scalar = str | int | float | None  # a value of a config, as files hold it


@dataclass(frozen=True)
class Row:
    """A trial that ended; losses in nats a character, at its best step, over whole splits, in evaluation mode."""

    trial: int
    status: str  # completed, stopped or diverged
    seed: int
    values: Mapping[str, Scalar]  # of the varied keys
    params: int
    steps: int
    best_step: int
    train_loss: float
    val_loss: float
    test_loss: float
    flaw: str = ""  # of a diverged trial: what first was not finite, in the step after its last
    dev_loss: float | None = None  # where training names were held out (data.dev)
    quality: Mapping[str, float] = field(
        default_factory=dict
    )  # of names that it makes (`quality.MEASURES`), where some were drawn


def by_loss(row: Row) -> tuple[float, int]:
    """Orders rows from the lowest validation loss on."""
    return row.val_loss, row.trial


def row_of(facts: Any) -> Row:
    """The row that `dataclasses.asdict` made a JSON value of.

    Raises:
      ValueError: where that is none.
    """
    checked(facts, dict[str, Any])
    hints = get_type_hints(Row)
    needed = {part.name for part in fields(Row) if part.default is MISSING and part.default_factory is MISSING}
    if not needed <= facts.keys() <= hints.keys():
        raise ValueError(f"a row of {', '.join(map(str, facts))}")
    return Row(**{key: checked(value, hints[key]) for key, value in facts.items()})


@dataclass(frozen=True)
class Curve:
    """One evaluation of a trial, on the fixed parts that curves come from."""

    trial: int
    step: int
    train_loss: float
    val_loss: float


@dataclass(frozen=True)
class Diagnostic:
    """One layer of a trial as a segment begins, on a fixed batch of training windows, in training mode."""

    trial: int
    step: int
    layer: str
    activation: float
    """Standard deviation of what the layer gives, after the activation function."""
    saturation: float
    """Share of it where the activation function's slope is less than a twentieth of its steepest."""
    gradient: float
    """Norm of the objective's gradient with respect to the layer's weights."""
    update: float
    """Root mean square of the next update of the weights, over that of the weights."""


@dataclass(frozen=True)
class Trained:
    """A trained trial, ready to generate: its config, vocabulary, and its state at its best step."""

    trial: int
    config: Config
    vocabulary: Vocabulary
    longest: int  # characters of the corpus's longest name
    params: Any
    stats: Any


@dataclass(frozen=True)
class Arm:
    """The trials of a sweep that differ only in their seed."""

    values: Mapping[str, Any]
    rows: tuple[Row, ...]

    @property
    def sound(self) -> list[Row]:
        return [row for row in self.rows if row.status != DIVERGED and math.isfinite(row.val_loss)]

    def mean(self, loss: str) -> float:
        """Mean over the seeds that did not diverge; infinite if all did."""
        values = [getattr(row, loss) for row in self.sound]
        return float(np.mean(values)) if values else math.inf

    def quality(self) -> dict[str, float]:
        """Means of `quality.MEASURES` over the seeds that did not diverge; none where no names were drawn."""
        rows = [row.quality for row in self.sound if row.quality]
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} if rows else {}

    def spread(self, loss: str) -> float:
        """Sample standard deviation over the seeds that did not diverge; nan for fewer than two."""
        values = [getattr(row, loss) for row in self.sound]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


@dataclass
class Results:
    """What a run has found so far."""

    sweep: Sweep
    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    trained: Any = None  # trial number -> Trained
    programs: int = 0  # compiled for training
    out: str | None = None
    question: Question = field(default_factory=Question)

    @property
    def keys(self) -> tuple[str, ...]:
        """The varied keys without the seed, which has a column of its own."""
        return tuple(key for key in self.sweep.keys if key != "seed")

    def values(self, trial: int) -> dict[str, Scalar]:
        """A trial's values of the varied keys, without the seed."""
        base, point = flatten(self.sweep.base), self.sweep.points[trial]
        base["optimizer.chain"] = self.sweep.base.optimizer.chain
        return {key: named_value(point.get(key, base.get(key))) for key in self.keys}

    def seed(self, trial: int) -> int:
        """A trial's seed."""
        return int(self.sweep.points[trial].get("seed", self.sweep.base.seed))

    def running(self) -> list[Row]:
        """The trials that have not ended, at their best evaluation so far; losses on the curve parts, the test loss nan."""
        ended = {row.trial for row in self.rows}
        best: dict[int, Curve] = {}
        for curve in self.curves:
            if curve.trial not in ended and (curve.trial not in best or curve.val_loss < best[curve.trial].val_loss):
                best[curve.trial] = curve
        return [
            Row(trial, "running", self.seed(trial), self.values(trial), 0, c.step, c.step, c.train_loss, c.val_loss, math.nan)
            for trial, c in best.items()
        ]

    def leaderboard(self, running: bool = False) -> list[Arm]:
        """The arms by their mean validation loss, the best first; `running`: with the trials that have not ended."""
        found: dict[tuple[Any, ...], list[Row]] = {}
        rows = self.rows + self.running() if running else self.rows
        for row in sorted(rows, key=lambda row: row.trial):
            found.setdefault(tuple(row.values.items()), []).append(row)
        arms = [Arm(dict(values), tuple(rows)) for values, rows in found.items()]
        return sorted(arms, key=lambda arm: (arm.mean("val_loss"), arm.rows[0].trial))

    def best_row(self) -> Row:
        """The row with the lowest validation loss, of those that did not diverge if there are any.

        Raises:
          UserError: if no trial has ended with a finite loss.
        """
        finite = [row for row in self.rows if math.isfinite(row.val_loss)]
        sound = [row for row in finite if row.status != DIVERGED]
        if not finite:
            raise UserError(
                "no trial has ended with a finite validation loss, so there is no best one; "
                "let the run finish (--resume), or lower the learning rate"
            )
        return min(sound or finite, key=by_loss)

    def best(self) -> Trained:
        """The trial with the lowest validation loss, ready to generate."""
        return self.trained(self.best_row().trial)

    def results_csv(self) -> str:
        """`results.csv`: a row a trial, in the order of the sweep."""
        losses = (*LOSSES, "dev_loss") if any(row.dev_loss is not None for row in self.rows) else LOSSES
        quality = list(dict.fromkeys(name for row in self.rows for name in row.quality))
        head = ("trial", "status", "seed", *self.keys, "params", "steps", "best_step", *losses, *quality)
        rows = [
            (
                r.trial,
                r.status,
                r.seed,
                *(r.values.get(key, "") for key in self.keys),
                r.params,
                r.steps,
                r.best_step,
                *(getattr(r, x) for x in losses),
                *(r.quality.get(x, "") for x in quality),
            )
            for r in sorted(self.rows, key=lambda row: row.trial)
        ]
        return table([head, *rows])


def named_value(value: Any) -> Scalar:
    """A config's value as files hold it: a Python object by its name."""
    if value is None or isinstance(value, str | int | float):
        return value
    return getattr(value, "__qualname__", type(value).__name__)


def label(values: Mapping[str, Scalar]) -> str:
    """An arm's values in a few words on one line: names as they are, numbers with what they are."""
    return ", ".join(_words(key.rpartition(".")[2].replace("_", " "), value) for key, value in values.items()) or "the trial"


def _words(key: str, value: Scalar) -> str:
    if isinstance(value, bool) or value in ("none", None):
        return f"{'default ' if value is None else '' if value is True else 'no '}{key}"
    if isinstance(value, str):
        return value if value.isprintable() and value.strip() else repr(value)
    return f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"


def table(rows: Sequence[Sequence[Any]]) -> str:
    """Rows as CSV text; floats as their shortest exact decimal."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
