"""The front door: any network and pairs of inputs and targets as a task, in a call.

JAX is imported where it is used: rooms are tasks of this kind, and a command's --help asks them for their flags.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import shlex
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxgen.called import called
from jaxgen.config import Config, Cut
from jaxgen.fields import UserError, register
from jaxgen.tasks import BUILT_IN
from jaxgen.tasks.base import Task
from jaxgen.tasks.inputs import facts_of, shapes_of, table_of
from jaxgen.tasks.measures import (
    LOSSES,
    MEASURES,
    Loss,
    Measure,
    binary_cross_entropy,
    cross_entropy,
)
from jaxgen.tasks.metric import Metric
from jaxgen.tasks.modules import Network, choice, network_of
from jaxgen.tasks.rows import described, exact, size

if TYPE_CHECKING:
    import jax

    from jaxgen.train.functions import Weighed

PREDICTED = 1024  # rows at a time


class Supervised(Task):
    """A network that turns inputs into outputs, and a loss between outputs and targets (`supervised`)."""

    def __init__(
        self,
        name: str,
        network: Network,
        data: Any,
        measures: Mapping[Metric, Measure],
        section: type,
        inputs: Callable[[Any], Any] | None,
        like: Any = None,
    ) -> None:
        self.name, self.network, self.data, self.measures = name, network, data, dict(measures)
        self.Data, self.Model, self.metrics = section, network.section, tuple(measures)
        self._inputs = inputs or (lambda x: x)
        self.like = like  # the shapes and types of two rows of inputs; None: nothing has been read

    # Read. ----------------------------------------------------------------------------------------------------------------

    def splits(self, data: Any) -> Any:
        found = self.data(data) if callable(self.data) else self.data
        if not isinstance(found, tuple):
            raise UserError(
                f"the data of the task {self.name!r} are a {type(found).__name__}; expected (inputs, targets), or Splits"
            )
        return found

    def opened(self, data: Any) -> Task:
        import jax

        rows = self.parts(data).train
        if not isinstance(rows, tuple) or len(rows) not in (2, 3):
            raise UserError(f"a row of the task {self.name!r} is {type(rows).__name__}; expected (inputs, targets[, weights])")
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, *x.shape[1:]), x.dtype), rows[0])
        return self._on(like, **self.known(data))

    def known(self, data: Any) -> dict[str, Any]:
        """What else than the shapes of inputs a task that has been opened knows of its rows: its attributes, by name."""
        return {}

    def reopened(self, facts: Mapping[str, Any]) -> Task:
        return self._on(shapes_of(facts.get("inputs", {})))

    @property
    def remembered(self) -> dict[str, Any]:
        return {"inputs": facts_of(self.like)}

    def _on(self, like: Any, **more: Any) -> Task:
        import jax

        leaves, structure = jax.tree.flatten(like)
        key = (structure, *((x.shape, x.dtype) for x in leaves), *more.items())
        known: dict[Any, Task] = self.__dict__.setdefault("_known", {})
        if key not in known:  # programs are kept by the object: one for what trains the same
            made = copy.copy(self)
            vars(made).update(more, like=like)
            known[key] = made
        return known[key]

    def facts(self, data: Any) -> dict[str, Any]:
        parts = self.parts(data)
        return described(parts) | self.remembered

    # Traced. --------------------------------------------------------------------------------------------------------------

    def init(self, config: Config, key: jax.Array) -> tuple[Any, Any]:
        return self.network.init(config.model, key, self._inputs(self._zeros()))

    def _zeros(self) -> Any:
        """Two rows of inputs: one would hide a squeeze."""
        import jax
        import jax.numpy as jnp

        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), self.like)

    def apply(self, config: Config, params: Any, stats: Any, inputs: Any, train: bool, key: Any = None) -> tuple[Any, Any]:
        return self.network.apply(config.model, params, stats, self._inputs(inputs), train, key)

    def checked(self, sweep: Any) -> Any:
        """Refuses classes that the network has no outputs for: they would be read as something else."""
        classes = getattr(self._outputs_of(sweep.base), "shape", (0,))[-1] if self.trained_by is cross_entropy else 0
        for data in dict.fromkeys(config.data for config in sweep) if classes else ():
            for part in self.parts(data)[:3]:
                targets = np.zeros(1, int) if part is None else part[1]
                if getattr(targets, "dtype", np.dtype(float)).kind not in "ui":
                    return sweep  # which is said as it is traced
                if not 0 <= targets.min() <= targets.max() < classes:
                    raise UserError(
                        f"targets go from {targets.min()} to {targets.max()}, and the network has outputs for the classes 0 to "
                        f"{classes - 1}; number the classes from 0 on, or give the network as many outputs"
                    )
        return sweep

    def _outputs_of(self, config: Config) -> Any:
        """The shape and type of what the network gives for two rows; None where it cannot be traced, which is said later."""
        import jax

        def forward() -> Any:
            return self.apply(config, *self.init(config, jax.random.key(0)), self._zeros(), False)[0]

        try:
            return jax.eval_shape(forward)
        except Exception:
            return None

    def _measure(self, measure: Measure, outputs: Any, rows: Any) -> Weighed:
        import jax.numpy as jnp

        from jaxgen.train.functions import weighed

        found, count = weighed(measure(outputs, rows[1])), size(rows[0])
        shape, weights = jnp.shape(found.values), found.weights
        if shape != (count,) and (weights is None or jnp.shape(weights) != shape or shape[:1] != (count,)):
            name = getattr(measure, "__name__", "a measure")
            raise UserError(
                f"{name} gives numbers of shape {shape} for {count} rows, expected ({count},): a number of each row, not their "
                "mean and not of pairs of rows; or such numbers of each place, with weights of the same shape"
            )
        if len(rows) == 2:
            return found
        own = rows[2].reshape(-1, *(1,) * (len(shape) - 1))
        return found._replace(weights=jnp.broadcast_to(own, shape) if weights is None else weights * own)

    def loss(self, config: Config, params: Any, stats: Any, batch: Any, key: jax.Array, step: jax.Array) -> tuple[Weighed, Any]:
        outputs, stats = self.apply(config, params, stats, batch[0], True, key)
        return self._measure(self.trained_by, outputs, batch), stats

    def score(self, config: Config, params: Any, stats: Any, rows: Any, keys: jax.Array) -> dict[str, Weighed]:
        outputs, _ = self.apply(config, params, stats, rows[0], False)
        return {metric.name: self._measure(measure, outputs, rows) for metric, measure in self.measures.items()}

    @property
    def trained_by(self) -> Measure:
        return next(measure for metric, measure in self.measures.items() if metric.name == "loss")

    # Used. ----------------------------------------------------------------------------------------------------------------

    def predict(self, trained: Any, inputs: Any) -> np.ndarray:
        """The network's outputs for inputs like those that it was trained on: (N, ...)."""
        import jax

        found = self._fitting(inputs)
        count = size(found)
        register(type(trained.config))
        config = dataclasses.replace(trained.config, data=None, optimizer=None)  # of which a network knows nothing
        outputs = []
        for first in range(0, count, PREDICTED):
            at = np.minimum(np.arange(first, first + min(PREDICTED, count)), count - 1)  # as many each time: one program
            piece = jax.tree.map(lambda x, at=at: x[at], found)
            outputs.append(jax.device_get(_outputs()(self, config, trained.params, trained.stats, piece)))
        return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *outputs)

    def mixed(self, outputs: Sequence[Any]) -> Any:
        """Outputs whose probabilities are the mean of the trials' where the loss is a cross-entropy, else the outputs' mean."""
        if not all(isinstance(one, np.ndarray) and one.dtype.kind == "f" for one in outputs):
            return super().mixed(outputs)
        scores, count = np.stack(outputs).astype(np.float64), math.log(len(outputs))
        if self.trained_by is cross_entropy:
            shares = scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)
            return np.logaddexp.reduce(shares) - count
        if self.trained_by is binary_cross_entropy:  # the logarithms of both shares, whose difference is the score
            yes, no = (np.logaddexp.reduce(-np.logaddexp(0, sign * scores)) for sign in (-1, 1))
            return yes - no
        return scores.mean(0)

    def _fitting(self, inputs: Any) -> Any:
        """Inputs in the types of the training rows.

        Raises:
          UserError: where they are of another kind.
        """
        import jax

        try:
            given = jax.tree.map(lambda like, x: np.asarray(x), self.like, inputs)
        except ValueError:
            raise UserError(f"the inputs are a tree of another kind; expected one like {facts_of(self.like)}") from None
        for like, x in zip(jax.tree.leaves(self.like), jax.tree.leaves(given), strict=True):
            if x.ndim != len(like.shape) or x.shape[1:] != like.shape[1:] or not len(x):
                raise UserError(f"inputs are of shape {x.shape}; expected {('N', *like.shape[1:])}".replace("'", ""))
        return jax.tree.map(lambda like, x: _alike(exact(x, "inputs"), like.dtype), self.like, given)

    def inputs(self, path: str | Path) -> Any:
        """Rows of a .npy file, or of a CSV file of numbers with or without a head, in the shape of a row."""
        import jax

        if len(jax.tree.leaves(self.like)) != 1:
            raise UserError("a file holds one array, and this task's inputs are several; predict in Python (jaxgen.predict)")
        found, shape = table_of(Path(path)), self.like.shape[1:]
        if found[0].size != math.prod(shape):
            raise UserError(f"a row of {str(path)!r} holds {found[0].size} numbers; expected {math.prod(shape)}, an input")
        return found.reshape(-1, *shape)

    def further(self, out: str) -> list[str]:
        own = "" if self.place in ("", BUILT_IN) else f" --task {shlex.quote(self.place)}"
        return [f"what it says of the test rows: {called(f'predict {shlex.quote(out)}{own}')}"]

    def inputs_of(self, rows: Any) -> Any:
        return rows[0]

    def answers(self, outputs: Any) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        if not isinstance(outputs, np.ndarray):
            raise UserError("the network gives several arrays, which are no table; predict in Python (jaxgen.predict)")
        flat = outputs.reshape(len(outputs), -1)
        if self.trained_by is cross_entropy and np.ndim(outputs) == 2:
            shares = np.exp(flat - np.logaddexp.reduce(flat, axis=1, keepdims=True))
            head = ("class", *(f"p_{i}" for i in range(flat.shape[1])))
            return head, [(int(x.argmax()), *(f"{p:.6f}" for p in x)) for x in shares]
        if self.trained_by is binary_cross_entropy:
            flat = 1 / (1 + np.exp(-flat))
        head = ["output"] if flat.shape[1] == 1 else [f"output_{i}" for i in range(flat.shape[1])]
        return head, [[f"{value:.6g}" for value in row] for row in flat]


