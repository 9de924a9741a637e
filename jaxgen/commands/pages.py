"""What --help and --help-all print: first what people use, then all there is."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import io
import itertools
import re
import shutil
import textwrap
from collections.abc import Mapping
from typing import Annotated, Any

import tyro

from jaxgen.called import called
from jaxgen.commands.flags import CONFIG, Flag, flags
from jaxgen.fields import fields, flatten

HELP, ALL = ("-h", "--help"), ("--help-all", "--help_all")
KEYS = ("model.family", "optimizer.name", "optimizer.learning_rate", "train.steps")  # of the config, on the first page
RUNS = ("data", "column", "preset", "config", "out", "resume", "overwrite")
# Command -> what stands on the first page, in the order of the flags; of the others all does.
FIRST: Mapping[str, tuple[str, ...]] = {
    "sweep": ("ablation", "list", *RUNS, "grid", "random", "trials", "seeds", *KEYS),
    "train": (*RUNS, "seed", *KEYS),
    "sample": ("run", "trial", "count", "temperature", "prefix", "unique", "novel", "seed"),
    "benchmark": ("quick", "minutes", "out"),
}


def page(kind: type, prog: str, whole: bool) -> str:
    """The help of a command.

    Args:
      kind: its dataclass of flags.
      whole: with every flag.
    """
    every = flags(kind)
    names = [flag.name for flag in every]
    first = FIRST.get(prog, names)
    if "model.family" not in names:  # of one network, whose keys are few and its own
        first = [*first, *(name for name in names if name.startswith("model."))]
    some = every if whole else [flag for flag in every if flag.name in first]
    about = inspect.cleandoc(kind.__doc__ or "")
    if len(some) < len(every):
        about += f"\n\nThese are what people use most; {called(prog)} --help-all shows all {len(every)} flags."
    width = shutil.get_terminal_size().columns
    about = "\n\n".join(textwrap.fill(" ".join(part.split()), width) for part in about.split("\n\n"))
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        tyro.cli(_shown(kind, some, boxed=whole), prog=called(prog), args=["--help"], description="", use_underscores=True)
    # tyro writes every name with underscores; a flag that is no key of the config is typed with hyphens.
    shown = re.sub(r"--\w+(?![\w.])", lambda found: found[0].replace("_", "-"), said.getvalue())
    usage, *rest = (line.rstrip() for line in shown.rstrip().splitlines())
    return "\n".join([usage, "", about, "", *itertools.dropwhile(lambda line: not line, rest)]) + "\n"


Line = tuple[str, Any, Any]  # a field to be: its name, its type, its default


def _shown(kind: type, some: list[Flag], boxed: bool) -> type:
    """A dataclass with some of a command's flags, which serves its help alone.

    Args:
      boxed: the keys of each section stand together.
    """
    texts = notes(kind)
    defaults = {part.name: part.default for part in dataclasses.fields(kind) if part.name != CONFIG}
    for config in (part.default_factory for part in dataclasses.fields(kind) if part.name == CONFIG):
        assert callable(config)
        base = config()
        defaults |= flatten(base)
        texts |= {name: text for name, text in notes(type(base)).items() if name in defaults}
        for part in fields(type(base)):
            own = notes(part.kinds[0]) if part.section else {}
            texts |= {f"{part.name}.{name}": text for name, text in own.items()}
    boxes: dict[str, list[Line]] = {"": []}
    for flag in some:
        section, _, last = flag.name.rpartition(".")
        at = flag.name if "." in flag.name else flag.field.name
        line = _line(flag, last if boxed else flag.name, texts.get(at, ""), defaults[at])
        boxes.setdefault(section if boxed else "", []).append(line)
    sections: list[Line] = []
    for name, lines in boxes.items():
        if name:
            box = dataclasses.make_dataclass(name, lines)
            sections.append((f"{name}_keys", Annotated[box, tyro.conf.arg(name=name)], dataclasses.field(default_factory=box)))
    return dataclasses.make_dataclass("Flags", [*boxes[""], *sections])


def _line(flag: Flag, name: str, text: str, default: Any) -> Line:
    """A flag as tyro is to show it."""
    none = default is None or default is False or default in ("", ())
    hint = "(repeatable)" if flag.many and not flag.word else "" if none else f"(default: {default})"
    switch = flag.switch and "." not in flag.name
    metavar = None if switch else flag.metavar if flag.required or not flag.word else f"[{flag.metavar}]"
    marks = [tyro.conf.arg(name=name, metavar=metavar, help=text, help_behavior_hint=hint, aliases=flag.aliases)]
    field = dataclasses.field() if flag.required else dataclasses.field(default="")
    if switch:
        return name, Annotated[bool, *marks, tyro.conf.FlagCreatePairsOff], dataclasses.field(default=False)
    return name.replace(".", "_"), Annotated[tyro.conf.Positional[str] if flag.word else str, *marks], field


def notes(kind: type) -> dict[str, str]:
    """Field -> what is said of it below it in its class, in one line; where the class has no source, nothing."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        try:
            (made,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        body = made.body if isinstance(made, ast.ClassDef) else []
        for part, text in itertools.pairwise(body):
            match part, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                    found[name] = re.sub(r"\bNone: ", "Left out: ", " ".join(said.split()))
    return found
