"""The table of a run, the arms of a sweep over their seeds, and the best trial."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from jaxgen.config import resolve
from jaxgen.fields import CHAIN, UserError, brief, flatten, override, quoted
from jaxgen.judge import shown
from jaxgen.search.sweep import Question, Sweep
from jaxgen.tasks.base import Task
from jaxgen.tasks.metric import Metric

DIVERGED = "diverged"
COMPLETED = "completed"
ENDINGS = (COMPLETED, "stopped", DIVERGED)
LOSS = Metric("loss")
PARTS = ("train", "val", "test")

Scalar = str | int | float | None  # a value of a config, as files hold it


@dataclass(frozen=True)
class Row:
    """A trial that ended; its metrics are of its best step, over whole splits, in evaluation mode."""

    trial: int
    status: str  # one of ENDINGS
    seed: int
    values: Mapping[str, Scalar]  # of the varied keys
    params: int
    steps: int
    best_step: int
    metrics: Mapping[str, float]  # train_loss, val_loss, test_loss, val_accuracy and so on
    score: float  # the selecting metric on validation, or minus it where more is better: less is better
    flaw: str = ""  # of a diverged trial: what first was not finite, in the step after its last
    measured: Mapping[str, float] = field(default_factory=dict)  # what its task measured once of it (`Task.measured`)

    def value(self, name: str) -> float:
        """A metric on a part, as in val_loss, or what the task measured; nan where there is none."""
        if name == "score":
            return self.score
        return self.metrics.get(name, self.measured.get(name, math.nan))

    @property
    def val_loss(self) -> float:
        return self.value("val_loss")

    @property
    def test_loss(self) -> float:
        return self.value("test_loss")

    @property
    def train_loss(self) -> float:
        return self.value("train_loss")


def by_score(row: Row) -> tuple[float, int]:
    """Orders rows from the best validation score on."""
    return row.score, row.trial


class Heads(NamedTuple):
    """The columns of `results.csv` that depend on what its rows hold."""

    metrics: tuple[str, ...]
    measured: tuple[str, ...]

    def hold(self, other: Heads) -> bool:
        """Whether rows of `other`'s columns fit into a table of these."""
        return {*other.metrics} <= {*self.metrics} and {*other.measured} <= {*self.measured}


@dataclass(frozen=True)
class Curve:
    """One evaluation of a trial, on the fixed parts that curves come from: train_loss, val_loss and so on."""

    trial: int
    step: int
    metrics: Mapping[str, float]

    @property
    def val_loss(self) -> float:
        return self.metrics.get("val_loss", math.nan)


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
    """A trained trial: its config, its task as far as that is known without the rows, and its state at its best step."""

    trial: int
    config: Any
    task: Any  # a `tasks.base.Task`
    params: Any
    stats: Any
    unfinished: int | None = None  # of a trial that has not ended: the step of its best evaluation so far
    row: Row | None = None  # of `results.csv`, where it has ended
    data: Mapping[str, Any] = field(default_factory=dict)  # what its task says of the rows that it was trained on

    def __repr__(self) -> str:
        floats = sum(math.prod(np.shape(leaf)) for leaf in leaves(self.params))
        differs = shown.of_config(flatten(self.config), flatten(type(self.config)()))
        return f"Trained(trial {self.trial} of {self.task.name}, {floats:,} parameters{f'; {differs}' if differs else ''})"


def together(trained: Trained | Iterable[Trained]) -> list[Trained]:
    """One trained trial or several, as several.

    Raises:
      UserError: where something else was given.
    """
    found = [trained] if isinstance(trained, Trained) else list(trained) if isinstance(trained, list | tuple) else []
    if not found or not all(isinstance(one, Trained) for one in found):
        what = "results were" if isinstance(trained, Results) else f"{quoted(trained)} was"
        raise UserError(f"{what} given for a trained trial; expected results.best(), results.trained(3) or jaxgen.load(...)")
    return found


