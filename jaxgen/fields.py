"""What is known of a config's field stands in its type; here it is read, and values are put at dotted keys.

A float is a leaf of the config's pytree: its value may differ from lane to lane of one program. Any other type is structure
and selects the program. The type says what else holds: bounds as `annotated_types.Interval`, choices as `typing.Literal`, and
`Leaf`, `Static` and `Strength` where a field is not what its type alone would make it. Flags, `--grid` keys, checks and error
texts follow from it. Nothing here imports JAX, so that every command's --help is quick.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import BaseMetadata, GroupedMetadata, Interval

from jaxgen.near import near

T = TypeVar("T")


class UserError(ValueError):
    """A mistake of the user's: the message says what was given, what was expected and what to do.

    Examples:
      >>> try:
      ...     jaxgen.load_corpus("nams.txt")
      ... except jaxgen.UserError as mistake:
      ...     print(mistake)
      cannot read 'nams.txt' ...
    """


SHOWN = 200  # characters of what is given that an error quotes


def quoted(value: Any) -> str:
    """What was given, as an error shows it: its first characters."""
    return shortened(repr(value)) if not isinstance(value, int) or abs(value) < 10**SHOWN else "a number of many digits"


def shortened(text: str) -> str:
    """A text's first characters, and how many there are."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text):,} characters)"


def brief(value: float) -> str:
    """A float of a config as people read it: as it was typed, and with three digits where it was drawn at random."""
    return f"{value:g}" if float(f"{value:.4g}") == value else f"{value:.3g}"


def typed(value: Any) -> str:
    """A config's value as it would be typed."""
    return brief(value) if isinstance(value, float) else "-" if value is None else str(value)


class Caution(UserWarning):
    """What a user should know of a task, found as it is traced; a run says it and goes on."""


warnings.simplefilter("ignore", Caution, append=True)  # said by runs, which look for it; not each time that a program is traced


class Mark(BaseMetadata):
    """What a field is to a program, where its type alone does not say so."""

    def __init__(self, name: str) -> None:
        self.name = name


class Known(BaseMetadata):
    """Names that a field of text knows, of more that it takes."""

    def __init__(self, *names: str) -> None:
        self.names = names


LEAF, STRUCTURE, STRENGTH, HIDDEN = Mark("leaf"), Mark("structure"), Mark("strength"), Mark("hidden")

Leaf = Annotated[T, LEAF]
"""An integer that may differ from lane to lane of one program, as floats do.

Examples:
  >>> @dataclass(frozen=True)
  ... class Model:
  ...     every: jaxgen.Leaf[int] = 1  # 1, 2 and 5 train side by side in one program
"""
Static = Annotated[T, STRUCTURE]
"""A float that selects the program, for code that asks it for its value: `jaxgen.Static[float]`.

Examples:
  >>> class Net(nn.Module):
  ...     rate: jaxgen.Static[float] = 0.5  # each value is a program of its own
  ...     @nn.compact
  ...     def __call__(self, x, train):
  ...         return nn.Dense(1)(nn.Dropout(self.rate, deterministic=not train)(x))[:, 0]
  >>> own = jaxgen.supervised(Net, (x, y), loss="squared_error")
"""
Strength = Annotated[T, STRENGTH]
"""A number that is None in a program where it is zero in every trial: what it strengthens is not computed then.

Examples:
  >>> @dataclass(frozen=True)
  ... class Penalties:
  ...     pull: jaxgen.Strength[float] = 0.0  # where it is 0 in every trial, the task finds None and computes nothing
"""

LARGEST = 3e38  # of a float32, nearly
Share = Annotated[float, Interval(ge=0.0, lt=1.0)]
"""A float in [0, 1)."""
Amount = Annotated[float, Interval(ge=0.0, le=LARGEST)]
"""A float of 0 or more."""
Seed = Annotated[int, Interval(ge=0, le=2**31 - 1)]
"""A whole number of 31 bits."""


