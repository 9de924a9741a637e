"""The digits task: which digit is it? Real images that a newcomer knows, by networks of the course."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxgen.tasks import BUILT_IN
from jaxgen.tasks.base import Origin, Section
from jaxgen.tasks.digits import data
from jaxgen.tasks.digits.config import Data, Model, Train
from jaxgen.tasks.front import Supervised
from jaxgen.tasks.measures import accuracy, cross_entropy
from jaxgen.tasks.metric import Metric
from jaxgen.tasks.modules import Network, later
from jaxgen.tasks.rows import Splits

MEASURES = {
    Metric("loss", "nats", "an image", what="mean cross-entropy"): cross_entropy,
    Metric("accuracy", higher_is_better=True, what="share of images of which the likeliest digit is the right one"): accuracy,
}


def network() -> Network:
    from jaxgen.tasks.digits.model import NETWORK

    return NETWORK


def scaled(images: Any) -> Any:
    """Bytes of 0 to 16, as they lie on the device, as numbers of 0 to 1."""
    return images / data.INK


class Digits(Supervised):
    """Classification of the bundled images."""

    place, Train = BUILT_IN, Train

    def __init__(self) -> None:
        super().__init__("digits", later(Model, network), data.split, MEASURES, Data, scaled)

    def floors(self, splits: Splits) -> Mapping[str, Mapping[str, float]]:
        return data.floors(splits)

    def predict(self, trained: Any, inputs: Any) -> Any:
        """The scores of each digit, (N, 10), of images (N, 8, 8) or (N, 64) of 0 to 16."""
        return super().predict(trained, data.images_of(inputs))

    def origin(self, facts: Mapping[str, Any]) -> Origin:
        licence = "Creative Commons Attribution 4.0 International, https://creativecommons.org/licenses/by/4.0/"
        return Origin(data.FILE, data.SOURCE, licence, "cc-by-4.0")

    def show(self, found: Any) -> list[Section]:
        from jaxgen.tasks.digits.show import sections

        return sections(self, found)


DIGITS = Digits()
