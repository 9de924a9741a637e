"""TensorBoard's files of a run: a TensorBoard run for each trial, with its curves, and the HParams tab.

By the record writer and the messages of the package tensorboard, an extra of ours that needs no TensorFlow.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from jaxgen.engine.lanes import Ended, Evaluated, Event, SegmentDone
from jaxgen.engine.plan import Planned
from jaxgen.fields import UserError
from jaxgen.judge.results import DIVERGED, Curve, Results, Row, Scalar
from jaxgen.report.terminal import cell
from jaxgen.runs import Notice
from jaxgen.storage.files import NO_LINK, remove, writing

# protobuf makes the classes of these modules at import, where no type checker sees them.
events: Any = event_pb2
summaries: Any = summary_pb2
api: Any = api_pb2
plugin: Any = plugin_data_pb2

FOLDER = "tensorboard"
SHARE = 0.03  # of the time, at most, goes into writing
EVERY = 1.0  # seconds between two writes, at least
MOST = 10_000  # records that wait for a write
BEST = {"best/validation": "val", "best/test": "test", "best/train": "train"}  # the metrics of HParams, of what selects


class TensorBoard:
    """A listener for `run` that writes `tensorboard/` in the run's folder.

    Each trial is a TensorBoard run: `loss/train` and `loss/validation` at each evaluation and, when it ended, its losses at
    its best step, which are the metrics of the HParams tab. All is written anew at the first event, so that a run that goes on
    has each point once; what an earlier session trained then bears the time of this one.

    A file is open only while it is written to: the number of trials is not bounded by that of open files.

    Args:
      out: the run's folder.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out / FOLDER
        self._file = ""  # the name of each trial's file, once there is anything
        self._columns: dict[str, list[str] | list[float]] = {}  # of the HParams tab
        self._waiting: dict[str, list[Any]] = {}  # records to be written, by TensorBoard's name of the run
        self._count = 0  # of them
        self._there: set[str] = set()  # the runs that have a file
        self._due = 0.0  # when to write next

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.suppress(*([] if kind is None else [UserError])):  # the first error is the one to tell
            self._write()

    def __call__(self, event: Event | Planned | Notice, results: Results) -> None:
        if not self._file:
            self.begin(results)
        elif isinstance(event, Evaluated):
            self._point(results.curves[-1])
        elif isinstance(event, Ended):
            self._end(results.rows[-1])
        elif isinstance(event, SegmentDone) and time.monotonic() >= self._due:
            self._write()

    def begin(self, results: Results) -> None:
        """Writes what is known so far, in place of what is there; nothing where it has been done.

        Raises:
          UserError: if the folder is a link, or cannot be written.
        """
        if self._file:
            return
        self._results = results
        if self.folder.is_symlink():
            raise UserError(f"{str(self.folder)!r} is a symbolic link, and a run's files are none; remove it")
        with writing(self.folder):
            if self.folder.exists():
                remove(self.folder)
            self.folder.mkdir()
        # A name of this session's own: a TensorBoard that is looking would go on reading in the middle of the same one.
        self._file = f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
        self._columns = columns(results)
        self._put("", 0, experiment(self._columns))
        for curve in results.curves:
            self._point(curve)
        for row in results.rows:
            self._end(row)
        self._write()

    def _point(self, curve: Curve) -> None:
        parts = {"train": "train", "val": "validation"}
        values = {name.partition("_"): value for name, value in curve.metrics.items()}
        losses = scalars({f"{metric}/{parts[part]}": value for (part, _, metric), value in values.items()})
        self._put(self._run(curve.trial), curve.step, losses)

    def _end(self, row: Row) -> None:
        run = self._run(row.trial)
        # What is not finite is no metric: the tab would have nothing to rank it by.
        found = {tag: self._results.selected(row, part) for tag, part in BEST.items()}
        losses = {tag: value for tag, value in found.items() if math.isfinite(value)}
        why = f": first not finite was {row.flaw}" if row.flaw else ""
        self._put(run, row.best_step, scalars(losses))
        self._put(run, row.steps, text_pb("status", f"{row.status} at step {row.steps}{why}"))
        self._put(run, row.steps, session_end(row))

    def _run(self, trial: int) -> str:
        """TensorBoard's name of a trial: in the order of the sweep where names are sorted. Tells of its start at first."""
        run = f"trial-{trial:0{len(str(len(self._columns['seed']) - 1))}d}"
        if run not in self._there and run not in self._waiting:
            self._put(run, 0, session_start(run, {key: values[trial] for key, values in self._columns.items()}))
        return run

    def _put(self, run: str, step: int, summary: Any) -> None:
        self._waiting.setdefault(run, []).append(events.Event(wall_time=time.time(), step=step, summary=summary))
        self._count += 1
        if self._count >= MOST:
            self._write()

    def _write(self) -> None:
        began = time.monotonic()
        waiting, self._waiting, self._count = self._waiting, {}, 0  # nothing twice, if this fails
        for run, records in waiting.items():
            path = self.folder / run / self._file
            with writing(path):
                if run not in self._there:
                    path.parent.mkdir(exist_ok=not run)
                    records = [events.Event(wall_time=time.time(), file_version="brain.Event:2"), *records]
                    self._there.add(run)
                with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_LINK, 0o666), "ab") as file:
                    writer = RecordWriter(file)
                    for record in records:
                        writer.write(record.SerializeToString())
        now = time.monotonic()
        self._due = now + max(EVERY, (now - began) / SHARE)


