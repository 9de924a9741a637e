"""Sweeps: grid, random search, zip and seeds, each from a config or a sweep to a sweep; and the groups that share a program."""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
import math
import random as stdlib_random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxgen.config import Config, validate
from jaxgen.fields import UserError, declared, override, parse, quoted, register, settled, shortened, strengths


@dataclass(frozen=True)
class Question:
    """What a sweep is to answer.

    Examples:
      >>> question = jaxgen.Question("mine", "Which optimizer wins?", arms=("optimizer.name",))
      >>> tuned = jaxgen.grid(config, {"optimizer.name": ["sgd", "adam"], "optimizer.learning_rate": [0.01, 0.1]})
      >>> results = jaxgen.run(jaxgen.seeds(tuned, 3), corpus, question=question)  # each arm at its better rate
      >>> results.verdict().comparisons[0].better
      'adam'
    """

    name: str = "sweep"
    text: str = ""
    """The question, as a sentence."""
    arms: tuple[str, ...] = ()
    """The keys whose values are compared; the other varied ones, but for the seed, are tuned. (): all are compared."""
    verdict: str = "arms"
    """How it is answered: a name in `verdict.VERDICTS`."""
    names: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    """What arms are better called than by what they are called by themselves (`judge.naming`)."""


@dataclass(frozen=True)
class Sweep:
    """A list of trials: a base config, and for each trial the values in which it differs.

    Examples:
      >>> sweep = jaxgen.grid(config, {"optimizer.name": ["sgd", "adam"], "seed": range(3)})
      >>> sweep
      Sweep(6 trials over optimizer.name, seed)
      >>> sweep.points[0]
      {'optimizer.name': 'sgd', 'seed': 0}
      >>> [trial.seed for trial in sweep]  # its configs
      [0, 1, 2, 0, 1, 2]
    """

    base: Config
    points: tuple[Mapping[str, Any], ...] = ({},)
    stages: tuple[int, ...] = ()
    """Of a run that was gone on with by larger sweeps: the first trial that each of these added; all before it come first."""
    longer: tuple[int, ...] = ()
    """Of a run that was gone on with by sweeps of more steps: how many trials there were each time. They go on behind all of
    them."""
    beside: tuple[Mapping[str, Any], ...] = ()
    """Of a part of a larger sweep: trials of the rest of it that say, with the part's own, what programs hold (`Group.shaped`).
    They are not trained."""

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        keys = ", ".join(self.keys)
        return f"Sweep({len(self)} trial{'s' * (len(self) != 1)}{f' over {shortened(keys)}' if keys else ''})"

    def __iter__(self) -> Iterator[Config]:
        """The trials' configs, in order.

        Raises:
          UserError: if a value is not allowed.
        """
        return self._configs(self.points)

    @property
    def company(self) -> Iterator[Config]:
        """The configs of `beside`."""
        return self._configs(self.beside)

    def _configs(self, points: Iterable[Mapping[str, Any]]) -> Iterator[Config]:
        seen: set[tuple[str, ...]] = set()  # keys in which a config that is allowed differs from the base
        for point in points:
            varied = tuple(point)
            yield validate(override(self.base, point), varied if varied in seen else None)
            seen.add(varied)

    @functools.cached_property
    def keys(self) -> tuple[str, ...]:
        """The varied keys, in the order in which they were first varied."""
        return tuple(dict.fromkeys(key for point in self.points for key in point))

    def __add__(self, other: Sweep) -> Sweep:
        """The trials of one sweep and then those of another, of the same base."""
        if other.base != self.base:
            raise UserError("two sweeps of different base configs were added; give both the same base")
        return Sweep(self.base, self.points + other.points)


def _sweep(base: Config | Sweep) -> Sweep:
    return base if isinstance(base, Sweep) else Sweep(base)


MOST = 1_000_000  # trials of a sweep


def _few(base: Config | Sweep, count: int) -> None:
    """Refuses `count` points for each trial of `base` where that is more than a run can hold, before any is made.

    Raises:
      UserError: then.
    """
    trials = len(_sweep(base)) * count
    if trials > MOST:
        raise UserError(
            f"the sweep would have {quoted(trials)} trials, expected {MOST:,} at most; give fewer values, or draw some of them "
            "with --random"
        )


