"""The curve task: the height of a sine from a few noisy points of it, by polynomials and by networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jaxgen.config import Config
from jaxgen.fields import UserError
from jaxgen.tasks import BUILT_IN
from jaxgen.tasks.base import Origin, Section
from jaxgen.tasks.curve import data
from jaxgen.tasks.curve.config import Data, Model, Train
from jaxgen.tasks.front import Supervised
from jaxgen.tasks.measures import absolute_error, squared_error
from jaxgen.tasks.metric import Metric
from jaxgen.tasks.modules import Network, later
from jaxgen.tasks.rows import Splits

MEASURES = {
    Metric("loss", what="mean squared error"): squared_error,
    Metric("absolute_error", what="mean absolute error"): absolute_error,
}


def network() -> Network:
    from jaxgen.tasks.curve.model import NETWORK

    return NETWORK


class Curve(Supervised):
    """Regression on points that are made by a formula."""

    place, Train = BUILT_IN, Train

    def __init__(self) -> None:
        super().__init__("curve", later(Model, network), data.split, MEASURES, Data, None)

    def checked(self, sweep: Any) -> Any:
        sweep = super().checked(sweep)
        if any((one.regularizer.l1 or one.regularizer.max_norm) and not self.trains(one) for one in sweep):
            raise UserError(
                "regularizer.l1 or max_norm is given, but least_squares is solved with regularizer.l2 alone; leave it out, or "
                "choose model.family polynomial"
            )
        return sweep

    def trains(self, config: Config) -> bool:
        return config.model.family != "least_squares"

    def solve(self, data: Any, group: Any) -> Iterator[Any]:
        from jaxgen.tasks.curve.solving import solved

        return solved(data, group)

    def floors(self, splits: Splits) -> Mapping[str, Mapping[str, float]]:
        return data.floors(splits)

    @property
    def verdicts(self) -> Mapping[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        from jaxgen.tasks.curve.answers import draws

        return {"draws": draws}

    def origin(self, facts: Mapping[str, Any]) -> Origin:
        return Origin(
            "points of a noisy sine, made by a formula", "C. M. Bishop, Pattern Recognition and Machine Learning (2006)"
        )

    def show(self, found: Any) -> list[Section]:
        from jaxgen.tasks.curve.show import sections

        return sections(self, found)


CURVE = Curve()