@dataclass(frozen=True)
class Arm:
    """The trials of a sweep that differ only in their seed."""

    values: Mapping[str, Any]
    rows: tuple[Row, ...]

    @functools.cached_property
    def sound(self) -> list[Row]:
        return [row for row in self.rows if row.status != DIVERGED and math.isfinite(row.score)]

    def mean(self, loss: str) -> float:
        """Mean over the seeds that did not diverge; infinite if all did."""
        values = [row.value(loss) for row in self.sound]
        return float(np.mean(values)) if values else math.inf

    def measured(self) -> dict[str, float]:
        """Means of what the task measured over the seeds that did not diverge; none where it measured nothing."""
        rows = [row for row in self.sound if row.measured]
        return {name: float(np.mean([row.value(name) for row in rows])) for name in rows[0].measured} if rows else {}

    def spread(self, loss: str) -> float:
        """Sample standard deviation over the seeds that did not diverge; nan for fewer than two."""
        values = [row.value(loss) for row in self.sound]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


@dataclass
class Results:
    """What a run has found so far.

    Examples:
      >>> results = jaxgen.run(sweep, corpus)
      >>> results
      Results(6 of 6 trials ended)
      >>> [arm.values["optimizer.name"] for arm in results.leaderboard()]  # the best first
      ['sgd', 'adam']
      >>> table = results.to_pandas()  # a row a trial; with the pandas extra
      >>> results.best()
      Trained(trial ... of names, ... parameters; ...)
    """

    sweep: Sweep
    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    trained: Any = None  # trial number -> Trained
    unfinished: Any = None  # the same of one that trains, while it does
    programs: int = 0  # compiled for training
    out: str | None = None
    question: Question = field(default_factory=Question)
    metrics: tuple[Metric, ...] = (LOSS,)  # what is measured; the first one selects
    task: Task | None = None  # what was trained, as far as it is known
    data: Mapping[str, Any] = field(default_factory=dict)  # what it says of its rows
    verdict: Callable[[], Any] = lambda: None
    """The answer to its question (`judge.answers.answer`)."""
    _board: tuple[list[Row], list[Arm]] | None = field(default=None, init=False, repr=False, compare=False)
    _places: dict[int, int] = field(default_factory=dict, init=False, repr=False, compare=False)  # trial -> place of its row

    def __repr__(self) -> str:
        return f"Results({len(self.rows)} of {len(self.sweep)} trials ended{f', in {self.out}' if self.out else ''})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the best settings, the verdict, and the first picture that there is of them."""
        for kind in ("differences", "curves"):
            with contextlib.suppress(UserError):  # it does not apply
                return shown.board(self) + shown.picture(self.plot(kind))
        return shown.board(self)

    @property
    def measure(self) -> Metric:
        """The metric that ranks trials."""
        return self.metrics[0]

    def heads(self, rows: Sequence[Row]) -> Heads:
        """What some rows hold in the order of `results.csv`: the loss on each part, or what selects; then other metrics."""
        first = next((metric for metric in self.metrics if metric.name == "loss"), self.measure)
        others = [metric for metric in self.metrics if metric is not first]
        found = [f"{part}_{first.name}" for part in PARTS]
        if any(f"dev_{first.name}" in row.metrics for row in rows):
            found.append(f"dev_{first.name}")
        found += [f"{part}_{metric.name}" for metric in others for part in PARTS[1:]]
        return Heads(tuple(found), tuple(dict.fromkeys(name for row in rows for name in row.measured)))

    @property
    def columns(self) -> tuple[str, ...]:
        """The metrics of a row, in the order of `results.csv`."""
        return self.heads(self.rows).metrics

    @property
    def curve_columns(self) -> tuple[str, ...]:
        """The metrics of an evaluation, in the order of `metrics.csv`."""
        ordered = sorted(self.metrics, key=lambda metric: metric.name != "loss")
        return tuple(f"{part}_{metric.name}" for metric in ordered for part in PARTS[:2])

    @property
    def keys(self) -> tuple[str, ...]:
        """The varied keys without the seed, which has a column of its own."""
        return tuple(key for key in self.sweep.keys if key != "seed")

    def values(self, trial: int) -> dict[str, Scalar]:
        """A trial's values of the varied keys, without the seed."""
        point = self.sweep.points[trial]
        return {key: named_value(point.get(key, self._base.get(key))) for key in self.keys}

    @functools.cached_property
    def _base(self) -> dict[str, Any]:
        return flatten(self.sweep.base) | {CHAIN: self.sweep.base.optimizer.chain}

    def seed(self, trial: int) -> int:
        """A trial's seed."""
        return int(self.sweep.points[trial].get("seed", self.sweep.base.seed))

    def running(self) -> list[Row]:
        """The trials that have not ended, at their best evaluation so far, on the curve parts."""
        ended = {row.trial for row in self.rows}
        best: dict[int, Curve] = {}
        for curve in self.curves:
            if curve.trial not in ended and (curve.trial not in best or self.cost(curve) < self.cost(best[curve.trial])):
                best[curve.trial] = curve
        return [self.row(trial, "running", 0, c.step, c.step, c.metrics) for trial, c in best.items()]

    def selected(self, holds: Row | Curve, part: str = "val") -> float:
        """The metric that ranks trials, on a part; nan where there is none."""
        return holds.metrics.get(f"{part}_{self.measure.name}", math.nan)

    def cost(self, holds: Row | Curve) -> float:
        """What trials are ranked by: of the selecting metric on validation, less is better."""
        return self.measure.sign * self.selected(holds)

    def outgrown(self, row: Row) -> bool:
        """Whether a trial ended as its steps were up, and has been given more since."""
        budget = self.sweep.points[row.trial].get("train.steps", self.sweep.base.train.steps)
        known = isinstance(budget, int)  # a file may say anything
        return known and row.status == COMPLETED and 0 < row.steps < budget  # 0: it was solved

    def take_up(self, rows: Iterable[Row]) -> None:
        """Adds rows that were stored; since then more keys may vary."""
        for row in rows:
            same = row.values.keys() == {*self.keys}
            self.rows.append(row if same else replace(row, values=self.values(row.trial)))

    def row(
        self,
        trial: int,
        status: str,
        params: int,
        steps: int,
        best_step: int,
        metrics: Mapping[str, float],
        flaw: str = "",
    ) -> Row:
        """A trial's row."""
        score = self.measure.sign * metrics.get(f"val_{self.measure.name}", math.nan)
        values = self.values(trial)
        return Row(trial, status, self.seed(trial), values, params, steps, best_step, dict(metrics), score, flaw)

    def leaderboard(self, running: bool = False) -> list[Arm]:
        """The arms by their mean validation score, the best first; `running`: with the trials that have not ended."""
        if not running and self._board is not None and self._board[0] == self.rows:  # asked a dozen times a report
            return list(self._board[1])
        found: dict[tuple[Any, ...], list[Row]] = {}
        rows = self.rows + self.running() if running else self.rows
        for row in sorted(rows, key=lambda row: row.trial):
            found.setdefault(tuple(row.values.items()), []).append(row)
        arms = [Arm(dict(values), tuple(rows)) for values, rows in found.items()]
        arms = sorted(arms, key=lambda arm: (arm.mean("score"), arm.rows[0].trial))
        self._board = self._board if running else (list(rows), arms)
        return list(arms)

    def best_row(self) -> Row:
        """The row with the best validation score, of those that did not diverge if there are any.

        Raises:
          UserError: if no trial has ended with a finite one.
        """
        finite = [row for row in self.rows if math.isfinite(row.score)]
        sound = [row for row in finite if row.status != DIVERGED]
        if not finite:
            raise UserError(
                f"no trial has ended with a finite validation {self.measure.name}, so there is no best one; "
                "let the run finish (--resume), or lower the learning rate"
            )
        return min(sound or finite, key=by_score)

    def best(self) -> Trained:
        """The trial with the best validation score, ready to generate or predict."""
        return self.trained(self.best_row().trial)

    def known(self, trained: Trained) -> Trained:
        """A trained trial with its row, and what is said of its data."""
        if len(self._places) != len(self.rows):
            self._places = {row.trial: place for place, row in enumerate(self.rows)}
        place = self._places.get(trained.trial)
        return dataclasses.replace(trained, row=None if place is None else self.rows[place], data=self.data)

    def best_config(self) -> Any:
        """The config of the trial with the best validation score, with all values that were left out filled in."""
        row = self.best_row()
        return resolve(override(self.sweep.base, self.sweep.points[row.trial]))

    def results_csv(self) -> str:
        """`results.csv`: a row a trial, in the order of the sweep."""
        heads = self.heads(self.rows)
        return table([self._columns(heads)]) + self.lines_csv(self._ordered, heads)

    def lines_csv(self, rows: Sequence[Row], heads: Heads) -> str:
        """Rows as lines of a `results.csv` with these columns."""
        return table(self._lines(rows, heads, ""))

    def to_pandas(self) -> Any:
        """`results.csv` as a pandas DataFrame: a row a trial, in the order of the sweep.

        Raises:
          UserError: without pandas.
        """
        heads = self.heads(self.rows)
        return shown.frame(self._columns(heads), self._lines(self._ordered, heads, math.nan))

    def curves_to_pandas(self) -> Any:
        """`metrics.csv` as a pandas DataFrame: a row an evaluation, and the varied keys of its trial.

        Raises:
          UserError: without pandas.
        """
        names = self.curve_columns
        rows = (
            (c.trial, c.step, self.seed(c.trial), *self.values(c.trial).values(), *(c.metrics.get(name) for name in names))
            for c in self.curves
        )
        return shown.frame(("trial", "step", "seed", *self.keys, *names), rows)

    def plot(self, kind: str) -> Any:
        """A picture of a report as a matplotlib figure: `jaxgen.plot` says which there are.

        Raises:
          UserError: for a kind that there is not, or that does not apply.
        """
        import jaxgen  # what draws stands above in the reading order

        return jaxgen.plot(self, kind)

    def report(self) -> Any:
        """Writes `report.html` and `plots/*.png` into the run's folder; returns the page's path (`jaxgen.write_report`).

        Raises:
          UserError: if the results are in memory alone.
        """
        import jaxgen

        return jaxgen.write_report(self)

    @property
    def _ordered(self) -> list[Row]:
        return sorted(self.rows, key=lambda row: row.trial)

    def _columns(self, heads: Heads) -> tuple[str, ...]:
        return ("trial", "status", "seed", *self.keys, "params", "steps", "best_step", *heads.metrics, *heads.measured)

    def _lines(self, rows: Sequence[Row], heads: Heads, lacking: Any) -> list[tuple[Any, ...]]:
        return [
            (
                r.trial,
                r.status,
                r.seed,
                *(r.values.get(key, "") for key in self.keys),
                r.params,
                r.steps,
                r.best_step,
                *(r.metrics.get(x, math.nan) for x in heads.metrics),
                *(r.measured.get(x, lacking) for x in heads.measured),
            )
            for r in rows
        ]


def leaves(tree: Any) -> list[Any]:
    """The arrays of a tree of dictionaries, tuples and the like."""
    import jax  # here, so that reading a run's tables needs no JAX

    return jax.tree.leaves(tree)


def named_value(value: Any) -> Scalar:
    """A config's value as files hold it: a Python object by its name."""
    if value is None or isinstance(value, str | int | float):
        return value
    return getattr(value, "__qualname__", type(value).__name__)


def label(values: Mapping[str, Scalar]) -> str:
    """An arm's values in a few words on one line: names as they are, numbers with what they are."""
    return ", ".join(_words(key.rpartition(".")[2].replace("_", " "), value) for key, value in values.items()) or "the trial"


def _words(key: str, value: Scalar) -> str:
    if key in shown.LIMITS and value == 0:
        return f"no {key}"
    if isinstance(value, bool) or value in ("none", None):
        return f"{'default ' if value is None else '' if value is True else 'no '}{key}"
    if isinstance(value, str):
        return value if value.isprintable() and value.strip() else repr(value)
    return f"{key} {brief(value)}" if isinstance(value, float) else f"{key} {value}"


def table(rows: Sequence[Sequence[Any]]) -> str:
    """Rows as CSV text; floats as their shortest exact decimal."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
