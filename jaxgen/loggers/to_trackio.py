"""trackio: a project a run, a run a trial, in trackio's own folder on this machine."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackio.sqlite_storage import SQLiteStorage

from jaxgen.judge.results import Scalar
from jaxgen.loggers.base import Logged, Logger, Trial

SUMMARY = "summary"  # what a trial came to: trackio knows metrics by step alone


class Trackio(Logger):
    """The config is the whole config, and the metrics are the curves and, at its best step, a trial's row of `results.csv`.

    Rows are added to the project's database and not by `trackio.init`, which has one run at a time and looks through all others
    for each. Each has an id, so that none is there twice when a run goes on.
    """

    def open(self, run: Logged) -> None:
        SQLiteStorage.validate_project_name(run.name)
        self._run = run
        self._known = SQLiteStorage.get_max_steps_for_runs(run.name) if run.again else {}
        self._trials: dict[int, tuple[str, dict[str, Scalar]]] = {}  # the name and the config of each that trains
        self._waiting: dict[int, list[tuple[int, str, dict[str, Any]]]] = {}

    def start(self, trial: Trial) -> float | None:
        self._trials[trial.number] = trial.name, dict(trial.config)
        return self._known.get(self._id(trial.number))

    def _id(self, trial: int) -> str:
        return f"{self._run.id}-{trial}"

    def log(self, trial: int, step: int, metrics: Mapping[str, float]) -> None:
        self._waiting.setdefault(trial, []).append((step, f"{self._id(trial)}-{step}", dict(metrics)))

    def end(self, trial: int, summary: Mapping[str, float | int | str]) -> None:
        _, config = self._trials[trial]
        config |= {name: value for name, value in summary.items() if isinstance(value, str)}
        numbers = {f"{SUMMARY}/{name}": value for name, value in summary.items() if not isinstance(value, str)}
        end = f"{self._id(trial)}-end-{summary['steps']}"  # with more steps it has another one
        self._waiting.setdefault(trial, []).append((int(summary["best_step"]), end, numbers))
        self._write(trial)
        del self._trials[trial]

    def flush(self) -> None:
        for trial in list(self._waiting):
            self._write(trial)

    def _write(self, trial: int) -> None:
        steps, ids, metrics = zip(*self._waiting.pop(trial), strict=True)
        name, config = self._trials[trial]
        SQLiteStorage.bulk_log(
            project=self._run.name,
            run=name,
            run_id=self._id(trial),
            metrics_list=list(metrics),
            steps=list(steps),
            log_ids=list(ids),
            config=config,
        )

    def look(self, name: str, folder: Path | None) -> str:
        return f"trackio show --project {shlex.quote(name)}"
