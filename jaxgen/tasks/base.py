"""The seam: what a task is to a run. One object that reads rows, gives pure functions to train with, and tells what people see.

A task of one's own inherits `Task`, names itself, and gives `splits`, `init`, one of `loss` and `gradients`, and one of `score`
and `evaluate`; everything else has a default. `jaxgen.supervised` makes one of a module and pairs of inputs and targets.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxgen import config as configs
from jaxgen.config import Config, Cut, Nothing, Penalties, Training, UserError

if TYPE_CHECKING:  # reading a command's flags does not import JAX
    from jaxgen.train.functions import Functions

SHARES = (0.8, 0.9)  # where shuffled rows are cut: training, validation, test


@dataclass(frozen=True)
class Metric:
    """A number by which trials are told apart: a weighted mean over rows, or of a whole split."""

    name: str = "loss"
    unit: str = ""
    """What a difference is in, such as nats."""
    per: str = ""
    """What it is for each of, such as "a character"."""
    higher_is_better: bool = False
    what: str = ""
    """What it is, in words: mean cross-entropy, the boundary included."""

    @property
    def sign(self) -> int:
        """Times this, less is better."""
        return -1 if self.higher_is_better else 1

    @property
    def measured_in(self) -> str:
        """The unit with what it is for each of: nats a character."""
        return f"{self.unit} {self.per}".strip()


class Splits(NamedTuple):
    """The parts of a task's rows, each a pytree of arrays that share their first axis; None: there is none."""

    train: Any
    validation: Any
    test: Any = None
    dev: Any = None
    """Like train, and not trained on."""
    source: Any = None
    """What the first train.pretrain steps train on."""
    batches: Any = None
    """The training part in other rows, where these are what batches are drawn from."""


def keep(ended: Any) -> Any:
    """What a group's trials are when they end: as they are."""
    return ended


class Reads(NamedTuple):
    """What a group's lanes read, and what is done to each trial of it that ends (`engine.lanes.Ended`)."""

    splits: Splits
    take: Callable[[Any], Any] = keep


@dataclass(frozen=True)
class Section:
    """A part of a report that a task gives: a title, and what stands below it."""

    name: str
    """Of its address on the page, and of its picture's file."""
    title: str
    note: str = ""
    marked: Sequence[tuple[str, str]] = ()
    """Short texts, each with a mark or none."""
    command: str = ""
    """What gives more of them."""
    figure: Callable[[], Any] | None = None
    """Draws a matplotlib figure in the style that is on; it may give None."""
    head: Sequence[str] = ()
    """Of a table."""
    rows: Sequence[Sequence[Any]] = field(default_factory=list)
    below: str = ""
    """A note below the table."""
    place: str = "end"
    """end, or insides: among what networks look like from inside."""


