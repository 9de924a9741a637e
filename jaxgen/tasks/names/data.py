"""File -> names -> vocabulary -> windows -> splits. NumPy only, and pure functions of the file and the split seed."""

from __future__ import annotations

import csv
import hashlib
import io
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgen import given
from jaxgen.fields import UserError, quoted, shortened
from jaxgen.tasks.inputs import is_number
from jaxgen.tasks.rows import located

BOUNDARY = 0  # the id before a name's first character and after its last; no character has it
SHARES = (0.8, 0.9)  # where the shuffled names are cut: training, validation, test


@dataclass(frozen=True)
class Vocabulary:
    """The characters that names are made of, in code point order; character i has id i + 1, the boundary id 0."""

    characters: str

    def __len__(self) -> int:
        return len(self.characters) + 1

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {character: i for i, character in enumerate(self.characters, 1)}

    @classmethod
    def of(cls, characters: str) -> Vocabulary:
        """The vocabulary of characters from a file.

        Raises:
          ValueError: where they are not different ones in order.
        """
        if list(characters) != sorted(set(characters)) or not set(characters).isdisjoint("\r\n"):
            raise ValueError("its characters are not different ones in order")
        return cls(characters)

    def encode(self, text: str) -> list[int]:
        """The ids of a text's characters.

        Raises:
          UserError: if a character is not in the vocabulary.
        """
        strange = sorted(set(text) - self._ids.keys())
        if strange:
            raise UserError(
                f"{quoted(text)} holds {quoted(''.join(strange))}, which no name of the corpus holds; "
                f"its characters are {quoted(self.characters)}"
            )
        return [self._ids[character] for character in text]

    def decode(self, ids: list[int]) -> str:
        """The text before the first boundary."""
        end = ids.index(BOUNDARY) if BOUNDARY in ids else len(ids)
        return "".join(self.characters[i - 1] for i in ids[:end])


class Windows(NamedTuple):
    """One part of a split, as the model reads it."""

    ids: NDArray[np.int32]  # (N, T): the T ids before a character, boundaries before the name's start
    targets: NDArray[np.int32]  # (N,): the character's own id, or the boundary after the last


class Told(NamedTuple):
    """Windows with what counts say of what comes after each, for networks that stand on counts."""

    ids: NDArray[np.int32]
    targets: NDArray[np.int32]
    said: NDArray[np.float32]  # (N, L, V): log-probabilities of each id in the target's place, by contexts of L lengths


class Splits(NamedTuple):
    train: Windows
    validation: Windows
    test: Windows


@dataclass(frozen=True)
class Corpus:
    """The names of a file, in its order, with repetitions.

    Examples:
      >>> corpus.names[:3]
      ('smith', 'johnson', 'williams')
      >>> len(corpus.vocabulary)  # its characters and the boundary
      27
    """

    names: tuple[str, ...]
    path: str
    column: str | None
    sha256: str  # of the file's bytes

    def __repr__(self) -> str:
        few = ", ".join(map(quoted, self.names[:3]))
        return f"Corpus({len(self.names):,} names of {quoted(self.path)}: {few}{', ...' if len(self.names) > 3 else ''})"

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary("".join(sorted(set().union(*self.names))))

    @property
    def windows(self) -> int:
        """Characters plus one boundary a name."""
        return sum(map(len, self.names)) + len(self.names)


TABLES = {".csv": ",;\t", ".tsv": "\t,;", ".tab": "\t,;"}  # what may stand between columns, by how a table's name ends
ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


IN_MEMORY = "names given in Python"  # in place of a path


