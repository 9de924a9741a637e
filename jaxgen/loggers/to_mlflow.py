"""MLflow: an experiment a run, a run a trial; in the run's folder, or where MLFLOW_TRACKING_URI says."""

from __future__ import annotations

import importlib
import logging
import os
import re
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.judge.results import COMPLETED, DIVERGED
from jaxgen.loggers.base import EVERYTHING, Logged, Logger, Trial

mlflow: Any = importlib.import_module("mlflow")  # which a type checker need not have
entities: Any = importlib.import_module("mlflow.entities")

FOLDER = "mlflow"
RUN, TRIAL, STATUS = "jaxgen.run", "jaxgen.trial", "jaxgen.status"  # tags
FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"  # a trial that completed or stopped; diverged; is not at its end
METRICS, PARAMS, PAGE = 1000, 100, 10_000  # that one request takes
STRANGE = re.compile(r"[^\w/ .:-]", re.ASCII)  # in a metric's name
LONGEST = 250  # characters of it


class MLflow(Logger):
    """Parameters are the whole config, metrics the curves and, by the names of `results.csv`, what a trial came to.

    A run that goes on finds its trials by their tags, and adds what came after their last steps: a trial that is trained again
    comes to the same numbers. So is one that is given more steps after it had ended.
    """

    def open(self, run: Logged) -> None:
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # tells of each table that it makes
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self._run = run
        uri, artifacts = where(run.folder), None
        if not elsewhere(run.folder):
            assert run.folder is not None
            (run.folder / FOLDER).mkdir(exist_ok=True)
            artifacts = (run.folder / FOLDER / "artifacts").absolute().as_uri()
        self._client = mlflow.MlflowClient(uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.name
        there = self._client.get_experiment_by_name(name)
        self._experiment = self._client.create_experiment(name, artifacts) if there is None else there.experiment_id
        self._known = self._earlier() if run.again else {}  # trial -> its run in an earlier session
        self._ids: dict[int, str] = {}  # of the trials that train
        self._waiting: dict[int, list[Any]] = {}

    def _earlier(self) -> dict[int, tuple[str, str]]:
        """The trials that an earlier session logged: the id and the status of each one's run."""
        found: dict[int, tuple[str, str]] = {}
        token = None
        while True:
            query = f"tags.`{RUN}` = '{self._run.id}'"
            page = self._client.search_runs([self._experiment], query, max_results=PAGE, page_token=token)
            found |= {int(one.data.tags[TRIAL]): (one.info.run_id, one.info.status) for one in page}
            token = page.token
            if not token:
                return found

    def start(self, trial: Trial) -> float | None:
        key, status = self._known.get(trial.number, ("", ""))
        if status == FAILED or (status == FINISHED and not self._outgrown(key, trial)):
            return EVERYTHING
        if key:
            self._ids[trial.number] = key
            self._client.update_run(key, status="RUNNING")
            curves = [name for name in self._client.get_run(key).data.metrics if "/" in name]
            points = self._client.get_metric_history(key, curves[0]) if curves else []
            return max((point.step for point in points), default=None)
        tags = {RUN: self._run.id, TRIAL: str(trial.number)}
        key = self._client.create_run(self._experiment, tags=tags, run_name=trial.name).info.run_id
        self._ids[trial.number] = key
        params = [entities.Param(name, str(value)) for name, value in trial.config.items()]
        for first in range(0, len(params), PARAMS):
            self._client.log_batch(key, params=params[first : first + PARAMS])
        return None

    def _outgrown(self, key: str, trial: Trial) -> bool:
        """Whether a trial has been given more steps since it ended. Parameters stay as they were: MLflow changes none."""
        found = self._client.get_run(key).data
        return found.tags.get(STATUS) == COMPLETED and found.metrics["steps"] < float(str(trial.config["train.steps"]))

    def log(self, trial: int, step: int, metrics: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        points = (entities.Metric(STRANGE.sub("_", name)[:LONGEST], value, now, step) for name, value in metrics.items())
        self._waiting.setdefault(trial, []).extend(points)

    def end(self, trial: int, summary: Mapping[str, float | int | str]) -> None:
        numbers = {name: value for name, value in summary.items() if not isinstance(value, str)}
        self.log(trial, int(summary["best_step"]), numbers)
        self._write(trial)
        key = self._ids.pop(trial)
        self._client.set_tag(key, STATUS, ", ".join(value for value in summary.values() if isinstance(value, str)))
        self._client.set_terminated(key, FAILED if summary["status"] == DIVERGED else FINISHED)

    def flush(self) -> None:
        for trial in list(self._waiting):
            self._write(trial)

    def _write(self, trial: int) -> None:
        points = self._waiting.pop(trial, [])
        for first in range(0, len(points), METRICS):
            self._client.log_batch(self._ids[trial], metrics=points[first : first + METRICS])

    def close(self) -> None:
        for key in self._ids.values():
            self._client.set_terminated(key, KILLED)

    def look(self, name: str, folder: Path | None) -> str:
        uri = where(folder)
        return uri if uri.startswith("http") else f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


def elsewhere(folder: Path | None) -> bool:
    """Whether the user has said where runs are logged, or there is no folder to do it in."""
    return folder is None or mlflow.is_tracking_uri_set()


def where(folder: Path | None) -> str:
    """The address of the store that a run is logged to."""
    if folder is None or mlflow.is_tracking_uri_set():
        return mlflow.get_tracking_uri()
    path = str((folder / FOLDER / "mlflow.db").absolute())
    return f"sqlite:///{path.replace('%', '%25').replace('?', '%3F')}"
