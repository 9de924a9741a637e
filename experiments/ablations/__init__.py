"""Named sweeps, each of which answers one question: a module with QUESTION, SETTINGS, SEEDS and sweep(base)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from experiments.ablations import (
    activations,
    activity,
    adagrad,
    adam,
    augmentation,
    batch_size,
    batchnorm,
    context,
    depth_width,
    dropout,
    early_stopping,
    ensembles,
    families,
    gradients,
    initialization,
    l1,
    l2,
    label_smoothing,
    learning_rate,
    max_norm,
    momentum,
    noise,
    optimizers,
    overfitting,
    residual,
    rmsprop,
    search,
    transfer,
    weight_decay,
)
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


# In the order of the course's questions.
_MODULES: tuple[Ablation, ...] = (
    optimizers,
    momentum,
    rmsprop,
    adam,
    adagrad,
    weight_decay,
    learning_rate,
    batch_size,
    l2,
    l1,
    dropout,
    early_stopping,
    max_norm,
    activity,
    noise,
    label_smoothing,
    augmentation,
    batchnorm,
    initialization,
    activations,
    gradients,
    residual,
    depth_width,
    context,
    families,
    overfitting,
    ensembles,
    transfer,
    search,
)
ABLATIONS: Mapping[str, Ablation] = {module.QUESTION.name: module for module in _MODULES}
