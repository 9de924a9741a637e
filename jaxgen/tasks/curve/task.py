"""The curve task: heights from places, by polynomials and by networks: a few noisy points, a series, a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.config import Config
from jaxgen.fields import UserError
from jaxgen.tasks import BUILT_IN
from jaxgen.tasks.base import Origin, Section, Task
from jaxgen.tasks.curve.config import CONCRETE, MADE, SUNSPOTS, Data, Model, Train
from jaxgen.tasks.curve.data import floors, read, split
from jaxgen.tasks.front import Supervised
from jaxgen.tasks.inputs import all_scales, scales_as_facts, scales_from, shapes_of
from jaxgen.tasks.measures import absolute_error, squared_error
from jaxgen.tasks.metric import Metric
from jaxgen.tasks.modules import Network, later
from jaxgen.tasks.rows import Splits, described

MEASURES = {
    Metric("loss", what="mean squared error"): squared_error,
    Metric("absolute_error", what="mean absolute error"): absolute_error,
}
SCALINGS = ("range", "standard")
BISHOP = "C. M. Bishop, Pattern Recognition and Machine Learning (2006)"
ORIGINS: Mapping[str, Origin] = {
    "sine": Origin("points of a noisy sine, made by a formula", BISHOP),
    "step": Origin("points of a noisy step, made by a formula"),
    SUNSPOTS: Origin("sunspots.csv", "yearly sunspot numbers, 1700 to 2008, as statsmodels has them", "public domain", "other"),
    CONCRETE: Origin(
        "concrete.csv",
        "I-C. Yeh, Concrete Compressive Strength (1998), UCI Machine Learning Repository",
        "Creative Commons Attribution 4.0 International, https://creativecommons.org/licenses/by/4.0/",
        "cc-by-4.0",
    ),
}


def network() -> Network:
    from jaxgen.tasks.curve.model import NETWORK

    return NETWORK


class Curve(Supervised):
    """Regression of a number on one number or several."""

    place, Train = BUILT_IN, Train
    columns: tuple[str, ...] = ("x",)
    """What the columns are called."""
    target: str = "y"
    """What is told is called so."""
    series: bool = False
    """Whether columns are the values before, of a series."""
    scale: tuple[Any, ...] = ()
    """Of each of SCALINGS what is taken off each column, and what it is divided by then."""
    height: tuple[float, float] = (0.0, 1.0)
    """What the network's output is multiplied by, the second, before the first is added: of targets that were read, their mean
    and standard deviation in training."""

    def __init__(self) -> None:
        super().__init__("curve", later(Model, network), split, MEASURES, Data, None)

    # Read. ----------------------------------------------------------------------------------------------------------------

    def known(self, data: Data) -> dict[str, Any]:
        x, y = self.parts(data).train
        found: dict[str, Any] = {"scale": all_scales(x, SCALINGS)}
        if data.path in MADE:
            return found | {"columns": ("x",), "target": "y", "series": False, "height": (0.0, 1.0)}
        what = read(data.path, data.column, data.lags)
        height = float(y.mean(dtype=np.float64)), float(y.std(dtype=np.float64)) or 1.0
        return found | {"columns": what.columns, "target": what.target, "series": what.series, "height": height}

    def reopened(self, facts: Mapping[str, Any]) -> Task:
        if "scale" not in facts:
            raise UserError("it is of the curve task as it was before it read files; train it again")
        scale = scales_from(facts["scale"], SCALINGS)
        own = {"columns": tuple(map(str, facts["columns"])), "target": str(facts["target"]), "series": bool(facts["series"])}
        return self._on(shapes_of(facts["inputs"]), scale=scale, height=tuple(map(float, facts["height"])), **own)

    @property
    def remembered(self) -> dict[str, Any]:
        scale = scales_as_facts(self.scale, SCALINGS)
        own = {"columns": [*self.columns], "target": self.target, "series": self.series, "height": [*self.height]}
        return super().remembered | {"scale": scale} | own

    def facts(self, data: Data) -> dict[str, Any]:
        return {"points": data.path} | described(self.parts(data)) | self.remembered

    def headline(self, facts: Mapping[str, Any]) -> str:
        rows = ", ".join(f"{count:,} {part}" for part, count in facts["rows"].items())
        return f"{facts.get('points', 'sine')} ({rows} points)"

    def origin(self, facts: Mapping[str, Any]) -> Origin:
        path = facts.get("points", MADE[0])
        return ORIGINS.get(path, Origin(Path(path).name))

    def floors(self, splits: Splits) -> Mapping[str, Mapping[str, float]]:
        return floors(splits, self.series)

    # What is trained, and what is not. ------------------------------------------------------------------------------------

    def checked(self, sweep: Any) -> Any:
        sweep = super().checked(sweep)
        for one in sweep:
            penalties = one.regularizer
            if not self.trains(one) and (penalties.l1 or penalties.max_norm or one.train.objective != "squared_error"):
                raise UserError(
                    "regularizer.l1, max_norm or train.objective is given, but least_squares is solved with regularizer.l2 "
                    "alone; leave it out, or choose model.family polynomial"
                )
            if one.train.method != "gradient" and (penalties.l1 or penalties.l2):
                raise UserError(f"train.method {one.train.method} knows nothing of regularizer.l1 and l2; leave them out")
            if one.train.method == "gauss_newton" and one.train.objective != "squared_error":
                raise UserError("train.method gauss_newton is of squared errors; leave train.objective out, or choose newton")
        return sweep

    def trains(self, config: Config) -> bool:
        return config.model.family != "least_squares"

    def solve(self, data: Any, group: Any) -> Iterator[Any]:
        from jaxgen.tasks.curve.solving import solved

        return solved(self.height, data, group)

    # Traced. --------------------------------------------------------------------------------------------------------------

    def apply(self, config: Config, params: Any, stats: Any, inputs: Any, train: bool, key: Any = None) -> tuple[Any, Any]:
        how = config.model.scaling if config.model.family == "mlp" else "range"
        middle, size = (np.array(x, np.float32) for x in self.scale[SCALINGS.index(how)])
        outputs, stats = super().apply(config, params, stats, (inputs - middle) / size, train, key)
        return (outputs if self.height == (0.0, 1.0) else self.height[0] + self.height[1] * outputs), stats

    def loss(self, config: Config, params: Any, stats: Any, batch: Any, key: Any, step: Any) -> tuple[Any, Any]:
        from jaxgen.tasks.curve.descent import OBJECTIVES

        outputs, stats = self.apply(config, params, stats, batch[0], True, key)
        off = (outputs - batch[1]) / self.height[1]
        return self._measure(lambda *_: OBJECTIVES[config.train.objective](off, config.train.huber), outputs, batch), stats

    def gradients(
        self, config: Config, params: Any, stats: Any, batch: Any, key: Any, step: Any
    ) -> tuple[Any, Any, Any] | None:
        if config.train.method == "gradient":
            return None
        from jaxgen.tasks.curve.descent import second_order

        return second_order(self, config, params, stats, batch, key, step)

    # Used. ----------------------------------------------------------------------------------------------------------------

    @property
    def verdicts(self) -> Mapping[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        from jaxgen.tasks.curve.answers import draws

        return {"draws": draws}

    def show(self, found: Any) -> list[Section]:
        from jaxgen.tasks.curve.show import sections

        return sections(self, found)


CURVE = Curve()
