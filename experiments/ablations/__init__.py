"""Named sweeps, each of which answers one question: a module with QUESTION, SEEDS and sweep(base)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from experiments.ablations import optimizers
from jaxgen.config import Config
from jaxgen.sweep import Sweep


class Ablation(Protocol):
    @property
    def QUESTION(self) -> str: ...

    @property
    def SEEDS(self) -> int: ...

    def sweep(self, base: Config) -> Sweep: ...


ABLATIONS: Mapping[str, Ablation] = {"optimizers": optimizers}
