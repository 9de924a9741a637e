"""TensorBoard's files of a run: a TensorBoard run for each trial, with its curves, and the HParams tab.

By the record writer and the messages of the package tensorboard, an extra of ours that needs no TensorFlow.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from jaxgen.fields import UserError, typed
from jaxgen.judge.results import DIVERGED, Scalar
from jaxgen.loggers.base import Logged, Logger, Trial
from jaxgen.storage.files import NO_LINK, remove, writing

# protobuf makes the classes of these modules at import, where no type checker sees them.
events: Any = event_pb2
summaries: Any = summary_pb2
api: Any = api_pb2
plugin: Any = plugin_data_pb2

FOLDER = "tensorboard"
MOST = 10_000  # records that wait for a write
SUMMARY = "summary"  # what a trial came to; the time-series tab shows tags by the alphabet, and losses come before it
STRANGE = re.compile(r"[^A-Za-z0-9 ._=+-]")  # in a folder's name


class TensorBoard(Logger):
    """Writes `tensorboard/` in the run's folder.

    Each trial is a TensorBoard run: `loss/train` and `loss/validation` at each evaluation and, when it ended, its losses at
    its best step, which are the metrics of the HParams tab. All is written anew when a run begins or goes on, so that each
    point is there once; what an earlier session trained then bears the time of this one.

    A file is open only while it is written to: the number of trials is not bounded by that of open files.
    """

    def __init__(self) -> None:
        self._runs: dict[int, str] = {}  # TensorBoard's name of each trial that has begun
        self._waiting: dict[str, list[Any]] = {}  # records to be written, by TensorBoard's name of the run
        self._count = 0  # of them
        self._there: set[str] = set()  # the runs that have a file

    def open(self, run: Logged) -> None:
        """Writes anew what is there.

        Raises:
          UserError: if the folder is a link, or cannot be written.
        """
        if run.folder is None:
            raise UserError("it writes into the run's folder, and this run has none; give it one with out=")
        self._folder = run.folder / FOLDER
        self._selected = run.selected
        if self._folder.is_symlink():
            raise UserError(f"{str(self._folder)!r} is a symbolic link, and a run's files are none; remove it")
        with writing(self._folder):
            if self._folder.exists():
                remove(self._folder)
            self._folder.mkdir()
        # A name of this session's own: a TensorBoard that is looking would go on reading in the middle of the same one.
        self._file = f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
        self._columns = columns(run.settings)
        self._put("", 0, experiment(self._columns, run.selected))
        self.flush()

    def start(self, trial: Trial) -> None:
        run = self._runs[trial.number] = STRANGE.sub("_", trial.name).rstrip(" .")
        self._put(run, 0, session_start(run, {key: values[trial.number] for key, values in self._columns.items()}))

    def log(self, trial: int, step: int, metrics: Mapping[str, float]) -> None:
        self._put(self._runs[trial], step, scalars(metrics))

    def end(self, trial: int, summary: Mapping[str, float | int | str]) -> None:
        run, steps = self._runs.pop(trial), int(summary["steps"])
        # What is not finite is no metric: the tab would have nothing to rank it by.
        found = {f"{SUMMARY}/{name}": float(summary.get(name, math.nan)) for name in self._selected}
        why = f": first not finite was {summary['flaw']}" if "flaw" in summary else ""
        self._put(run, int(summary["best_step"]), scalars({tag: value for tag, value in found.items() if math.isfinite(value)}))
        self._put(run, steps, text_pb("status", f"{summary['status']} at step {steps}{why}"))
        self._put(run, steps, session_end(str(summary["status"])))

    def look(self, name: str, folder: Path | None) -> str:
        return "" if folder is None else f"tensorboard --logdir {shlex.quote(str(folder / FOLDER))}"

    def _put(self, run: str, step: int, summary: Any) -> None:
        self._waiting.setdefault(run, []).append(events.Event(wall_time=time.time(), step=step, summary=summary))
        self._count += 1
        if self._count >= MOST:
            self.flush()

    def flush(self) -> None:
        waiting, self._waiting, self._count = self._waiting, {}, 0  # nothing twice, if this fails
        for run, records in waiting.items():
            path = self._folder / run / self._file
            with writing(path):
                if run not in self._there:
                    path.parent.mkdir(exist_ok=not run)
                    records = [events.Event(wall_time=time.time(), file_version="brain.Event:2"), *records]
                    self._there.add(run)
                with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_LINK, 0o666), "ab") as file:
                    writer = RecordWriter(file)
                    for record in records:
                        writer.write(record.SerializeToString())


def scalars(values: Mapping[str, float]) -> Any:
    """A summary of numbers by their tags; TensorBoard holds them as float32."""
    return summaries.Summary(value=[summaries.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])


def columns(settings: Sequence[Mapping[str, Scalar]]) -> dict[str, list[str] | list[float]]:
    """The columns of the HParams tab: each varied key's values, and the seeds, by trial; numbers if all are, else text."""
    return {key: column([values[key] for values in settings]) for key in settings[0]}


def column(values: Sequence[Scalar]) -> list[str] | list[float]:
    """The values as the HParams tab takes them: of one type."""
    numbers = [float(x) for x in values if isinstance(x, int | float) and not isinstance(x, bool)]
    return numbers if len(numbers) == len(values) else [typed(x) for x in values]


def experiment(found: Mapping[str, list[str] | list[float]], selected: Sequence[str]) -> Any:
    """The summary that describes the HParams tab: its columns, and what trials are ranked by at the best step."""
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
    metrics = [api.MetricInfo(name=api.MetricName(tag=f"{SUMMARY}/{name}"), display_name=name) for name in selected]
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


def session_end(ending: str) -> Any:
    """The summary that says how a trial ended."""
    status = api.STATUS_FAILURE if ending == DIVERGED else api.STATUS_SUCCESS
    info = plugin.SessionEndInfo(status=status, end_time_secs=time.time())
    return hparams(metadata.SESSION_END_INFO_TAG, session_end_info=info)


def hparams(tag: str, **data: Any) -> Any:
    """A message of the HParams tab as a summary."""
    about = metadata.create_summary_metadata(plugin.HParamsPluginData(**data))
    return summaries.Summary(value=[summaries.Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)])
