"""Named sweeps, each of which answers one question: a module with QUESTION, SETTINGS, SEEDS and sweep(base)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from experiments.ablations import optimizers
from jaxgen.config import Config
from jaxgen.sweep import Question, Sweep


class Ablation(Protocol):
    @property
    def QUESTION(self) -> Question: ...

    @property
    def SETTINGS(self) -> Mapping[str, Any]:
        """What the ablation has in place of the config's own defaults, where no flag says otherwise."""
        ...

    @property
    def SEEDS(self) -> int: ...

    def sweep(self, base: Config) -> Sweep: ...


ABLATIONS: Mapping[str, Ablation] = {"optimizers": optimizers}
