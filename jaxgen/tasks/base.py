"""The seam: what a task is to a run. One object that reads rows, gives pure functions to train with, and tells what people see.

A task of one's own inherits `Task`, names itself, and gives `splits`, `init`, one of `loss` and `gradients`, and one of `score`
and `evaluate`; everything else has a default. `jaxgen.supervised` makes one of a module and pairs of inputs and targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxgen.config import Config, Cut, Nothing, Penalties, Training, config_of
from jaxgen.fields import UserError, override, register
from jaxgen.tasks.metric import Metric
from jaxgen.tasks.rows import Splits, described, parts_of, size

if TYPE_CHECKING:  # reading a command's flags does not import JAX
    from jaxgen.train.functions import Functions


def keep(ended: Any) -> Any:
    """What a group's trials are when they end: as they are."""
    return ended


class Reads(NamedTuple):
    """What a group's lanes read, and what is done to each trial of it that ends (`engine.lanes.Ended`)."""

    splits: Splits
    take: Callable[[Any], Any] = keep


class Origin(NamedTuple):
    """Where a task's rows come from, as far as that is known."""

    name: str
    source: str = ""
    licence: str = ""
    """In words."""
    identifier: str = ""
    """The licence as model hubs write it: cc-by-4.0, or a name of one that they do not list."""


@dataclass(frozen=True)
class Section:
    """A part of a report that a task gives: a title, and what stands below it.

    Examples:
      >>> class WithNote(jaxgen.Task):
      ...     def show(self, found):
      ...         return [jaxgen.Section("sizes", "Sizes", head=["part", "rows"], rows=[["train", 160], ["test", 20]])]
      >>> WithNote().show(None)[0].title
      'Sizes'
    """

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
    """end; insides: among what networks look like from inside; top: below the verdict; or answer: its picture is the question's
    own, and stands first."""


@dataclass(frozen=True)
class Preset:
    """Values of a config that go well together, under a name that a command line can give."""

    text: str
    """What it is, in a few words."""
    values: Mapping[str, Any]
    """By dotted key."""


class Task:
    """What is trained on what. Its functions are pure, and it does not change once it is used: programs are kept by it.

    Traced, of one lane, see `train.functions.Functions` for what each takes and gives: `init loss gradients score evaluate
    batch pace before layers lookup`. On the host: all others.

    Examples:
      >>> class Mean(jaxgen.Task):  # one number, as near as can be to all rows
      ...     name = "mean"
      ...     def splits(self, data):
      ...         return np.arange(100.0)
      ...     def init(self, config, key):
      ...         return {"guess": jnp.zeros(())}, {}
      ...     def loss(self, config, params, stats, batch, key, step):
      ...         return (batch - params["guess"]) ** 2, stats
      ...     def score(self, config, params, stats, rows, keys):
      ...         return {"loss": (rows - params["guess"]) ** 2}
      >>> config = Mean().config(optimizer__name="sgd", optimizer__learning_rate=0.1, train__steps=20)
      >>> jaxgen.run(config, Mean())
      Results(1 of 1 trials ended)
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
    presets: Mapping[str, Preset] = {}
    """Configs to begin with, by name."""
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
        return config_of(self.Data, self.Model, self.Regularizer, self.Train)

    def config(self, **values: Any) -> Any:
        """A config with its defaults but for these keys, in which two underscores stand for a dot: model__width=32.

        Raises:
          UserError: for an unknown key, or a value that is not of its type.
        """
        return override(self.Config(), {key.replace("__", "."): value for key, value in values.items()})

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

    def parts(self, data: Any) -> Splits:
        """The parts of its rows that a data section names; those of the last two are kept: a run asks several times.

        Raises:
          UserError: as `tasks.rows.parts_of`.
        """
        kept: dict[Any, Splits] = self.__dict__.setdefault("_kept", {})
        if data not in kept:
            for old in list(kept)[:-1]:
                del kept[old]
            kept[data] = parts_of(self, data)
        return kept[data]

    def facts(self, data: Any) -> dict[str, Any]:
        """What `config.json` says of the rows, as JSON values: with "sha256", which must be the same to go on with a run."""
        return described(self.parts(data))

    def headline(self, facts: Mapping[str, Any]) -> str:
        """What is trained on, in a few words."""
        return f"{self.name} ({', '.join(f'{count:,} {part}' for part, count in facts.get('rows', {}).items())} rows)"

    def about(self, facts: Mapping[str, Any]) -> str:
        """The same for the report."""
        return self.headline(facts)

    def origin(self, facts: Mapping[str, Any]) -> Origin:
        """Where the rows that `facts` describes come from, for people who are given what was trained on them."""
        return Origin(self.name)

    def notices(self, config: Config) -> list[str]:
        """What a user should know of a config that is allowed and of little use."""
        return []

    # What a run is made of. -----------------------------------------------------------------------------------------------

    def functions(self) -> Functions:
        """What the engine trains with; equal ones compile once."""
        from jaxgen.train.functions import Functions

        names = ("init", "loss", "score", "gradients", "evaluate", "batch", "pace", "before", "layers", "lookup")
        own = {name: getattr(self, name) for name in names if hasattr(self, name)}
        if "init" not in own or not self.metrics:
            raise UserError(f"the task {self.name!r} has no {'metrics' if 'init' in own else 'init'}; give it one")
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
        found = self.parts(config.data)
        return size(found.train if found.batches is None else found.batches)

    def reads(self, config: Config) -> Reads:
        """What a group of this config reads."""
        return Reads(self.parts(config.data))

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

        register(type(config))
        lowered = optimizers.lower(config, 1, count=1)
        start = jax.eval_shape(lambda: self.functions().init(lowered, trials.stream(0, trials.Stream.START)))
        return state(start)

    # What people see. -----------------------------------------------------------------------------------------------------

    def measured(self, config: Config, states: Mapping[int, Any]) -> dict[int, dict[str, float]]:
        """Trial -> what is measured once of its (params, stats) at its best step, for trials of one group."""
        return {}

    def floors(self, splits: Splits) -> Mapping[str, Mapping[str, float]]:
        """What the parts give without a network: floor -> val_METRIC, test_METRIC -> value."""
        return {}

    def standings(self, results: Any) -> list[str] | None:
        """Sentences on how the best network stands beside the best floor; None: what `floors` say (`judge.floors`)."""
        return None

    def reference(self, results: Any) -> tuple[str, Mapping[str, float]] | None:
        """What a leaderboard shows beside networks: a name, and val_METRIC, test_METRIC -> value of what is had without one.
        None: the best of what `floors` gives, where all trials read the same rows (`judge.floors`)."""
        return None

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

    def mixed(self, outputs: Sequence[Any]) -> Any:
        """What several trials say together, from what `predict` gives of each.

        Raises:
          UserError: where the task has no mixtures of these.
        """
        raise UserError(f"the task {self.name!r} has no mixture of what several trials predict; give one of them")

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

    def closing(self, results: Any) -> list[str]:
        """Lines that a command prints when a run has ended in which a trial has: what the winner makes or says."""
        return []

    def glimpse(self, trained: Any) -> str:
        """What a trial that still trains makes, in a few words; "" where that is nothing to look at."""
        return ""

    def further(self, out: str) -> list[str]:
        """What one may do next with a run in a folder, a line each."""
        return []
