"""The trials of a run that ended: their rows, and where their arrays lie. On disk a log with a line for each save of some.

A line has its own SHA-256, so that a damaged one costs its own trials alone. Where several speak of a trial, the last counts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple, NotRequired, TypedDict

from jaxgen.judge.results import Row
from jaxgen.storage.files import checked
from jaxgen.storage.rows import row_of

ENDED = "ended.jsonl"
PLACE = re.compile(r"(lanes|trials|shared|lasts)-(\d{6,})")

Sums = Mapping[str, str]  # file -> size and SHA-256


class Place(NamedTuple):
    """Where arrays lie: those of some trials, one behind the other, or one that all of several trials have."""

    sums: Sums
    trials: tuple[int, ...] = ()  # in the order of their arrays' rows
    shared: Mapping[str, str] = {}  # array that lies elsewhere, the same of all these trials -> its place


class LastsSaid(TypedDict):
    """Where the last states of some trials lie."""

    place: str
    trials: list[int]  # in the order of their arrays' rows
    sums: dict[str, str]


class Line(TypedDict):
    """What a line holds."""

    place: str
    rows: list[Any]  # each as `rows.row_of` reads it
    shared: dict[str, str]
    sums: dict[str, dict[str, str]]  # of that place, and of those of shared arrays that are new
    lasts: NotRequired[LastsSaid]  # of those of these trials that have one


class Ended:
    """The trials that ended, as far as a save knows of them."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.where: dict[int, str] = {}
        self.places: dict[str, Place] = {}  # all that arrays of these trials lie in
        self.last: dict[int, str] = {}  # trial -> where its last state lies
        self.lasts: dict[str, Place] = {}  # all that last states of these trials lie in
        self.unread = 0  # lines that are damaged

    def add(
        self,
        place: str,
        rows: Sequence[Row],
        shared: Mapping[str, str],
        sums: Mapping[str, Sums],
        lasts: LastsSaid | None = None,
    ) -> None:
        """Takes in trials whose arrays lie in a new place; where one of them had ended before, that does not count any more.

        Raises:
          ValueError: where the places are not of a run.
        """
        trials, found = tuple(row.trial for row in rows), {**sums, **({} if lasts is None else {lasts["place"]: lasts["sums"]})}
        strange = next((name for name in (*found, *shared.values()) if not PLACE.fullmatch(name)), None)
        strange = next((n for files in found.values() for n in files if n.startswith("/") or ".." in n.split("/")), strange)
        if strange is not None:
            raise ValueError(f"it names {strange!r}, which is not of a run")
        known, there = {*sums, *self.places}, {*self.places, *self.lasts}
        if place not in sums or {*found} & there or not {*shared.values()} <= known or len({*trials}) < len(trials):
            raise ValueError("its trials do not agree")
        if lasts is not None and (lasts["place"] in sums or not {*lasts["trials"]} <= {*trials}):
            raise ValueError("its trials do not agree")
        before = {self.where[trial] for trial in trials if trial in self.where}
        for row in rows:
            self.rows.pop(row.trial, None)
            self.rows[row.trial] = row
            self.where[row.trial] = place
            self.last.pop(row.trial, None)
        self.places |= {name: Place(files) for name, files in sums.items()}
        self.places[place] = Place(sums[place], trials, shared)
        if lasts is not None:
            self.lasts[lasts["place"]] = Place(lasts["sums"], tuple(lasts["trials"]))
            self.last |= dict.fromkeys(lasts["trials"], lasts["place"])
        if before:
            self._forget(before)

    def _forget(self, before: Iterable[str]) -> None:
        """Drops those places in which no trial's arrays lie any more, and what only they shared."""
        for place in before:
            if all(self.where[trial] != place for trial in self.places[place].trials):
                del self.places[place]
        self.lasts = {name: self.lasts[name] for name in dict.fromkeys(self.last.values())}
        used = {name for place in self.places.values() for name in place.shared.values()}
        for name in [name for name, place in self.places.items() if not place.trials and name not in used]:
            del self.places[name]

    def lying_in(self, places: Iterable[str]) -> list[int]:
        """The trials that have arrays in some of these places, in order."""
        some = {*places}
        of = (trial for name, place in self.places.items() if {name, *place.shared.values()} & some for trial in place.trials)
        return sorted(trial for trial in {*of} if {self.where[trial], *self.places[self.where[trial]].shared.values()} & some)


def line(
    place: str, rows: Sequence[Row], shared: Mapping[str, str], sums: Mapping[str, Sums], lasts: LastsSaid | None = None
) -> bytes:
    """What `Ended.add` takes, as a line of the log."""
    said = {"place": place, "rows": [asdict(row) for row in rows], "shared": shared, "sums": sums}
    return _written(said if lasts is None else said | {"lasts": lasts})


def _written(said: Mapping[str, Any]) -> bytes:
    text = json.dumps(said).encode()
    return hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n"


def renumbered(content: bytes, trials: Sequence[int], moved: Callable[[str], str]) -> bytes:
    """A log, none of whose lines is damaged, by other numbers of its trials and other names of its places.

    Args:
      trials: the number of each, by the one that it has in the log.
    """
    lines = []
    for one in content.splitlines():
        said: Line = json.loads(one.partition(b" ")[2])
        for row in said["rows"]:
            row["trial"] = trials[row["trial"]]
        said["place"] = moved(said["place"])
        said["shared"] = {name: moved(place) for name, place in said["shared"].items()}
        said["sums"] = {moved(place): sums for place, sums in said["sums"].items()}
        if "lasts" in said:
            lasts = said["lasts"]
            said["lasts"] = {**lasts, "place": moved(lasts["place"]), "trials": [trials[trial] for trial in lasts["trials"]]}
        lines.append(_written(said))
    return b"".join(lines)


def read_rows(line: bytes) -> list[Row]:
    """The rows of one line of a log; none of one that is damaged."""
    digest, _, text = line.partition(b" ")
    if hashlib.sha256(text).hexdigest().encode() != digest:
        return []
    return [row_of(facts) for facts in json.loads(text)["rows"]]


def read_lines(content: bytes) -> Ended:
    """What a log holds. A damaged line is left out, and counted.

    Raises:
      ValueError: where a whole line says what jaxgen does not write.
    """
    ended = Ended()
    for one in content.removesuffix(b"\n").split(b"\n") if content else ():
        digest, _, text = one.partition(b" ")
        if hashlib.sha256(text).hexdigest().encode() != digest:
            ended.unread += 1
            continue
        said = checked(json.loads(text), Line)
        if ended.unread and not {*said["shared"].values()} <= {*said["sums"], *ended.places}:
            ended.unread += 1  # where that lies, a damaged line said
            continue
        rows = [row_of(facts) for facts in said["rows"]]
        ended.add(said["place"], rows, said["shared"], said["sums"], said.get("lasts"))
    return ended
