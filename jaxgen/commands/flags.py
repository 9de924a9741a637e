"""A command line, flag by flag, before it is read: values in their own spelling, and what was meant where a flag is none."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tyro

from jaxgen.called import called
from jaxgen.fields import Field, UserError, described, keys, quoted
from jaxgen.near import near

WORD = typing.get_args(tyro.conf.Positional[int])[1]  # the mark of what stands by itself, without a flag
CONFIG = "config"  # the part of a command's flags whose keys are flags by themselves
DASHES = "-\u2013\u2014\u2212"  # as texts that are copied have them
METAVARS = {
    "ablation": "ABLATION",
    "column": "NAME",
    "data": "FILE",
    "families": "A,B",
    "grid": "KEY=A,B,...",
    "growth": "A,B",
    "input": "FILE",
    "names": "FILE",
    "out": "OUT",
    "path": "FILE",
    "prefix": "TEXT",
    "profile": "FOLDER",
    "preset": "NAME",
    "random": "KEY=LOW:HIGH[:log]",
    "run": "RUN",
    "source": "FILE",
    "start": "RUN|FILE",
    "task": "TASK",
    "trial": "TRIAL",
    "widths": "A,B",
    "words": "NAME...|FILE",
    "zip": "KEY=A,B,...",
}


@dataclass(frozen=True)
class Flag:
    """What a command line may say: a flag, or a word that stands by itself."""

    name: str  # dotted for a key of the config
    field: Field  # of the command's dataclass, where the flag may have another name, or of the config
    word: bool
    required: bool
    aliases: tuple[str, ...] = ()

    @property
    def many(self) -> bool:
        """Whether it may stand there several times."""
        return typing.get_origin(self.field.kinds[0]) is tuple

    @property
    def switch(self) -> bool:
        """Whether it stands for yes by itself."""
        return bool in self.field.kinds

    @property
    def metavar(self) -> str:
        """What stands for its value in help texts."""
        part = self.field
        if part.choices:
            return f"{{{','.join(map(str, part.choices))}}}"
        kinds = {bool: "{True,False}", int: "N", float: "X"}
        found = next((kinds[kind] for kind in part.kinds if kind in kinds), "TEXT")
        text = found == "TEXT"
        return METAVARS.get(part.name, "NAME" if part.known else found) if text else found

    @property
    def typed(self) -> str:
        """The flag as people type it: hyphens in its name, but for keys of the config, which files have, too."""
        return f"--{self.name if '.' in self.name else self.name.replace('_', '-')}"


def flags(kind: type) -> list[Flag]:
    """What a command's dataclass of flags lets a command line say, in its order."""
    found: list[Flag] = []
    hints = typing.get_type_hints(kind, include_extras=True)
    for part in dataclasses.fields(kind):
        of = described(part.name, hints[part.name])
        if part.name == CONFIG:
            found += [Flag(key, inner, word=False, required=False) for key, inner in keys(of.kinds[0]).items()]
            continue
        notes = getattr(hints[part.name], "__metadata__", ())
        name = next((note.name for note in notes if getattr(note, "name", None)), part.name)
        aliases = tuple(alias for note in notes for alias in getattr(note, "aliases", None) or ())
        required = part.default is dataclasses.MISSING and part.default_factory is dataclasses.MISSING
        found.append(Flag(name, of, WORD in notes, required, aliases))
    return found


def spelled(args: Sequence[str], kind: type, prog: str) -> list[str]:
    """A command line as it is meant: --FLAG=VALUE with names of choices in their own case and whole numbers as such.

    Raises:
      UserError: for a flag that there is not, with the one that was meant; a value that is missing or not of the flag's type; a
        word too many or too few.
    """
    every = flags(kind)
    known = {flag.name: flag for flag in every if not flag.word}
    short = {alias: flag for flag in known.values() for alias in flag.aliases}
    out: list[str] = []
    words: list[str] = []
    axis: tuple[Flag, str] | None = None  # of which the last argument was
    left = list(args)
    while left:
        arg = left.pop(0)
        if not is_flag(arg):
            if axis is not None:
                _apart(*axis, arg, known)
            words.append(arg)
            axis = None
            continue
        axis = None
        name, equals, value = arg.partition("=")
        plain = name.removeprefix("--").replace("-", "_")
        flag = short.get(name) or (known.get(plain) if name.startswith("--") else None)
        if flag is None:
            on = known.get(plain.replace("no_", "", 1))
            if on is not None and on.switch and "." in on.name:
                out.append(f"--{plain}")
                continue
            raise UserError(_unknown(name, value if equals else next(iter(left), ""), known, prog))
        if flag.switch:
            if equals or (left and left[0].lower() in ("true", "false")):
                out.append(_switched(flag, value if equals else left.pop(0)))
            else:
                out.append(f"--{flag.name}")
            continue
        if not equals:
            if not left or left[0].startswith("--"):
                raise UserError(f"{flag.typed} has no value; expected {flag.typed} {flag.metavar}")
            value = left.pop(0)
        out.append(f"--{flag.name}={_valued(flag, value)}")
        axis = (flag, value) if flag.many else None
    _words(words, [flag for flag in every if flag.word], known, prog)
    return [*out, *words]


