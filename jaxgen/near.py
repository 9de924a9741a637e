"""What a mistyped, shortened or half remembered name was meant for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator

# What people of the field call some things, by their last part.
ALSO = {
    "epochs": "steps",
    "iterations": "steps",
    "iters": "steps",
    "layers": "depth",
    "n_layers": "depth",
    "units": "hidden",
    "output": "out",
}
LONGEST = 200  # characters of a name that are looked at


def near(name: str, known: Collection[str]) -> list[str]:
    """Those of some dotted names that a mistyped, shortened or half remembered one may stand for: at most three.

    In turn: the same in another case; the same last part (`steps`); a section (`optimizer`); initials (`lr`), the beginning
    (`optimizer.learn`) or a word (`rate`) of the last part; one that looks much alike.
    """
    plain = name[:LONGEST].lower().replace("-", "_")
    section, _, end = plain.rpartition(".")
    end = ALSO.get(end, end)
    ends = {key: key.lower().rpartition(".")[2].replace("-", "_") for key in known}
    sections = {key.partition(".")[0] for key in known if "." in key}
    asked = difflib.get_close_matches(section or plain, sections, 1, 0.7)
    inside = [key for key in known if asked and key.startswith(f"{asked[0]}.")]

    def by(rule: Callable[[str], bool], among: Iterable[str]) -> list[str]:
        return [key for key in among if end and rule(ends[key])]

    def shortened(among: Iterable[str]) -> Iterator[list[str]]:
        yield by(lambda last: last == end, among)
        yield by(lambda last: len(end) > 1 and end == "".join(word[:1] for word in last.split("_")), among)
        yield by(lambda last: len(end) > 1 and (last.startswith(end) or end in last.split("_")), among)

    def mistyped(among: Collection[str]) -> Iterator[list[str]]:
        yield difflib.get_close_matches(plain, among, 1, 0.7)
        alike = difflib.get_close_matches(end, {ends[key] for key in among}, 1, 0.7)
        yield by(lambda last: last in alike, among)

    def rules() -> Iterator[list[str]]:
        yield [key for key in known if key.lower().replace("-", "_") == plain]
        if section:
            yield from shortened(inside)
        yield by(lambda last: last == end, known)
        if not section:
            yield inside
        yield from shortened(known)
        yield from mistyped(inside if section else known)
        yield from mistyped(known)

    return next((found for found in rules() if found), [])[:3]