def load_corpus(path: str | Path | Iterable[str], column: str | None = None) -> Corpus:
    """The names of a text file (a name a line) or of a table with commas, semicolons or tabs (`column`, or its only one): in
    UTF-8, or in UTF-16 or UTF-32 with their marks; also packed by gzip.

    Spaces around a name and empty names are dropped; everything else is kept as it is.

    Args:
      path: of the file; "names" or "first_names" for a bundled one; or the names themselves, as if they stood in a text file.
      column: of a table, what its first row says; or its number, from 1 on: the first row is then one like the others where one
        of its cells is a number, and else stands above the columns.

    Raises:
      UserError: if there is no such file or column, it is larger than `given.LARGEST` bytes or no text, or no name is left.

    Examples:
      >>> corpus = jaxgen.load_corpus("names.txt")
      >>> corpus
      Corpus(400 names of 'names.txt': 'smith', 'johnson', 'williams', ...)
      >>> jaxgen.load_corpus(["anna", "bob"])
      Corpus(2 names of 'names given in Python': 'anna', 'bob')
    """
    if not isinstance(path, str | Path):
        return _listed(path, column)
    if str(path) == IN_MEMORY:
        raise UserError("the names of this run were given in Python and lie in no file; give them again, as task=names")
    if ADDRESS.match(str(path)) and not Path(path).exists():
        raise UserError(f"{str(path)!r} is an address, and those are not read; save what is there as a file, and give that")
    path = Path(path)
    content = given.read(located(path))
    text = given.text(path, content)
    bare = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    kind = bare.suffix.lower()
    if column is not None or kind in TABLES:
        rows = _column(text, column, str(path), kind)
    else:
        rows = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    names = _whole(rows, str(path))
    if not names:
        raise UserError(f"{str(path)!r} holds no names; expected a text file with a name a line, or a table with --column")
    return Corpus(names, str(path), column, hashlib.sha256(content).hexdigest())


def _whole(rows: Iterable[str], where: str) -> tuple[str, ...]:
    """The names in some lines.

    Raises:
      UserError: if one has a line break in it.
    """
    names = tuple(name for name in (row.strip() for row in rows) if name)
    broken = next((name for name in names if "\n" in name or "\r" in name), None)
    if broken is not None:
        raise UserError(f"{where!r} holds a name with a line break in it, {quoted(broken)}; put each name on one line")
    return names


def _listed(given: Iterable[str], column: str | None) -> Corpus:
    """Names from Python, with the SHA-256 of a text file of theirs."""
    rows = list(given)
    strange = next((row for row in rows if not isinstance(row, str)), None)
    if strange is not None or column is not None:
        what = f"column is {quoted(column)}" if strange is None else f"{quoted(strange)} is among them"
        raise UserError(f"names were given, and {what}; expected texts, or a file's path")
    names = _whole(rows, IN_MEMORY)
    if not names:
        raise UserError("no names were given; expected a list of texts, or a file's path")
    content = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogatepass")
    return Corpus(names, IN_MEMORY, None, hashlib.sha256(content).hexdigest())


def _column(text: str, column: str | None, path: str, kind: str) -> list[str]:
    try:
        between = _between(text, column, TABLES.get(kind, ",;\t"))
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=between, strict=True))
    except csv.Error as error:
        raise UserError(f"{path!r} is not a CSV file ({error}); check its quotes") from None
    header = rows[0] if rows else []
    if column is None and len(header) == 1:
        column = header[0]
    if column in header:
        place, first = header.index(column), 1
    elif column is not None and column.isdecimal() and 1 <= int(column[:9]) <= len(header):
        place, first = int(column) - 1, 0 if any(map(is_number, header)) else 1
    elif len(header) == 1 and kind not in TABLES:
        raise UserError(f"{path!r} is a text file, a name a line, which has no column {quoted(column)}; leave --column out")
    else:
        wanted = "a column is wanted" if column is None else f"there is no column {quoted(column)}"
        some = f"one of {shortened(', '.join(header))} (or its number, 1 to {len(header)})" if header else "(the file is empty)"
        raise UserError(f"{path!r}: {wanted}; give --column, {some}")
    return [row[place] for row in rows[first:] if len(row) > place]