def scalars(values: dict[str, float]) -> Any:
    """A summary of numbers by their tags; TensorBoard holds them as float32."""
    return summaries.Summary(value=[summaries.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])


def columns(results: Results) -> dict[str, list[str] | list[float]]:
    """The columns of the HParams tab: each varied key's values, and the seeds, by trial; numbers if all are, else text."""
    trials = range(len(results.sweep))
    settings = [{**results.values(trial), "seed": results.seed(trial)} for trial in trials]
    return {key: column([values[key] for values in settings]) for key in (*results.keys, "seed")}


def column(values: Sequence[Scalar]) -> list[str] | list[float]:
    """The values as the HParams tab takes them: of one type."""
    numbers = [float(x) for x in values if isinstance(x, int | float) and not isinstance(x, bool)]
    return numbers if len(numbers) == len(values) else [cell(x) for x in values]


def experiment(found: Mapping[str, list[str] | list[float]]) -> Any:
    """The summary that describes the HParams tab: its columns, and the losses at the best step as its metrics."""
    infos = []
    for key, values in found.items():
        info = api.HParamInfo(name=key, differs=len(set(values)) > 1)
        if isinstance(values[0], str):
            info.type = api.DATA_TYPE_STRING
            info.domain_discrete.extend(sorted(set(values)))
        else:
            info.type = api.DATA_TYPE_FLOAT64
            info.domain_interval.min_value, info.domain_interval.max_value = min(values), max(values)
        infos.append(info)
    metrics = [api.MetricInfo(name=api.MetricName(tag=tag), display_name=tag.replace("best/", "best ")) for tag in BEST]
    return hparams(
        metadata.EXPERIMENT_TAG,
        experiment=api.Experiment(hparam_infos=infos, metric_infos=metrics, time_created_secs=time.time()),
    )


def session_start(run: str, settings: Mapping[str, str | float]) -> Any:
    """The summary that holds a trial's row of the HParams tab."""
    info = plugin.SessionStartInfo(group_name=run, start_time_secs=time.time())
    for key, value in settings.items():
        setattr(info.hparams[key], "string_value" if isinstance(value, str) else "number_value", value)
    return hparams(metadata.SESSION_START_INFO_TAG, session_start_info=info)


def session_end(row: Row) -> Any:
    """The summary that says how a trial ended."""
    status = api.STATUS_FAILURE if row.status == DIVERGED else api.STATUS_SUCCESS
    info = plugin.SessionEndInfo(status=status, end_time_secs=time.time())
    return hparams(metadata.SESSION_END_INFO_TAG, session_end_info=info)


def hparams(tag: str, **data: Any) -> Any:
    """A message of the HParams tab as a summary."""
    about = metadata.create_summary_metadata(plugin.HParamsPluginData(**data))
    return summaries.Summary(value=[summaries.Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)])