# What is known of a field. -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """A field of a section, as its type describes it: its name, what values it takes, and what it is to a program."""

    name: str
    kinds: tuple[Any, ...]  # of str, int, float, bool, NoneType; or one dataclass, which is a section; or one of any type
    choices: tuple[Any, ...] = ()
    known: tuple[str, ...] = ()  # some of what it takes, by name
    low: float = -LARGEST
    high: float = LARGEST
    with_low: bool = True
    with_high: bool = True
    marks: tuple[Mark, ...] = ()

    @functools.cached_property  # asked of each field of each trial
    def section(self) -> bool:
        return dataclasses.is_dataclass(self.kinds[0])

    @functools.cached_property
    def hidden(self) -> bool:
        """Whether it is a Python object, which has neither flag nor key."""
        return HIDDEN in self.marks

    @functools.cached_property
    def leaf(self) -> bool:
        """Whether it is a leaf of the config's pytree."""
        numeric = float in self.kinds or LEAF in self.marks
        return self.section or (numeric and STRUCTURE not in self.marks)

    def takes(self, value: Any) -> bool:
        """Whether a value is of the field's type."""
        if value is None or isinstance(value, bool):
            return type(value) in self.kinds
        if isinstance(value, Integral):
            return int in self.kinds or float in self.kinds
        return isinstance(value, self.kinds)

    def read(self, text: str) -> Any:
        """The value that a text stands for: names in any case, whole numbers also as 1e4.

        Raises:
          ValueError: what was expected, where it stands for none.
        """
        none = text == "None" or (str not in self.kinds and text.lower() == "none")
        if type(None) in self.kinds and none:
            return None
        names = [value for value in (*self.choices, *self.known) if str(value).lower() == text.lower()]
        if names:
            return next((value for value in names if str(value) == text), names[0])
        if bool in self.kinds:
            if text.lower() not in ("true", "false"):
                raise ValueError("True or False")
            return text.lower() == "true"
        try:
            if float in self.kinds:
                return float(text)
            return _whole(text) if int in self.kinds else text
        except ValueError:
            raise ValueError("a number" if float in self.kinds else "a whole number") from None

    @property
    def said(self) -> str:
        """The field's type, in words."""
        return " | ".join("None" if kind is type(None) else kind.__name__ for kind in self.kinds)

    def wrong(self, value: Any) -> str | None:
        """What is expected, where a value is not allowed; None where it is."""
        if not self.takes(value):
            return self.said
        if self.choices and value not in self.choices and value is not None:
            return f"one of {', '.join(map(str, self.choices))}"
        if value is None or isinstance(value, str | bool):
            return None
        inside = (self.low <= value if self.with_low else self.low < value) and (
            value <= self.high if self.with_high else value < self.high
        )
        if inside:
            cut = self.leaf and float not in self.kinds and not -(2**31) <= value < 2**31
            return "a whole number of 32 bits" if cut else None
        if (self.low, self.high) == (-LARGEST, LARGEST):
            return "a finite number"
        left, right = "[" if self.with_low else "(", "]" if self.with_high else ")"
        return f"a value in {left}{self.low:g}, {self.high:g}{right}"


def _whole(text: str) -> int:
    """A whole number, as 10000 or 1e4.

    Raises:
      ValueError: if it is none.
    """
    try:
        return int(text)
    except ValueError:
        value = float(text)
        if not value.is_integer():  # nor are inf and nan
            raise ValueError(text) from None
        return int(value)


PLAIN = (str, int, float, bool, type(None))  # the types whose values flags and files can hold


@functools.cache
def fields(kind: type) -> tuple[Field, ...]:
    """The fields of a section or of a whole config, in their order.

    Raises:
      UserError: for a field of a type that no flag can have.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    if not kind.__dataclass_params__.frozen:  # pyright: ignore[reportAttributeAccessIssue]
        raise UserError(f"the section {kind.__name__} can be changed; write @dataclass(frozen=True) above it")
    found = tuple(described(part.name, hints[part.name]) for part in dataclasses.fields(kind))
    for part in found:
        if not (plain(part) or part.section or part.hidden):
            raise UserError(
                f"{kind.__name__}.{part.name} is of type {hints[part.name]}, which no flag can have; "
                "expected str, int, float, bool, a Literal of these, or one of them or None"
            )
    return found


def plain(part: Field) -> bool:
    """Whether flags and files can hold a field's values."""
    return all(kind in PLAIN for kind in part.kinds)


def described(name: str, hint: Any) -> Field:
    """A field of this name and type."""
    kinds: dict[Any, None] = {}
    found: dict[str, Any] = {"choices": (), "marks": ()}

    def walk(hint: Any) -> None:
        origin = typing.get_origin(hint)
        if origin is Annotated:
            inner, *notes = typing.get_args(hint)
            walk(inner)
            for note in notes:
                read(note)
        elif origin in (typing.Union, types.UnionType):
            for option in typing.get_args(hint):
                walk(option)
        elif origin is Literal:
            found["choices"] += tuple(value for value in typing.get_args(hint) if value is not None)
            kinds.update(dict.fromkeys(type(value) for value in typing.get_args(hint)))
        else:
            kinds[hint] = None

    def read(note: Any) -> None:
        if isinstance(note, Mark):
            found["marks"] += (note,)
        elif isinstance(note, Known):
            found["known"] = note.names
        elif isinstance(note, GroupedMetadata):
            for one in note:
                read(one)
        for bound, end in (("ge", "low"), ("gt", "low"), ("le", "high"), ("lt", "high")):
            if isinstance(note, BaseMetadata) and getattr(note, bound, None) is not None:
                found.update({end: getattr(note, bound), f"with_{end}": bound.endswith("e")})

    walk(hint)
    return Field(name, tuple(kinds), **found)