def is_flag(arg: str) -> bool:
    """Whether an argument begins as a flag, and is no number below zero."""
    try:
        float(arg)
    except ValueError:
        return len(arg) > 1 and arg[0] in DASHES
    return False


def _valued(flag: Flag, text: str) -> str:
    """A flag's value in its own spelling."""
    if flag.many:
        return text
    try:
        value = flag.field.read(text)
    except ValueError as error:
        raise UserError(f"{flag.typed} is {quoted(text)}, expected {error}") from None
    if flag.field.choices and value not in flag.field.choices and value is not None:
        raise UserError(f"{flag.typed} is {quoted(text)}, expected {flag.field.wrong(value)}")
    return text if isinstance(value, float) else str(value)  # a float as it was typed: to the last bit


def _switched(flag: Flag, text: str) -> str:
    if text.lower() not in ("true", "false") or "." not in flag.name:
        raise UserError(f"{flag.typed} takes no value, and {quoted(text)} is given; give {flag.typed} alone, or leave it out")
    section, _, last = flag.name.rpartition(".")
    return f"--{flag.name}" if text.lower() == "true" else f"--{section}.no_{last}"


def _unknown(name: str, value: str, known: Mapping[str, Flag], prog: str) -> str:
    """What to say of a flag that there is not."""
    plain = name.strip(DASHES)
    meant = [known[key] for key in near(plain, known)]
    if len(meant) > 1 and value and not is_flag(value):  # a section: the keys that take what is given, if any
        meant = [flag for flag in meant if _takes(flag, value)] or meant
    if not meant:
        return f"there is no flag {quoted(name)}; {called(prog)} --help shows what people use, --help-all all there is"
    return f"there is no flag {quoted(name)}; did you mean {' or '.join(flag.typed for flag in meant)}?"


def _takes(flag: Flag, text: str) -> bool:
    """Whether a text is surely meant for a flag: one of its names, or a number where it takes one."""
    part = flag.field
    if flag.many or text.lower() in map(str.lower, part.known):
        return not flag.many
    try:
        value = part.read(text)
    except ValueError:
        return False
    return value in part.choices if part.choices else not isinstance(value, str)


def _apart(flag: Flag, text: str, word: str, known: Mapping[str, Flag]) -> None:
    """Refuses a word that stands apart from the values of the axis before it."""
    key, equals, values = text.partition("=")
    if not equals:
        raise UserError(f"{flag.typed} is {quoted(text)}, expected {flag.metavar}, in one word")
    if text.endswith(",") or word.startswith(",") or (key in known and _takes(known[key], word.strip(","))):
        joined = f"{key}={values.strip(',')},{word.strip(',')}"
        raise UserError(
            f"{quoted(word)} stands apart from {flag.typed} {text}; join values by commas without spaces: "
            f"{flag.typed} {joined} (and name an ablation before the flags)"
        )


def _words(words: Sequence[str], wanted: Sequence[Flag], known: Mapping[str, Flag], prog: str) -> None:
    """Refuses words by themselves that are too many or too few."""
    usage = " ".join([called(prog), *(flag.metavar if flag.required else f"[{flag.metavar}]" for flag in wanted)])
    missing = [flag for flag in wanted[len(words) :] if flag.required]
    if missing:
        raise UserError(f"{missing[0].metavar} is missing; expected {usage}, for instance {called(prog)} runs/optimizers")
    if len(words) > len(wanted) and not (wanted and wanted[-1].many):
        word = words[len(wanted)]
        key, equals, value = word.partition("=")
        hint = (
            f"did you mean {known[key].typed} {value}?" if equals and key in known else f"expected {usage} and flags (--help)"
        )
        raise UserError(f"{quoted(word)} stands by itself; {hint}")