def _between(text: str, column: str | None, candidates: str) -> str:
    """What stands between the columns of a table, by its first row: the first candidate that finds the column, else several."""
    heads = {one: _head(text, one) for one in candidates}
    found = [one for one, head in heads.items() if column in head] or [one for one, head in heads.items() if len(head) > 1]
    return found[0] if found else candidates[0]


def _head(text: str, between: str) -> list[str]:
    """The first row, where it can be read so."""
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=between, strict=True), [])
    except csv.Error:
        return []


def cut(corpus: Corpus, split: str, seed: int) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The names for training, validation and test: shuffled by `random.Random(seed)` and cut 80/10/10.

    `rows` cuts the names as they come; `names` cuts the different names, each of which counts once, so that none is in two
    parts; `order` cuts the names before they are shuffled, each part for itself.

    Raises:
      UserError: if a part would be empty.
    """
    units = list(dict.fromkeys(corpus.names)) if split == "names" else list(corpus.names)
    source = random.Random(seed)
    if split != "order":
        source.shuffle(units)
    first, second = (int(share * len(units)) for share in SHARES)
    parts = (units[:first], units[first:second], units[second:])
    if not all(parts):
        what = "different names" if split == "names" else "names"
        raise UserError(f"{corpus.path!r} holds {len(units)} {what}, too few to cut 80/10/10 by {split}; expected 10 or more")
    if split == "order":
        for part in parts:
            source.shuffle(part)
    train, validation, test = map(tuple, parts)
    return train, validation, test


def hold_out(train: tuple[str, ...], percent: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Shuffled names as those to train on and the last `percent` of 100, which are not."""
    first = len(train) - len(train) * percent // 100
    return train[:first], train[first:]


def windows(names: tuple[str, ...], vocabulary: Vocabulary, context: int) -> Windows:
    """Every window of the names: one for each character and one for the boundary that ends a name.

    Returns:
      ids (N, context) and targets (N,), N = characters + names.
    """
    width = max(context, 1)
    padding = [BOUNDARY] * width
    stream = np.array([i for name in names for i in (*padding, *vocabulary.encode(name))] + padding + [BOUNDARY], np.int32)
    lengths = np.array([len(name) for name in names])
    starts = np.concatenate([[0], np.cumsum(lengths + width)[:-1]])  # where each name's padding begins
    counts = lengths + 1
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    first = np.repeat(starts, counts) + within
    ids = stream[first[:, None] + np.arange(width - context, width)]
    # The id after a name's last character in the stream is the next name's padding: a boundary, as it should be.
    return Windows(ids, stream[first + width])


def sequences(names: tuple[str, ...], vocabulary: Vocabulary, context: int) -> Windows:
    """Windows such that each character of the names, and each boundary that ends one, is the target at one place of one window.

    A name that a window holds has one. Of a longer one, the first window holds the first `context` ids, and the others
    move on by half of that: their first half only says what came before.

    Returns:
      ids (N, context), in front of which boundaries fill up what a name is short; and targets (N, context), the id that comes
      after each, or -1 where nothing is to be learnt.
    """
    ids, targets = [], []
    for name in names:
        stream = [BOUNDARY, *vocabulary.encode(name), BOUNDARY]
        done, end = 0, min(context, len(stream) - 1)
        while done < len(stream) - 1:
            begin = max(end - context, 0)
            padding = context - (end - begin)
            ids.append([BOUNDARY] * padding + stream[begin:end])
            targets.append([-1] * (padding + done - begin) + stream[done + 1 : end + 1])
            done, end = end, min(end + max(context // 2, 1), len(stream) - 1)
    return Windows(np.array(ids, np.int32), np.array(targets, np.int32))


def split(corpus: Corpus, how: str, seed: int, context: int) -> Splits:
    """The windows of the three parts (`cut`), at a context of `context` ids."""
    train, validation, test = (windows(part, corpus.vocabulary, context) for part in cut(corpus, how, seed))
    return Splits(train, validation, test)