def _alike(x: np.ndarray, kind: Any) -> np.ndarray:
    """Numbers in another type.

    Raises:
      UserError: where that changes them.
    """
    found = x.astype(kind)
    if np.dtype(kind).kind in "bui" and not np.array_equal(found, x):
        wrong = x[found != x].flat[0]
        raise UserError(f"inputs hold {wrong}, and were {np.dtype(kind)} in training; give them as they were then")
    return found


@functools.cache
def _outputs() -> Any:
    """(task, config, params, stats, inputs) -> the network's outputs, compiled once for a task."""
    import jax

    from jaxgen.engine.precision import precisely

    return jax.jit(precisely(lambda task, *given: task.apply(*given, False)[0]), static_argnums=0)


def supervised(
    network: Any,
    data: Any,
    *,
    loss: Loss | Measure = "cross_entropy",
    metrics: Sequence[str | Measure | tuple[Metric, Measure]] = (),
    select: str = "loss",
    name: str | None = None,
    inputs: Callable[[Any], Any] | None = None,
) -> Supervised:
    """A task of inputs and targets.

    Args:
      network: a class of flax.linen (`__call__(x, train)`), flax.nnx or equinox; a mapping of names to such classes, which
        `model.family` chooses from; or a pair of functions (init, apply) as in `tasks.modules.Network`. Its fields (or the
        parameters of its `__init__`) are the keys below `model.`: floats are leaves, which may differ in one program, and the
        rest is structure. `jaxgen.Static[float]` makes a float structure.
      data: (inputs, targets), pytrees of arrays that share their first axis, which are shuffled by `data.split_seed` and cut
        80/10/10; or (inputs, targets, weights); or `jaxgen.Splits` of such tuples; or a function of the config's data section
        that gives any of these. The annotation of its parameter, a dataclass, is the section's type.
      loss: the name of one, or a function of (outputs, targets) that gives a number of each row (N,), or such numbers and
        their weights.
      metrics: what else is measured: names of losses, "accuracy", functions like a loss, or pairs of a `jaxgen.Metric` and one.
      select: the metric that selects the best step: of accuracy the highest, of losses the lowest.
      name: the task's. None: the network's.
      inputs: what is done to inputs within the program, so that bytes may lie on the device as bytes: lambda x: x / 255.

    Raises:
      UserError: for a network that is none, a loss or metric that is not there, or a field of a network without a default.

    Examples:
      >>> class Net(nn.Module):
      ...     width: int = 8  # structure: each value is a program of its own
      ...     dropout: float = 0.0  # a leaf: values may differ side by side in one program
      ...     @nn.compact
      ...     def __call__(self, x, train):
      ...         x = nn.relu(nn.Dense(self.width)(x))
      ...         return nn.Dense(1)(jaxgen.nn.Dropout(self.dropout)(x, train))[:, 0]
      >>> task = jaxgen.supervised(Net, (x, y), loss="squared_error", metrics=["absolute_error"], name="sines")
      >>> sweep = jaxgen.grid(task.config(), {"model.dropout": [0.0, 0.2], "seed": range(3)})
    """
    made = (
        choice({key: network_of(one) for key, one in network.items()}) if isinstance(network, Mapping) else network_of(network)
    )
    measures = [_measured("loss", loss, LOSSES), *(_measured(None, one, tuple(MEASURES)) for one in metrics)]
    names = [metric.name for metric, _ in measures]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise UserError(f"two metrics are called {twice!r}; give one of them another name, with jaxgen.Metric")
    if select not in names:
        raise UserError(f"select is {select!r}, expected one of {', '.join(names)}")
    measures.sort(key=lambda pair: pair[0].name != select)  # the first selects; sorting keeps the others' order
    return Supervised(name or _named(network), made, data, dict(measures), _section_of(data), inputs)


def _measured(name: str | None, given: Any, known: Sequence[str]) -> tuple[Metric, Measure]:
    if isinstance(given, tuple):
        return given
    if callable(given):
        return Metric(name or getattr(given, "__name__", "metric")), given
    if given not in known:
        raise UserError(f"{'the loss' if name else 'a metric'} is {given!r}, expected one of {', '.join(known)}, or a function")
    found = MEASURES[given]
    return Metric(name or given, found.unit, higher_is_better=found.higher_is_better), found.of


def _named(network: Any) -> str:
    if isinstance(network, Mapping):
        return "_or_".join(network)
    return getattr(network[0] if isinstance(network, tuple) else network, "__name__", "task").lower()


def _section_of(data: Any) -> type:
    """The data section's type: what annotates the parameter of a function that reads."""
    hints = typing.get_type_hints(data, include_extras=True) if callable(data) and hasattr(data, "__annotations__") else {}
    hints.pop("return", None)
    kind = next(iter(hints.values()), Cut)
    return kind if dataclasses.is_dataclass(kind) and isinstance(kind, type) else Cut