@functools.cache
def keys(kind: type) -> Mapping[str, Field]:
    """Dotted key -> field, of a whole config."""
    found: dict[str, Field] = {}
    for part in fields(kind):
        if part.section:
            found |= {f"{part.name}.{key}": inner for key, inner in keys(part.kinds[0]).items()}
        elif not part.hidden:
            found[part.name] = part
    return found


@functools.cache
def strengths(kind: type) -> tuple[tuple[str, str], ...]:
    """The (section, field) that are left out of a program where they are zero in every trial."""
    return tuple((key.split(".")[0], part.name) for key, part in keys(kind).items() if STRENGTH in part.marks)


@functools.cache
def register(kind: type) -> None:
    """Makes a config's type, and its sections', pytrees: what are leaves is up to its fields."""
    import jax

    for part in fields(kind):
        if part.section:
            register(part.kinds[0])
    data = [part.name for part in fields(kind) if part.leaf]
    jax.tree_util.register_dataclass(kind, data, [part.name for part in fields(kind) if not part.leaf])


# Values at dotted keys. ----------------------------------------------------------------------------------------------------


def items(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Field]]:
    """Each dotted key of a config with its value and its field."""
    for part in fields(type(config)):
        value = getattr(config, part.name)
        if part.section:
            if not isinstance(value, part.kinds[0]):
                raise UserError(
                    f"{prefix}{part.name} is {quoted(value)}, expected a {part.kinds[0].__name__}; to set single keys write "
                    f"jaxgen.override(config, {{'{prefix}{part.name}.KEY': VALUE}})"
                )
            yield from items(value, f"{prefix}{part.name}.")
        elif not part.hidden:
            yield prefix + part.name, value, part


def picked(config: Any, some: Iterable[str]) -> Iterator[tuple[str, Any, Field]]:
    """Some of these."""
    known = keys(type(config))
    for key in some:
        if key in known:
            section, _, name = key.rpartition(".")
            yield key, getattr(getattr(config, section) if section else config, name), known[key]


def flatten(config: Any) -> dict[str, Any]:
    """Dotted key -> value; what `config.json` holds and `override` takes."""
    return {key: value for key, value, _ in items(config)}


def declared(kind: type, key: str) -> Field:
    """The field at a key of a config's type.

    Raises:
      UserError: if there is none.
    """
    known = keys(kind)
    if key not in known:
        meant = near(key, known)
        section, _, _ = key.rpartition(".")
        some = [name for name in known if section and name.startswith(section + ".")] or list(known)
        hint = f"did you mean {' or '.join(meant)}?" if meant else f"expected one of {', '.join(some)}"
        raise UserError(f"there is no config key {quoted(key)}; {hint}")
    return known[key]


def parse(key: str, text: str, kind: type) -> Any:
    """The value that `text` stands for at `key` of a config's type.

    Raises:
      UserError: for an unknown key, or a text that the key's type cannot read.
    """
    try:
        return declared(kind, key).read(text)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{key} is {quoted(text)}, expected {error}") from None


CHAIN = "optimizer.chain"  # the one Python object that a sweep may vary


def override(config: T, values: Mapping[str, Any]) -> T:
    """`config` with other values at dotted keys.

    Raises:
      UserError: for an unknown key, or a value that is not of the key's type.

    Examples:
      >>> config = jaxgen.override(jaxgen.Config(), {"model.hidden": 16, "optimizer.learning_rate": 0.01})
      >>> config.model.hidden
      16
    """
    found: Any = config
    for key, given in values.items():
        value = given
        if key != CHAIN:
            part, value = declared(type(config), key), given.item() if hasattr(given, "item") else given
            if not part.takes(value):
                raise UserError(f"{key} is {quoted(value)}, expected {part.said}")
            if isinstance(value, int) and abs(value) > LARGEST:
                raise UserError(f"{key} is {quoted(value)}, expected {part.wrong(value) or part.said}")
            value = float(value) if float in part.kinds and value is not None else value
        section, _, name = key.rpartition(".")
        changed = {section: dataclasses.replace(getattr(found, section), **{name: value})} if section else {name: value}
        found = dataclasses.replace(found, **changed)
    return found


def settled(config: T) -> T:
    """`config` with whole numbers in its floats as floats: else a lane's 0.5 would be cut to 0 where another's is 1."""
    whole = {key: float(value) for key, value, part in items(config) if float in part.kinds and type(value) is int}
    return override(config, whole) if whole else config
