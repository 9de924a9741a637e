"""The digits task: which class is an image of? Real images that a newcomer knows, by networks of the course."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgen.config import Config
from jaxgen.fields import UserError
from jaxgen.tasks import BUILT_IN
from jaxgen.tasks.base import Origin, Section, Task
from jaxgen.tasks.digits import data, images
from jaxgen.tasks.digits.config import Data, Model, Regularizer, Train
from jaxgen.tasks.front import Supervised
from jaxgen.tasks.inputs import shapes_of
from jaxgen.tasks.measures import accuracy, cross_entropy
from jaxgen.tasks.metric import Metric
from jaxgen.tasks.modules import Network, later
from jaxgen.tasks.rows import Splits, described

MEASURES = {
    Metric("loss", "nats", "an image", what="mean cross-entropy"): cross_entropy,
    Metric("accuracy", higher_is_better=True, what="share of images of which the likeliest class is the right one"): accuracy,
}
DIGITS_SOURCE = "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (1998), UCI Machine Learning Repository"
SHARE_ALIKE = "Creative Commons Attribution-ShareAlike 3.0, https://creativecommons.org/licenses/by-sa/3.0/"
ORIGINS: Mapping[str, Origin] = {
    "mnist": Origin(
        "MNIST, a sixth", "Y. LeCun, C. Cortes and C. Burges, the MNIST database (1998)", SHARE_ALIKE, "cc-by-sa-3.0"
    ),
    "fashion": Origin(
        "Fashion-MNIST, a twelfth", "H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST (2017), Zalando SE", "MIT", "mit"
    ),
    "digits8x8": Origin(
        "digits8x8.csv.gz",
        DIGITS_SOURCE,
        "Creative Commons Attribution 4.0 International, https://creativecommons.org/licenses/by/4.0/",
        "cc-by-4.0",
    ),
}


@functools.cache
def network_for(classes: int) -> Network:
    """One of the families for so many classes, imported when it is first used."""

    def network() -> Network:
        from jaxgen.tasks.digits.model import network

        return network(classes)

    return later(Model, network)


@functools.cache
def scaled(ink: int) -> Callable[[Any], Any]:
    """Bytes of 0 to `ink`, as they lie on the device, as numbers of 0 to 1."""
    return lambda images: images / ink


class Digits(Supervised):
    """Classification of images."""

    place, Train, Regularizer = BUILT_IN, Train, Regularizer
    classes: tuple[str, ...] = tuple(map(str, range(10)))
    """What the classes are called, by label."""
    ink: int = images.DIGITS_INK
    """The largest value of a pixel."""

    def __init__(self) -> None:
        super().__init__("digits", network_for(len(self.classes)), data.split, MEASURES, Data, None)

    # Read. ----------------------------------------------------------------------------------------------------------------

    def known(self, data: Data) -> dict[str, Any]:
        found = images.read(data.path)
        return self._of(found.classes, found.ink)

    def reopened(self, facts: Mapping[str, Any]) -> Task:
        if "classes" not in facts:
            raise UserError(
                "it is of the digits task as it was before it had several sets of images; train it again, with "
                "--data.path digits8x8"
            )
        return self._on(shapes_of(facts["inputs"]), **self._of(tuple(map(str, facts["classes"])), int(facts["ink"])))

    def _of(self, classes: tuple[str, ...], ink: int) -> dict[str, Any]:
        return {"classes": classes, "ink": ink, "network": network_for(len(classes)), "_inputs": scaled(ink)}

    @property
    def remembered(self) -> dict[str, Any]:
        return super().remembered | {"classes": [*self.classes], "ink": self.ink}

    def facts(self, data: Data) -> dict[str, Any]:
        return {"images": data.path} | described(self.parts(data)) | self.remembered

    def headline(self, facts: Mapping[str, Any]) -> str:
        return f"{facts['images']} ({', '.join(f'{n:,} {part}' for part, n in facts['rows'].items())} images)"

    def origin(self, facts: Mapping[str, Any]) -> Origin:
        path = facts.get("images", self.name)
        return ORIGINS.get(path, Origin(Path(path).name))

    def floors(self, splits: Splits) -> Mapping[str, Mapping[str, float]]:
        from jaxgen.tasks.digits.floors import floors  # SciPy, which a command's --help does without

        return floors(splits, len(self.classes), self.ink)

    # Traced. --------------------------------------------------------------------------------------------------------------

    def batch(self, config: Config, rows: Any, key: Any, step: Any) -> Any:
        """Images that are moved, turned and zoomed, as floats in the values of their bytes."""
        from jaxgen.tasks.digits.augmentation import augmented

        return augmented(config.regularizer, rows[0], key), *rows[1:]

    def layers(self, params: Any) -> list[str]:
        return sorted(params, key=lambda name: [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", name)])

    # Used. ----------------------------------------------------------------------------------------------------------------

    def predict(self, trained: Any, inputs: Any) -> Any:
        """The scores of each class, (N, classes), of images (N, H, W) or (N, H * W) of whole numbers."""
        return super().predict(trained, data.images_of(inputs, self.like.shape[1:], self.ink))

    def inputs(self, path: str | Path) -> Any:
        """Images of a picture, a folder of pictures, an IDX, .npy or CSV file."""
        return data.inputs_in(Path(path), self.like.shape[1:])

    def answers(self, outputs: Any) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        _, rows = super().answers(outputs)
        head = ("class", *(f"p_{name}" for name in self.classes))
        return head, [(self.classes[row[0]], *row[1:]) for row in rows]

    def show(self, found: Any) -> list[Section]:
        from jaxgen.tasks.digits.show import sections

        return sections(self, found)


DIGITS = Digits()