class Task:
    """What is trained on what. Its functions are pure, and it does not change once it is used: programs are kept by it.

    Traced, of one lane, see `train.functions.Functions` for what each takes and gives: `init loss gradients score evaluate
    batch pace before layers`. On the host: all others.
    """

    name: str = "task"
    Data: type = Cut
    Model: type = Nothing
    Regularizer: type = Penalties
    Train: type = Training
    metrics: tuple[Metric, ...] = (Metric(),)
    """The first one selects: the best step, patience, the leaderboard, the verdict."""
    verdicts: Mapping[str, Callable[[Any, Task], Any]] = {}
    """Answers to questions of the task's own: name -> (results, task) -> verdict."""
    ablations: str = ""
    """Where its named sweeps are, a module of `experiments.ablations`."""
    untrained: tuple[str, ...] = ()
    """The parameters that no gradient reaches, and are meant so: where they begin, such as "encoder" or "encoder.embedding"."""
    probed: bool = True
    """Whether its functions are looked at before anything is written: what does not fit is refused in a line."""
    place: str = ""
    """FILE:OBJECT or MODULE:OBJECT, where a command found it."""

    # What there is to configure. ------------------------------------------------------------------------------------------

    @property
    def Config(self) -> type:
        """The type of its configs, made of its sections."""
        return configs.config_of(self.Data, self.Model, self.Regularizer, self.Train)

    def config(self, **values: Any) -> Any:
        """A config with its defaults but for these keys, in which two underscores stand for a dot: model__width=32.

        Raises:
          UserError: for an unknown key, or a value that is not of its type.
        """
        return configs.override(self.Config(), {key.replace("__", "."): value for key, value in values.items()})

    # What is read. --------------------------------------------------------------------------------------------------------

    def opened(self, data: Any) -> Task:
        """The task on what a data section names: once a run, on the host."""
        return self

    def of(self, given: Any) -> Task | None:
        """The task on something that stands for it, such as names on a corpus; None where it does not."""
        return None

    def begun_on(self, source: Any) -> Task:
        """The task with other rows for its first train.pretrain steps.

        Raises:
          UserError: where it takes them from its splits alone.
        """
        raise UserError(f"source is of the names task; {self.name!r} gives what is trained on first by Splits(source=...)")

    def reopened(self, facts: Mapping[str, Any]) -> Task:
        """The task as `facts` describe what it was on: enough to know the shapes of what was trained, without the rows."""
        return self

    @property
    def remembered(self) -> dict[str, Any]:
        """What `reopened` needs of the facts, for an export."""
        return {}

    def splits(self, data: Any) -> Any:
        """`Splits`, or all rows, a pytree of arrays that share their first axis, to be cut 80/10/10 by `data.split_seed`."""
        raise UserError(f"the task {self.name!r} reads nothing; give it `splits`")

    def facts(self, data: Any) -> dict[str, Any]:
        """What `config.json` says of the rows, as JSON values: with "sha256", which must be the same to go on with a run."""
        return described(parts_of(self, data))

    def headline(self, facts: Mapping[str, Any]) -> str:
        """What is trained on, in a few words."""
        return f"{self.name} ({', '.join(f'{count:,} {part}' for part, count in facts.get('rows', {}).items())} rows)"

    def notices(self, config: Config) -> list[str]:
        """What a user should know of a config that is allowed and of little use."""
        return []

    # What a run is made of. -----------------------------------------------------------------------------------------------

    def functions(self) -> Functions:
        """What the engine trains with; equal ones compile once."""
        from jaxgen.train.functions import Functions

        names = ("init", "loss", "score", "gradients", "evaluate", "batch", "pace", "before", "layers")
        own = {name: getattr(self, name) for name in names if hasattr(self, name)}
        return Functions(**own, metric=self.metrics[0].name, higher_is_better=self.metrics[0].higher_is_better)

    def layers(self, params: Any) -> list[str]:
        """The layers by name, in the order in which data goes through them."""
        from jaxgen.train.functions import by_name

        return by_name(params)

    def checked(self, sweep: Any) -> Any:
        """The sweep, or one like it whose base says truly what is read.

        Raises:
          UserError: where it varies what a run has one of.
        """
        return sweep

    def rows(self, config: Config) -> int:
        """From how many rows a config's batches are drawn."""
        found = parts_of(self, config.data)
        return size(found.train if found.batches is None else found.batches)

    def reads(self, config: Config) -> Reads:
        """What a group of this config reads."""
        return Reads(parts_of(self, config.data))

    def trains(self, config: Config) -> bool:
        """Whether trials of a config are trained; what is not is solved at once (`solve`)."""
        return True

    def solve(self, data: Any, group: Any) -> Iterator[Any]:
        """The events of a group that is not trained (`engine.lanes.Evaluated`, `Ended`), on its `engine.programs.Data`."""
        raise UserError(f"the task {self.name!r} says that it does not train all, and has no `solve`; give it one")

    def restored(self, config: Config, trial: int, state: Callable[[Any], Any]) -> tuple[Any, Any]:
        """A trial's params and stats, from `state(their shapes)`, or `state(None)` for what has shapes of its own.

        Raises:
          UserError: where they are not of the config.
        """
        import jax

        from jaxgen.train import optimizers
        from jaxgen.train import trial as trials

        configs.register(type(config))
        lowered = optimizers.lower(config, 1)
        start = jax.eval_shape(lambda: self.functions().init(lowered, trials.stream(0, trials.Stream.START)))
        return state(start)

    # What people see. -----------------------------------------------------------------------------------------------------

    def measured(self, config: Config, states: Mapping[int, Any]) -> dict[int, dict[str, float]]:
        """Trial -> what is measured once of its (params, stats) at its best step, for trials of one group."""
        return {}

    def floors(self, splits: Splits) -> Mapping[str, Mapping[str, float]]:
        """What the parts give without a network: floor -> val_METRIC, test_METRIC -> value."""
        return {}

    def standings(self, results: Any) -> list[str]:
        """Sentences on how the best network stands beside the best floor (`floors`)."""
        return beside_floors(self, results)

    def sample(self, trained: Sequence[Any], count: int, seed: int, **how: Any) -> Any:
        """What a generative task makes, from one trained trial or the mixture of several.

        Raises:
          UserError: where the task makes nothing.
        """
        raise UserError(f"the task {self.name!r} makes nothing new; it has no `sample`")

    def predict(self, trained: Any, inputs: Any) -> Any:
        """What a predicting task says of inputs, (N, ...).

        Raises:
          UserError: where the task predicts nothing, or the inputs are not of its kind.
        """
        raise UserError(f"the task {self.name!r} predicts nothing; it has no `predict`")

    def inputs(self, path: Any) -> Any:
        """Inputs for `predict` from a file.

        Raises:
          UserError: where the file holds none.
        """
        raise UserError(f"the task {self.name!r} predicts nothing; it has no `predict`")

    def inputs_of(self, rows: Any) -> Any:
        """The inputs of rows of the task's, for `predict`."""
        raise UserError(f"the task {self.name!r} predicts nothing; it has no `predict`")

    def answers(self, outputs: Any) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Predictions as a table: its head and its rows."""
        raise UserError(f"the task {self.name!r} predicts nothing; it has no `predict`")

    def show(self, found: Any) -> list[Section]:
        """What a report shows beside what it shows of every task; `found` is a `report.pictures.Found`."""
        return []

    def closing(self, trained: Any) -> list[str]:
        """Lines that a command prints when a run has ended, of the winner."""
        return []

    def further(self, out: str) -> list[str]:
        """What one may do next with a run in a folder, a line each."""
        return []


# Floors. ---------------------------------------------------------------------------------------------------------------------

FEW = 4  # data sections, of each of which there is a sentence


def beside_floors(task: Task, results: Any) -> list[str]:
    """How the best network stands beside the best floor, on each data section that networks were trained on.

    They are compared on validation, which chose both, in the first of the task's metrics in which there are floors.
    """
    if type(task).floors is Task.floors:
        return []
    configs = list(results.sweep)
    trained = {row.trial: row for row in results.rows if task.trains(configs[row.trial])}
    sections = list(dict.fromkeys(configs[trial].data for trial in trained))
    differ = [key for key in results.keys if key.startswith("data.")]
    said, leads = [], []
    for section in sections:
        rows = [row for trial, row in trained.items() if configs[trial].data == section]
        name = ", ".join(f"{key} {rows[0].values[key]}" for key in differ)
        sentence, lead = _beside(task, parts_of(task, section), rows)
        said.append(f"With {name}: {sentence}" if name else sentence[:1].upper() + sentence[1:])
        leads.append(lead)
    if len(said) <= FEW:
        return said
    beaten = sum(lead > 0 for lead in leads)
    return [
        f"The best network beats the best floor without one on validation in {beaten} of {len(said)} ({', '.join(differ)})."
    ]


def _beside(task: Task, parts: Splits, rows: Sequence[Any]) -> tuple[str, float]:
    """A sentence on the networks of one data section, and by how much the best of them is better than the best floor."""
    floors = task.floors(parts)
    metric = next(one for one in task.metrics if any(f"val_{one.name}" in floor for floor in floors.values()))

    def cost(values: Mapping[str, float]) -> float:
        found = metric.sign * values.get(f"val_{metric.name}", math.nan)
        return found if math.isfinite(found) else math.inf

    def both(values: Mapping[str, float]) -> str:
        found = {part: values.get(f"{part}_{metric.name}", math.nan) for part in ("val", "test")}
        first = f"{found['val']:.4f}{f' {metric.measured_in}' if metric.measured_in else ''} on validation"
        return first if math.isnan(found["test"]) else f"{first}, {found['test']:.4f} on test"

    name = min(floors, key=lambda name: cost(floors[name]))
    floor = f"the floor without a network, {name}, has {metric.name.replace('_', ' ')} {both(floors[name])}"
    sound = [row for row in rows if row.status != "diverged" and cost(row.metrics) < math.inf]
    if not sound:
        return f"{floor}; every network diverged.", -math.inf
    best = min(sound, key=lambda row: (cost(row.metrics), row.score, row.trial))
    lead = cost(floors[name]) - cost(best.metrics)
    if lead > 0:
        return f"{floor}; the best network, trial {best.trial}, is better: {both(best.metrics)}.", lead
    return f"{floor}; no network is better on validation: the best, trial {best.trial}, has {both(best.metrics)}.", lead


# Rows. -----------------------------------------------------------------------------------------------------------------------


def located(path: str | Path) -> Path:
    """The file at a path; where there is none and the path is data/NAME, the bundled one of that name."""
    path = Path(path)
    if path.exists() or path.parts[:-1] != ("data",):
        return path
    bundled = Path(str(importlib.resources.files("jaxgen.bundled"))) / path.name
    return bundled if bundled.exists() else path


def size(rows: Any) -> int:
    """How many rows a pytree of arrays has."""
    import jax

    return len(jax.tree.leaves(rows)[0])


def parts_of(task: Task, data: Any) -> Splits:
    """The parts that a task reads of a data section, cut where the task gives all rows.

    Raises:
      UserError: where rows are too few, or arrays do not share their first axis, or hold what programs cannot.
    """
    found = task.splits(data)
    if not isinstance(found, Splits):
        seed = getattr(data, "split_seed", None)
        if seed is None:
            raise UserError(f"the task {task.name!r} gives rows to be cut, and its data section has no split_seed; give Splits")
        found = cut(exact(found, "its rows"), seed)
    return Splits(*(None if part is None else exact(part, name) for name, part in zip(Splits._fields, found, strict=True)))


def exact(rows: Any, what: str) -> Any:
    """Rows as host arrays of the types that programs have: what would be cut is refused, not cut.

    Raises:
      UserError: for whole numbers that do not fit 32 bits, arrays of objects or texts, and arrays of different lengths.
    """
    import jax
    import numpy as np

    def narrow(x: Any) -> np.ndarray:
        x = np.asarray(x)
        if x.dtype.kind not in "buif" or x.ndim == 0:
            raise UserError(f"{what} hold {x.dtype} of shape {x.shape}; expected arrays of numbers, a row along the first axis")
        if x.dtype.kind in "ui" and x.dtype.itemsize > 4:
            if x.size and (x.min() < -(2**31) or x.max() >= 2**31):
                raise UserError(f"{what} hold {x.max()}, which does not fit 32 bits; number them anew, from 0 on")
            return x.astype(np.int32)
        return x.astype(np.float32) if x.dtype.kind == "f" and x.dtype.itemsize > 4 else x

    found = jax.tree.map(narrow, rows)
    lengths = {len(x) for x in jax.tree.leaves(found)}
    if len(lengths) != 1 or lengths == {0}:
        raise UserError(f"{what} have first axes of {', '.join(map(str, sorted(lengths))) or 'nothing'}; expected one length")
    return found


def cut(rows: Any, seed: int, shares: Sequence[float] = SHARES) -> Splits:
    """Rows shuffled by a seed and cut into training, validation and test.

    Raises:
      UserError: where they are too few.
    """
    import jax
    import numpy as np

    count = size(rows)
    order = np.random.default_rng(seed).permutation(count)
    first, second = (int(share * count) for share in shares)
    parts = (order[:first], order[first:second], order[second:])
    if not all(map(len, parts)):
        raise UserError(f"{count} rows are too few to be cut 80/10/10; expected 10 or more")
    return Splits(*(jax.tree.map(lambda x, part=part: np.asarray(x)[part], rows) for part in parts))


def described(splits: Splits) -> dict[str, Any]:
    """What can be said of any rows: how many each part has, what one row is, and the SHA-256 of all of them."""
    import jax
    import numpy as np

    digest = hashlib.sha256()
    for name, part in zip(Splits._fields, splits, strict=True):
        for path, x in jax.tree_util.tree_leaves_with_path(part):
            digest.update(f"{name}{jax.tree_util.keystr(path)} {x.dtype} {x.shape}".encode())
            digest.update(np.ascontiguousarray(x).tobytes())
    row = [f"{x.dtype}{list(x.shape[1:])}" for x in jax.tree.leaves(splits.train)]
    rows = {name: size(part) for name, part in zip(Splits._fields, splits, strict=True) if part is not None}
    return {"rows": rows, "row": row, "sha256": digest.hexdigest()}
