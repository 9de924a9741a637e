"""The points task: of which of two kinds is a point? From a perceptron to deep networks, in the plane where all is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.config import Config
from jaxgen.fields import UserError
from jaxgen.tasks import BUILT_IN
from jaxgen.tasks.base import Origin, Section, Task
from jaxgen.tasks.front import Supervised
from jaxgen.tasks.inputs import all_scales, scales_as_facts, scales_from, shapes_of
from jaxgen.tasks.measures import accuracy, binary_cross_entropy
from jaxgen.tasks.metric import Metric
from jaxgen.tasks.modules import Network, later
from jaxgen.tasks.points.config import CANCER, MADE, Data, Model, Train
from jaxgen.tasks.points.data import FILE, SOURCE, names, split
from jaxgen.tasks.rows import Splits, described

PERCEPTRON = "perceptron"
SCALINGS = ("standard", "range", "none")


def brier(outputs: Any, targets: Any) -> Any:
    """What the sigmoid of scores (N,) is off the kinds, squared: (N,), the score of Brier (1950)."""
    import jax

    return (jax.nn.sigmoid(outputs) - targets) ** 2


MEASURES = {
    Metric("accuracy", higher_is_better=True, what="share of points whose kind is said right"): accuracy,
    Metric("loss", "nats", "a point", what="mean cross-entropy of the output's sigmoid"): binary_cross_entropy,
}


def network() -> Network:
    from jaxgen.tasks.points.model import NETWORK

    return NETWORK


class PointsTask(Supervised):
    """Classification of points into two kinds."""

    place, Train = BUILT_IN, Train
    kinds: tuple[str, str] = ("0", "1")
    """What the two kinds are called."""
    columns: tuple[str, ...] = ("x", "y")
    """What the columns are called."""
    scale: tuple[Any, ...] = ()
    """Of each of SCALINGS what is taken off each column, and what it is divided by then."""

    def __init__(self) -> None:
        super().__init__("points", later(Model, network), split, MEASURES, Data, None)

    # Read. ----------------------------------------------------------------------------------------------------------------

    def known(self, data: Data) -> dict[str, Any]:
        kinds, columns = names(data)
        return {"kinds": kinds, "columns": columns, "scale": all_scales(self.parts(data).train[0], SCALINGS)}

    def reopened(self, facts: Mapping[str, Any]) -> Task:
        kinds = tuple(map(str, facts["kinds"]))
        scale = scales_from(facts["scale"], SCALINGS)
        return self._on(shapes_of(facts["inputs"]), kinds=kinds, columns=tuple(map(str, facts["columns"])), scale=scale)

    @property
    def remembered(self) -> dict[str, Any]:
        scale = scales_as_facts(self.scale, SCALINGS)
        return super().remembered | {"kinds": [*self.kinds], "columns": [*self.columns], "scale": scale}

    def facts(self, data: Data) -> dict[str, Any]:
        return {"points": data.path} | described(self.parts(data)) | self.remembered

    def headline(self, facts: Mapping[str, Any]) -> str:
        return f"{facts['points']} ({', '.join(f'{count:,} {part}' for part, count in facts['rows'].items())} points)"

    def origin(self, facts: Mapping[str, Any]) -> Origin:
        path = facts.get("points", "points")
        if path in MADE:
            return Origin(f"{path}, points of the plane made by a formula")
        if path == CANCER:
            licence = "Creative Commons Attribution 4.0 International, https://creativecommons.org/licenses/by/4.0/"
            return Origin(FILE, SOURCE, licence, "cc-by-4.0")
        return Origin(Path(path).name)

    def floors(self, splits: Splits) -> Mapping[str, Mapping[str, float]]:
        from jaxgen.tasks.points.floors import floors

        return floors(splits)

    def checked(self, sweep: Any) -> Any:
        sweep = super().checked(sweep)
        if any(one.model.family == PERCEPTRON and one.train.objective != "cross_entropy" for one in sweep):
            raise UserError(
                "train.objective is given for a perceptron, which has a rule of its own; leave it out, or vary model.family "
                "without perceptron"
            )
        return sweep

    # Traced. --------------------------------------------------------------------------------------------------------------

    def apply(self, config: Config, params: Any, stats: Any, inputs: Any, train: bool, key: Any = None) -> tuple[Any, Any]:
        middle, size = (np.array(x, np.float32) for x in self.scale[SCALINGS.index(config.model.scaling)])
        return super().apply(config, params, stats, (inputs - middle) / size, train, key)

    def loss(self, config: Config, params: Any, stats: Any, batch: Any, key: Any, step: Any) -> tuple[Any, Any]:
        outputs, stats = self.apply(config, params, stats, batch[0], True, key)
        measure = brier if config.train.objective == "squared_error" else binary_cross_entropy
        return self._measure(measure, outputs, batch), stats

    def gradients(
        self, config: Config, params: Any, stats: Any, batch: Any, key: Any, step: Any
    ) -> tuple[Any, Any, Any] | None:
        """Of a perceptron what Rosenblatt's rule (1958) moves by: of each point that is said wrong, its inputs towards its
        kind. What is watched is the loss."""
        if config.model.family != PERCEPTRON:
            return None
        import jax

        found, _ = self.loss(config, params, stats, batch, key, step)
        outputs, back = jax.vjp(lambda p: self.apply(config, p, stats, batch[0], True, key)[0], params)
        towards = 2.0 * batch[1] - 1.0
        wrong = outputs * towards <= 0
        (slopes,) = back(jax.numpy.where(wrong, -towards, 0.0) / len(towards))
        return found, slopes, stats

    # Used. ----------------------------------------------------------------------------------------------------------------

    def answers(self, outputs: Any) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        shares = 1 / (1 + np.exp(-np.asarray(outputs, np.float64)))
        head = ("class", *(f"p_{kind}" for kind in self.kinds))
        return head, [(self.kinds[int(share > 0.5)], f"{1 - share:.6f}", f"{share:.6f}") for share in shares]

    def show(self, found: Any) -> list[Section]:
        from jaxgen.tasks.points.show import sections

        return sections(self, found)


POINTS = PointsTask()
