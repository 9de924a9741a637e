"""A listener for `run` that tells loggers of its trials, each in a thread of its own."""

from __future__ import annotations

import importlib
import math
import queue
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxgen.config import resolve
from jaxgen.engine.lanes import Event, SegmentDone
from jaxgen.engine.plan import Planned
from jaxgen.fields import CHAIN, UserError, flatten, override, quoted, typed
from jaxgen.judge.results import Curve, Results, Row, Scalar, named_value
from jaxgen.loggers.base import Logged, Logger, Trial
from jaxgen.report.terminal import visible
from jaxgen.runs import Notice
from jaxgen.storage.files import read, write

LOGGERS: Mapping[str, str] = {"tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "WandB", "trackio": "Trackio"}
IDENTITY = "logged.txt"  # in a run's folder: by which services know it again
EVERY = 1.0  # seconds between two writes, at least
SHARE = 0.1  # of the time, at most, goes into writing while the run trains
PATIENCE = 2.0  # seconds that a run which was stopped waits for its loggers
LONGEST = 120  # characters of a trial's name
PARTS = {"train": "train", "val": "validation"}


def find(name: str) -> Logger:
    """A logger by its name.

    Raises:
      UserError: if there is none of that name, or its package is not installed.
    """
    if name not in LOGGERS:
        raise UserError(f"there is no logger {quoted(name)}; expected one or several of {', '.join(LOGGERS)}")
    try:
        module = importlib.import_module(f"jaxgen.loggers.to_{name}")
    except ImportError as error:
        why = " ".join(str(error).split())
        raise UserError(
            f"logging to {name} needs the package {name} ({why}); pip install 'jaxgen[{name}]', or leave it out"
        ) from None
    return getattr(module, LOGGERS[name])()


def warn(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)


def log_to(*loggers: str | Logger, say: Callable[[str], None] = warn) -> Telling:
    """A listener for `jaxgen.run` that tells loggers of its trials: `with jaxgen.log_to("mlflow") as listener: ...`

    Each logger works in a thread of its own, and what it raises is said in one line, ends its part, and changes nothing of the
    run. At the end of the `with` block everything has been told; after an error, what could be told in two seconds.

    Args:
      loggers: names (tensorboard, mlflow, wandb, trackio) or loggers of your own (`jaxgen.Logger`).
      say: takes a line that a user should read.

    Raises:
      UserError: for a name that is none, a package that is not installed, or a service that wants an account.

    Examples:
      >>> jaxgen.log_to("aim")
      Traceback (most recent call last):
      jaxgen.fields.UserError: there is no logger 'aim'; expected one or several of tensorboard, mlflow, wandb, trackio
    """
    different = [one for place, one in enumerate(loggers) if one not in loggers[:place]]
    found = [find(one) if isinstance(one, str) else one for one in different]
    strange = next((one for one in found if not isinstance(one, Logger)), None)
    if strange is not None:
        raise UserError(f"a {type(strange).__name__} was given for a logger; expected a name or a jaxgen.Logger")
    return Telling(found, say)


class Telling:
    """A listener for `run` that tells loggers of its trials (`log_to`)."""

    def __init__(self, loggers: Sequence[Logger], say: Callable[[str], None]) -> None:
        self._tellers = [Teller(one, say) for one in loggers]
        self._say = say
        self._results: Results | None = None
        self._curves = self._rows = 0  # of the results, those that have been told

    def __enter__(self) -> Telling:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._results is not None:
            self._tell(self._results)
        self.close(failed=kind is not None)

    def __call__(self, event: Event | Planned | Notice, results: Results) -> None:
        self.begin(results)
        if isinstance(event, SegmentDone):
            self._tell(results)

    def begin(self, results: Results) -> None:
        """Tells what is known so far, of a run that had ended before, too; nothing where that has been done."""
        if self._results is not None or not self._tellers:
            return
        self._results = results
        try:
            run = described(results)
        except UserError as error:
            self._say(f"nothing is logged: {error}")
            self._tellers.clear()
            return
        for teller in self._tellers:
            teller.begin(run, results)
        self._tell(results)

    def _tell(self, results: Results) -> None:
        """What is new; rows at the end of a segment have all that is measured of them."""
        curves, rows = results.curves[self._curves :], results.rows[self._rows :]
        self._curves, self._rows = len(results.curves), len(results.rows)
        for teller in self._tellers if curves or rows else ():
            teller.queue.put(News(curves, rows))

    def close(self, failed: bool = False) -> None:
        """Waits until everything has been told; `failed`: for two seconds at most, and no complaints."""
        for teller in self._tellers:
            teller.close(failed)
        until = time.monotonic() + PATIENCE
        for teller in self._tellers:
            teller.wait(max(0.0, until - time.monotonic()))
            if not failed and teller.busy:
                self._say(f"waiting for {teller.name} to take in what was logged; Ctrl-C leaves it at that")
                teller.wait(None)

    def look(self, folder: Path) -> list[str]:
        """The commands that show what is logged of a run in a folder."""
        found = [teller.logger.look(named(folder), folder) for teller in self._tellers]
        return [line for line in found if line]


@dataclass(frozen=True)
class News:
    """What a run has found since the last time."""

    curves: Sequence[Curve]
    rows: Sequence[Row]


class Teller:
    """A logger and the thread that calls it."""

    def __init__(self, logger: Logger, say: Callable[[str], None]) -> None:
        self.logger, self.queue = logger, queue.SimpleQueue[News | None]()
        self.name = type(logger).__name__
        self._say = say
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._failed = False  # the run has: what goes wrong here comes of it
        self._last: dict[int, float] = {}  # the last step that is logged of each trial that has started

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def begin(self, run: Logged, results: Results) -> None:
        self._thread = threading.Thread(target=self._work, args=(run, results), name=f"logging to {self.name}", daemon=True)
        self._thread.start()

    def close(self, failed: bool) -> None:
        self._failed = failed
        self.queue.put(None)
        self._closing.set()

    def wait(self, seconds: float | None) -> None:
        if self._thread is not None:
            self._thread.join(seconds)

    def _work(self, run: Logged, results: Results) -> None:
        try:
            self.logger.open(run)
            last = False
            while not last:
                news, last = self._news()
                began = time.monotonic()
                self._take(news, run, results)
                self.logger.flush()
                if not last:
                    self._closing.wait(max(EVERY, (time.monotonic() - began) / SHARE))
            self.logger.close()
        except Exception as error:
            if not self._failed:
                why = " ".join(str(error).split()) or type(error).__name__
                self._say(visible(f"{self.name}: nothing more is logged ({why}); the run itself goes on"))

    def _news(self) -> tuple[list[News], bool]:
        """All that waits, at least one; and whether it is the last."""
        found = [self.queue.get()]
        while not self.queue.empty():
            found.append(self.queue.get())
        return [one for one in found if one is not None], None in found

    def _take(self, news: Sequence[News], run: Logged, results: Results) -> None:
        """Trial by trial, so that no more are open at a time than train at a time."""
        curves: dict[int, list[Curve]] = {}
        for curve in (curve for one in news for curve in one.curves):
            curves.setdefault(curve.trial, []).append(curve)
        rows = {row.trial: row for one in news for row in one.rows}
        for trial in [*rows, *(trial for trial in curves if trial not in rows)]:
            if trial not in self._last:
                last = self.logger.start(begun(trial, run, results))
                self._last[trial] = -1 if last is None else last
            for curve in curves.get(trial, ()):
                if curve.step > self._last[trial]:
                    self.logger.log(trial, curve.step, by_part(curve.metrics))
            if trial in rows and self._last[trial] != math.inf:
                self.logger.end(trial, summary(rows[trial], results, run.selected))


def described(results: Results) -> Logged:
    """What loggers are told of a run at first.

    Raises:
      UserError: if the file by which services know it again cannot be read or written.
    """
    folder = None if results.out is None else Path(results.out)
    identity, again = uuid.uuid4().hex[:12], False
    if folder is not None:
        try:
            identity, again = read(folder / IDENTITY, 100).decode("ascii", "replace").strip(), True
            if not identity.isalnum():
                raise UserError(f"{str(folder / IDENTITY)!r} is damaged; remove it, and the run is logged as another one")
        except FileNotFoundError:
            write(folder / IDENTITY, f"{identity}\n")
    settings = [told({**results.values(trial), "seed": results.seed(trial)}) for trial in range(len(results.sweep))]
    selected = tuple(f"{part}_{results.measure.name}" for part in ("val", "test", "train"))
    name = plain(results.question.name) if folder is None else named(folder)
    return Logged(name, folder, identity, again, settings, selected)


def named(folder: Path) -> str:
    """What a run in a folder is called where it is logged."""
    return plain(folder.absolute().name) or "run"


def begun(trial: int, run: Logged, results: Results) -> Trial:
    """A trial with its name, its setting and its whole config."""
    sweep, settings = results.sweep, run.settings[trial]
    config = resolve(override(sweep.base, sweep.points[trial]))
    chain = config.optimizer.chain
    values = flatten(config) | ({} if chain is None else {CHAIN: chain})
    shown = settings if "seed" in sweep.keys else {key: value for key, value in settings.items() if key != "seed"}
    number = f"{trial:0{len(str(len(sweep) - 1))}d}"
    name = plain(" ".join([number, *(words(key, value) for key, value in shown.items())]))[:LONGEST]
    return Trial(trial, name, settings, told({key: named_value(value) for key, value in values.items()}))


def told(values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Values whose texts every service can store."""
    return {key: plain(value) if isinstance(value, str) else value for key, value in values.items()}


def words(key: str, value: Scalar) -> str:
    """A setting in a word: adam, learning_rate=0.003."""
    return value if isinstance(value, str) and value else f"{key.rpartition('.')[2]}={typed(value)}"


def plain(text: str) -> str:
    """Text on one line that every service can store: no control characters, and nothing that is not UTF-8."""
    return visible(text).encode("utf-8", "backslashreplace").decode()


def by_part(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics of an evaluation by what charts group them by: val_loss as loss/validation."""
    split = ((name.partition("_"), value) for name, value in metrics.items())
    return {plain(f"{metric}/{PARTS.get(part, part)}"): value for (part, _, metric), value in split}


def summary(row: Row, results: Results, selected: Sequence[str]) -> dict[str, float | int | str]:
    """A trial's row of `results.csv`, what ranks trials first."""
    metrics = {plain(name): row.metrics[name] for name in (*selected, *results.heads([row]).metrics) if name in row.metrics}
    flaw = {"flaw": plain(row.flaw)} if row.flaw else {}
    ending = {"status": row.status, "params": row.params, "steps": row.steps, "best_step": row.best_step}
    return {**metrics, **row.measured, **ending, **flaw}
