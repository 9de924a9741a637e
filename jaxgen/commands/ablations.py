"""The ablations of each task, where the package carries them: named sweeps, each of which answers one question."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep
from jaxgen.tasks import TASKS


class Ablation(Protocol):
    @property
    def QUESTION(self) -> Question: ...

    @property
    def SETTINGS(self) -> Mapping[str, Any]:
        """What the ablation has in place of the config's own defaults, where no flag says otherwise."""
        ...

    @property
    def SEEDS(self) -> int: ...

    @property
    def MINUTES(self) -> float:
        """What it took once, by its own settings, on two CPU cores that others shared."""
        ...

    def sweep(self, base: Config) -> Sweep: ...


def ablations(task: str) -> Mapping[str, Ablation]:
    """The ablations of a task that comes with the package, by name; none of any other."""
    found = _found(task)
    return {} if found is None else {module.QUESTION.name: module for module in found.MODULES}


def grouped(task: str) -> Mapping[str, Sequence[Ablation]]:
    """The same by what they are about, as the guide has them."""
    found = _found(task)
    return {} if found is None else found.GROUPS


def _found(task: str) -> Any:
    """A task's folder of ablations; None where there is no folder, or an empty one."""
    found = importlib.util.find_spec(f"jaxgen.ablations.{task}") if task in TASKS else None
    return None if found is None or found.origin is None else importlib.import_module(f"jaxgen.ablations.{task}")


def owners() -> Mapping[str, str]:
    """Ablation -> the task that it is of."""
    return {name: task for task in TASKS for name in ablations(task)}
