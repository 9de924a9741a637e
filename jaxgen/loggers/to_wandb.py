"""Weights & Biases: a project a run, a run a trial; with WANDB_MODE=offline as files in the run's folder."""

from __future__ import annotations

import importlib
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.fields import UserError
from jaxgen.judge.results import DIVERGED
from jaxgen.loggers.base import Logged, Logger, Trial
from jaxgen.storage.files import remove, writing

wandb: Any = importlib.import_module("wandb")  # which a type checker need not have

FOLDER = "wandb"
STRANGE = re.compile(r"[^\w.-]", re.ASCII)  # in a project's name
LONGEST = 100  # characters of it


class WandB(Logger):
    """The config is the whole config, the history the curves, the summary a trial's row of `results.csv`.

    Raises:
      UserError: where it is to send what is logged, and knows no account to send it to.
    """

    def __init__(self) -> None:
        mode = os.environ.get("WANDB_MODE") or wandb.setup().settings.mode
        self._offline = mode in ("offline", "dryrun", "disabled")
        if not self._offline and not wandb.login(prompt=False, verify=False):
            raise UserError("logging to wandb needs an account; `wandb login`, or WANDB_MODE=offline to write files alone")
        self._runs: dict[int, Any] = {}  # the trials that train

    def open(self, run: Logged) -> None:
        self._run = run
        if run.folder is not None and (run.folder / FOLDER).is_symlink():
            raise UserError(f"{str(run.folder / FOLDER)!r} is a symbolic link, and a run's files are none; remove it")
        if self._offline and run.again and run.folder is not None and (run.folder / FOLDER).exists():
            with writing(run.folder / FOLDER):
                remove(run.folder / FOLDER)  # written anew: files know nothing of those before them
        self._settings = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )

    def start(self, trial: Trial) -> float | None:
        found = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or project(self._run.name),
            group=os.environ.get("WANDB_RUN_GROUP") or self._run.id,
            name=trial.name,
            id=f"{self._run.id}-{trial.number}",
            config=dict(trial.config),
            dir=self._run.folder,
            resume=None if self._offline else "allow",
            reinit="create_new",
            settings=self._settings,
        )
        self._runs[trial.number] = found
        return found.starting_step - 1 if found.resumed else None

    def log(self, trial: int, step: int, metrics: Mapping[str, float]) -> None:
        self._runs[trial].log(dict(metrics), step=step)

    def end(self, trial: int, summary: Mapping[str, float | int | str]) -> None:
        found = self._runs.pop(trial)
        found.summary.update(dict(summary))
        found.finish(int(summary["status"] == DIVERGED))

    def close(self) -> None:
        for found in self._runs.values():
            found.finish(1)

    def look(self, name: str, folder: Path | None) -> str:
        if not self._offline:
            return f"https://wandb.ai, project {os.environ.get('WANDB_PROJECT') or project(name)}"
        return f"wandb sync {shlex.quote(str(FOLDER if folder is None else folder / FOLDER))}/offline-run-*"


def project(name: str) -> str:
    """A run's name as one of a project."""
    return STRANGE.sub("-", name)[:LONGEST]