def _product(base: Config | Sweep, points: Iterable[Mapping[str, Any]]) -> Sweep:
    sweep, points = _sweep(base), [{key: _plain(value) for key, value in point.items()} for point in points]
    twice = sorted(set(sweep.keys) & {key for point in points for key in point})
    if twice:
        raise UserError(f"{twice[0]} is varied twice; give all its values in one place")
    return Sweep(sweep.base, tuple({**a, **b} for a, b in itertools.product(sweep.points, points)))


def _plain(value: Any) -> Any:
    """A NumPy number as Python's, which JSON can hold."""
    return value.item() if hasattr(value, "item") else value


def _listed(key: str, values: Iterable[Any]) -> Sequence[Any]:
    """An axis's values.

    Raises:
      UserError: for a text, whose letters would be the values, or one value alone.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise UserError(f"the values of {key} are {quoted(values)}, expected a list of them, such as [{quoted(values)}]")
    return values if isinstance(values, Sequence) else list(values)


def grid(base: Config | Sweep, axes: Mapping[str, Iterable[Any]]) -> Sweep:
    """Every combination of the axes' values, for each trial of `base`; the last axis varies fastest.

    Raises:
      UserError: for an axis that is no list.

    Examples:
      >>> sweep = jaxgen.grid(config, {"optimizer.name": ["sgd", "adam"], "optimizer.learning_rate": [0.01, 0.1]})
      >>> sweep.points[1]
      {'optimizer.name': 'sgd', 'optimizer.learning_rate': 0.1}
      >>> len(jaxgen.seeds(sweep, 3))
      12
    """
    columns = [_listed(key, values) for key, values in axes.items()]
    _few(base, math.prod(map(len, columns)))
    return _product(base, (dict(zip(axes, values, strict=True)) for values in itertools.product(*columns)))


def zipped(base: Config | Sweep, axes: Mapping[str, Iterable[Any]]) -> Sweep:
    """The axes' first values together, their second ones, and so on, for each trial of `base`.

    Raises:
      UserError: if the axes have different lengths, or one is no list.

    Examples:
      >>> sweep = jaxgen.zipped(config, {"optimizer.name": ["sgd", "adam"], "optimizer.learning_rate": [0.3, 0.003]})
      >>> sweep.points
      ({'optimizer.name': 'sgd', 'optimizer.learning_rate': 0.3}, {'optimizer.name': 'adam', 'optimizer.learning_rate': 0.003})
    """
    columns = {key: _listed(key, values) for key, values in axes.items()}
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(
            f"zip wants as many values for each key, got {', '.join(f'{n} for {key}' for key, n in lengths.items())}"
        )
    _few(base, max(lengths.values(), default=0))
    return _product(base, (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)))


@dataclass(frozen=True)
class Uniform:
    """Numbers between two, evenly or (`log`) with evenly spread logarithms; whole numbers where both ends are.

    Examples:
      >>> rates = jaxgen.Uniform(1e-4, 1e-1, log=True)
      >>> widths = jaxgen.Uniform(8, 64)  # whole numbers
      >>> jaxgen.random(config, {"optimizer.learning_rate": rates, "model.hidden": widths}, trials=5)
      Sweep(5 trials over optimizer.learning_rate, model.hidden)
    """

    low: float
    high: float
    log: bool = False

    def draw(self, source: stdlib_random.Random) -> float | int:
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        reach = 0.5 if whole else 0.0  # so that rounding gives the ends their full share
        low, high = self.low - reach, self.high + reach
        value = math.exp(source.uniform(math.log(low), math.log(high))) if self.log else source.uniform(low, high)
        value = round(value) if whole else value
        return min(max(value, self.low), self.high)  # a rounding may step over an end


RANDOM_TRIALS = 20  # points of a random search, where nothing says how many


def random(
    base: Config | Sweep, axes: Mapping[str, Uniform | Iterable[Any]], trials: int = RANDOM_TRIALS, seed: int = 0
) -> Sweep:
    """`trials` points drawn at random, the same for each trial of `base`: of each axis a number between two ends (`Uniform`),
    or one of a list of values, each as likely as the others: {"optimizer.name": ["sgd", "adam"]}.

    Raises:
      UserError: for an axis that is neither, or a list without values.

    Examples:
      >>> sweep = jaxgen.random(config, {"optimizer.learning_rate": jaxgen.Uniform(1e-4, 1e-1, log=True)}, trials=20)
      >>> all(1e-4 <= point["optimizer.learning_rate"] <= 1e-1 for point in sweep.points)
      True
    """
    source = stdlib_random.Random(seed)
    _few(base, trials)
    found = {key: axis if isinstance(axis, Uniform) else _listed(key, axis) for key, axis in axes.items()}
    empty = next((key for key, axis in found.items() if not isinstance(axis, Uniform) and not len(axis)), None)
    if empty is not None:
        raise UserError(f"{empty} has no values to draw from; give some, or jaxgen.Uniform(low, high)")

    def drawn(axis: Uniform | Sequence[Any]) -> Any:
        return axis.draw(source) if isinstance(axis, Uniform) else source.choice(axis)

    return _product(base, ({key: drawn(axis) for key, axis in found.items()} for _ in range(trials)))


def seeds(base: Config | Sweep, count: int) -> Sweep:
    """Each trial of `base` at `count` seeds: its base config's and those that follow.

    Examples:
      >>> sweep = jaxgen.seeds(jaxgen.grid(config, {"model.hidden": [16, 32]}), 3)
      >>> [(point["model.hidden"], point["seed"]) for point in sweep.points]
      [(16, 0), (16, 1), (16, 2), (32, 0), (32, 1), (32, 2)]
    """
    first = _sweep(base).base.seed
    return grid(base, {"seed": range(first, first + count)})


def read_axis(text: str, kind: type) -> tuple[str, list[Any]]:
    """KEY=A,B,... as a key and its values.

    Raises:
      UserError: if it is not of that form, or a value is not of the key's type.
    """
    key, equals, values = text.partition("=")
    if not equals or not values:
        raise UserError(f"{quoted(text)} is no axis; expected KEY=A,B,..., for instance model.hidden=50,100,200")
    found = [parse(key, value, kind) for value in values.split(",")]
    again = next((value for i, value in enumerate(found) if value in found[:i]), None)
    if again is not None:
        raise UserError(f"{quoted(text)} has {quoted(again)} twice; a copy is no further evidence: vary the seed with --seeds")
    return key, found


def read_random(text: str, kind: type) -> tuple[str, Uniform | list[Any]]:
    """KEY=LOW:HIGH or KEY=LOW:HIGH:log as a key and a distribution, KEY=A,B,... as a key and the values to draw from.

    Raises:
      UserError: if it is of neither form.
    """
    key, _, rest = text.partition("=")
    if "," in rest:
        return read_axis(text, kind)
    low, _, rest = rest.partition(":")
    high, _, scale = rest.partition(":")
    if not low or not high or scale.lower() not in ("", "log"):
        raise UserError(
            f"{quoted(text)} is no range; expected KEY=LOW:HIGH or KEY=LOW:HIGH:log, for instance "
            "optimizer.learning_rate=1e-4:1e-1:log, or values to draw from, KEY=A,B,..."
        )
    part = declared(kind, key)
    if not {int, float} & {*part.kinds}:
        raise UserError(f"{quoted(text)} is no range, for {key} is no number; give values to draw from: {key}={low},{high}")
    uniform = Uniform(parse(key, low, kind), parse(key, high, kind), scale.lower() == "log")
    ends = (uniform.low, uniform.high)
    for end in ends:
        if (expected := part.wrong(end)) is not None:
            raise UserError(f"an end of {quoted(text)} is {quoted(end)}, expected {expected}")
    if None in ends or not uniform.low <= uniform.high or (uniform.log and uniform.low <= 0):
        raise UserError(f"{quoted(text)} is no range; expected numbers with LOW <= HIGH, and LOW above 0 with log")
    return key, uniform


@dataclass(frozen=True)
class Group:
    """Trials that share a program: their numbers in the sweep, their configs, and how to lower one of these.

    A lowered config has the learning rates of many steps, so it is made when its trial takes a lane and not before.
    """

    trials: tuple[int, ...]
    configs: tuple[Config, ...]
    lower: Callable[[Config, int], Config]
    """All of the group to one tree structure, with leaves of the same shapes; the learning rates are those from a step on."""
    shaped: tuple[int, ...] = ()
    """Trials of it that say by themselves what its program holds: with these beside, any part of it has the same program."""

    def lowered(self, trial: int, since: int = 0) -> Config:
        """The lowered config of a trial of the group, by its number in the sweep, with the learning rates from a step on."""
        return self.lower(self.configs[bisect.bisect_left(self.trials, trial)], since)

    def part(self, only: Collection[int] | None) -> Group:
        """The group with some of its trials alone, of the same structure; None: with all."""
        if only is None:
            return self
        pairs = [pair for pair in zip(self.trials, self.configs, strict=True) if pair[0] in only]
        return dataclasses.replace(self, trials=tuple(t for t, _ in pairs), configs=tuple(c for _, c in pairs))

    @functools.cached_property
    def static(self) -> Config:
        """A lowered config that stands for the group where only its structure matters."""
        return self.lower(self.configs[0], 0)

    @functools.cached_property
    def longest(self) -> int:
        """The longest step budget."""
        return max(config.train.steps for config in self.configs)

    def traced(self, trial: int | None = None, since: int = 0) -> Config:
        """What a program is given of a trial's config, or of any, with the learning rates from a step on: all but what was
        read, so that groups that differ in that alone share a program."""
        return dataclasses.replace(self.static if trial is None else self.lowered(trial, since), data=None)


TABLE = 4096  # learning rates that lie in memory at once, so that a program and its memory are the same for every budget


PULLS = {("optimizer", "weight_decay"), ("regularizer", "l2"), ("regularizer", "l1")}  # at each weight, in each step
GLOBAL = "an optimizer that moves weights without a gradient"


def groups(
    configs: Iterable[Config], rows: Callable[[Config], int], first: int = 0, beside: Iterable[Config] = ()
) -> list[Group]:
    """The trials by the tree structure of their lowered configs and what they read, in the order of their first trials.

    In each group, strengths that are zero everywhere are left out, the tables of learning rates are of TABLE steps, or of a
    segment's where that is longer, and no segment is longer than the longest step budget.

    Args:
      rows: how many rows the training part of a config has.
      first: the number of the first of these trials.
      beside: configs of no trial here, which say what a program holds all the same.
    """
    import jax  # here, so that reading a sweep's flags needs no JAX

    from jaxgen.train.optimizers import LOCAL, lower

    found: dict[Any, list[tuple[int, Config]]] = {}  # by structure, and by what is read
    shaping: dict[Any, dict[Any, int]] = {}  # of a group what its program holds, and the first trial that says so
    longest: dict[Any, tuple[int, int]] = {}  # steps, and the first trial of so many
    every: tuple[tuple[str, str], ...] = ()
    own = [*enumerate(configs, first)]
    for trial, config in (*own, *enumerate(beside, first + len(own))):
        register(type(config))
        config, every = settled(config), strengths(type(config))
        lowered = lower(config, rows(config), count=1)
        structure = (jax.tree.structure(dataclasses.replace(lowered, data=None)), config.data)
        if trial < first + len(own):
            found.setdefault(structure, []).append((trial, config))
        if config.train.steps > longest.get(structure, (0, 0))[0]:
            longest[structure] = (config.train.steps, trial)
        # A strength that is zero in every trial of a group is not part of its program: dropout's random bits are dear on a CPU.
        holds: list[Any] = [s for s in every if getattr(getattr(lowered, s[0]), s[1])]
        local = config.optimizer.chain is None and config.optimizer.name in LOCAL
        for what in (*holds, *([] if local else [GLOBAL])):
            shaping.setdefault(structure, {}).setdefault(what, trial)
    return [
        Group(
            tuple(trial for trial, _ in members),
            tuple(config for _, config in members),
            functools.partial(
                _unified,
                rows=rows,
                longest=longest[structure][0],
                off=tuple(s for s in every if s not in shaping.get(structure, ())),
                local={GLOBAL, *PULLS}.isdisjoint(shaping.get(structure, ())),
            ),
            tuple(sorted({longest[structure][1], *shaping.get(structure, {}).values()})),
        )
        for structure, members in found.items()
    ]


def _unified(
    config: Config, since: int, rows: Callable[[Config], int], longest: int, off: tuple[tuple[str, str], ...], local: bool
) -> Config:
    from jaxgen.train.optimizers import lower

    every = min(config.train.eval_every, longest)
    lowered = lower(config, rows(config), since, max(TABLE, every))
    changes: dict[str, dict[str, Any]] = {"train": {"eval_every": every}, "optimizer": {"local": local}}
    for part, key in off:
        changes.setdefault(part, {})[key] = None
    parts = {part: dataclasses.replace(getattr(lowered, part), **values) for part, values in changes.items()}
    return dataclasses.replace(lowered, **parts)
