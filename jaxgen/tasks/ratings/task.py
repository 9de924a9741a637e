"""The ratings task: what will a user make of an item? Embeddings by products or networks, on real votes that come with it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.config import Config
from jaxgen.fields import UserError
from jaxgen.tasks import BUILT_IN
from jaxgen.tasks.base import Origin, Section, Task
from jaxgen.tasks.front import Supervised
from jaxgen.tasks.inputs import shapes_of
from jaxgen.tasks.measures import Measure, root_of_squares, squared_error
from jaxgen.tasks.metric import Metric
from jaxgen.tasks.modules import Network, later
from jaxgen.tasks.ratings.config import SENATE, Data, Model, Regularizer, Train
from jaxgen.tasks.ratings.data import FILE, SOURCE, Ratings, asked, gap, read, split
from jaxgen.tasks.rows import Splits, described

RECOMMENDED = 10  # items for each user


MEASURES = {Metric("rmse", what="root of the mean squared error"): root_of_squares}
ACCURACY = Metric("accuracy", higher_is_better=True, what="share of ratings that what is said is nearest to")


@functools.cache
def network_for(users: int, items: int, low: float, high: float) -> Network:
    """One of the families for so many users and items, imported when it is first used."""

    def network() -> Network:
        from jaxgen.tasks.ratings.model import network

        return network(users, items, low, high)

    return later(Model, network)


class RatingsTask(Supervised):
    """Ratings of items by users."""

    place, Train, Regularizer = BUILT_IN, Train, Regularizer
    users: tuple[str, ...] = ()
    """What the users are called, by place."""
    items: tuple[str, ...] = ()
    """What the items are called, by place."""
    levels: tuple[float, ...] = (0.0, 1.0)
    """The ratings that there are, from the lowest on."""

    def __init__(self) -> None:
        super().__init__("ratings", network_for(1, 1, 0.0, 1.0), split, MEASURES, Data, None)
        self.metrics = (*self.metrics, ACCURACY)

    # Read. ----------------------------------------------------------------------------------------------------------------

    def known(self, data: Data) -> dict[str, Any]:
        found = read(data.path)
        return self._of(found.users, found.items, found.levels)

    def reopened(self, facts: Mapping[str, Any]) -> Task:
        users, items = (tuple(map(str, facts[side])) for side in ("users", "items"))
        return self._on(shapes_of(facts["inputs"]), **self._of(users, items, tuple(map(float, facts["levels"]))))

    def _of(self, users: tuple[str, ...], items: tuple[str, ...], levels: tuple[float, ...]) -> dict[str, Any]:
        made = network_for(len(users), len(items), levels[0], levels[-1])
        return {"users": users, "items": items, "levels": levels, "network": made}

    @property
    def remembered(self) -> dict[str, Any]:
        return super().remembered | {"users": [*self.users], "items": [*self.items], "levels": [*self.levels]}

    def facts(self, data: Data) -> dict[str, Any]:
        return {"ratings": data.path} | described(self.parts(data)) | self.remembered

    def headline(self, facts: Mapping[str, Any]) -> str:
        rows = ", ".join(f"{n:,} {part}" for part, n in facts["rows"].items())
        return f"{facts['ratings']} ({rows} ratings of {len(facts['items']):,} items by {len(facts['users']):,} users)"

    def origin(self, facts: Mapping[str, Any]) -> Origin:
        path = facts.get("ratings", "ratings")
        if path == SENATE:
            return Origin(FILE, SOURCE, "facts of the government of the United States: public domain", "other")
        return Origin(Path(path).name)

    def floors(self, splits: Splits) -> Mapping[str, Mapping[str, float]]:
        from jaxgen.tasks.ratings.floors import floors

        return floors(splits, self.users, self.items, self.levels)

    def checked(self, sweep: Any) -> Any:
        sweep = super().checked(sweep)
        if any(one.model.family == "mlp" and not one.model.biases for one in sweep):
            raise UserError("model.biases False is given for an mlp, which has none; leave it out, or choose model.family dot")
        return sweep

    @property
    def trained_by(self) -> Measure:
        return squared_error

    # Traced. --------------------------------------------------------------------------------------------------------------

    def loss(self, config: Config, params: Any, stats: Any, batch: Any, key: Any, step: Any) -> tuple[Any, Any]:
        found, stats = super().loss(config, params, stats, batch, key, step)
        if config.regularizer.seen is None:
            return found, stats
        from jaxgen.tasks.ratings.model import embeddings

        squares = sum((table[places] ** 2).sum(-1) for table, places in embeddings(params, batch[0], len(self.users)))
        return found._replace(values=found.values + config.regularizer.seen / 2 * squares), stats

    def score(self, config: Config, params: Any, stats: Any, rows: Any, keys: Any) -> dict[str, Any]:
        outputs, _ = self.apply(config, params, stats, rows[0], False)
        found = {metric.name: self._measure(measure, outputs, rows) for metric, measure in self.measures.items()}
        near = abs(outputs - rows[1]) < gap(self.levels) / 2
        return found | {ACCURACY.name: near.astype(outputs.dtype)}

    @property
    def lookup(self) -> Any:
        from jaxgen.tasks.ratings import model
        from jaxgen.train.functions import Lookup

        return Lookup(model.tables, model.places(len(self.users)), model.moved(len(self.users)))

    # Used. ----------------------------------------------------------------------------------------------------------------

    def predict(self, trained: Any, inputs: Any) -> Any:
        """Of users and items by place (N, 2) the ratings (N,); of users alone (N, 1) the items that they would rate highest, of
        those that they have not rated in training as far as the file is there: records of item and rating, (N, 10)."""
        found = np.asarray(inputs)
        if found.ndim == 2 and found.shape[1] == 1 and len(found):
            return self._recommended(trained, self._inside(found)[:, 0])
        return super().predict(trained, self._inside(found) if found.ndim == 2 and found.shape[1] == 2 else found)

    def _inside(self, places: np.ndarray) -> np.ndarray:
        """Places that there are: beyond the tables a program would read their last row.

        Raises:
          UserError: for others.
        """
        ends = (len(self.users), len(self.items))[: places.shape[1]]
        if places.dtype.kind not in "iu" or (places < 0).any() or (places >= ends).any():
            raise UserError(
                f"inputs hold other values than the places of users, 0 to {ends[0] - 1}, and of items, 0 to "
                f"{len(self.items) - 1}; task.users and task.items say which is which"
            )
        return places.astype(np.int32)

    def _recommended(self, trained: Any, users: np.ndarray) -> np.ndarray:
        try:
            train = Ratings(*self.parts(trained.config.data).train)
        except UserError:  # the file is not there
            train = Ratings(np.zeros((0, 2), np.int32), np.zeros(0, np.float32))
        count = min(RECOMMENDED, len(self.items))
        made = np.zeros((len(users), count), [("item", np.int32), ("rating", np.float32)])
        every = np.arange(len(self.items), dtype=np.int32)
        for row, user in enumerate(users):
            said = super().predict(trained, np.stack([np.full_like(every, user), every], 1)).astype(np.float64)
            said[train.pairs[train.pairs[:, 0] == user, 1]] = -np.inf
            best = np.argsort(-said, kind="stable")[:count]
            made[row]["item"], made[row]["rating"] = best, said[best]
        return made

    def inputs(self, path: str | Path) -> Any:
        """Users and items by name, or users alone, of a CSV file."""
        return asked(Path(path), self.users, self.items)

    def answers(self, outputs: Any) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        if outputs.dtype.names is None:
            return super().answers(outputs)
        head = [name for place in range(1, outputs.shape[1] + 1) for name in (f"item_{place}", f"rating_{place}")]
        return head, [
            [x for one in row if np.isfinite(one["rating"]) for x in (self.items[one["item"]], f"{one['rating']:.4g}")]
            for row in outputs
        ]

    def further(self, out: str) -> list[str]:
        return [*super().further(out), "and what it recommends: predict with --input FILE, a CSV file of users alone"]

    def show(self, found: Any) -> list[Section]:
        from jaxgen.tasks.ratings.show import sections

        return sections(self, found)


RATINGS = RatingsTask()
