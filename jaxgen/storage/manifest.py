"""What a save says: a JSON value with its SHA-256, of this format and of those before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired, TypedDict

from jaxgen.fields import UserError
from jaxgen.storage.ended import PLACE
from jaxgen.storage.files import checked, read, unsigned

FORMAT = 10
RESUMED = (9, FORMAT)  # 9: without the last states of trials that ended
READABLE = (4, 5, 6, 7, 8, *RESUMED)  # what is missing in older ones has its default; they are read, and not gone on with


class Manifest(TypedDict):
    """What a save holds."""

    format: int
    saves: int  # its number, from 1 on; 0: nothing has been saved
    lanes: str | None  # the place of the lanes' arrays
    sums: dict[str, str]  # of that place: file -> size and SHA-256
    group: int
    taken: int
    in_lanes: list[int | None]
    ended: str  # size and SHA-256 of what counts of the log of the trials that ended
    logs: dict[str, str]  # table that only grows -> the same of it
    merged: NotRequired[bool]  # whether this is what parts of the run hold, and nothing else


class Before(TypedDict):
    """What a save held before format 9: all rows and sums, each time."""

    format: int
    saves: int
    lanes: str | None
    trials: dict[str, list[int]]  # place -> the trials whose arrays are there, in the order of their rows
    sums: dict[str, dict[str, str]]  # place -> file -> size and SHA-256
    group: int
    taken: int
    in_lanes: list[int | None]
    rows: list[Any]
    logs: dict[str, str]


NOTHING: Manifest = {
    "format": FORMAT,
    "saves": 0,
    "lanes": None,
    "sums": {},
    "group": 0,
    "taken": 0,
    "in_lanes": [],
    "ended": "",
    "logs": {},
}


def read_manifest(path: Path) -> tuple[Manifest, Before | None]:
    """A manifest; one of a format before as one of this format, and as it is.

    Raises:
      UserError: if it is not there, damaged, or of another format.
    """
    before: Before | None = None
    try:
        said: Any = unsigned(read(path))
        version = said["format"]
        if version in RESUMED:
            checked(said, Manifest)
            said["format"] = FORMAT  # what is saved next
        elif version in READABLE:
            before = checked(said, Before)
            said = {key: said[key] for key in NOTHING if key in said} | {"ended": "", "sums": {}}
    except FileNotFoundError:
        raise UserError(f"{str(path)!r} is not there") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{str(path)!r} is damaged: {str(error).splitlines()[0]}") from None
    if version not in READABLE:
        raise UserError(f"{str(path)!r} has format {version!r}, expected {FORMAT}; use the version of jaxgen that wrote it")
    lanes = said["lanes"]
    strange = lanes if lanes is not None and not PLACE.fullmatch(lanes) else None
    strange = next((name for name in said["sums"] if name.startswith("/") or ".." in name.split("/")), strange)
    if strange is not None:
        raise UserError(f"{str(path)!r} names {strange!r}, which is not of a run")
    return said, before
