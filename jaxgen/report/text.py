"""Text for pictures: short, and never more than text, whoever wrote it."""

from __future__ import annotations

import functools
import textwrap
import unicodedata
from collections.abc import Sequence

from matplotlib.font_manager import findfont, get_font

FONT = "DejaVu Sans"  # comes with matplotlib, so that pictures are alike everywhere
SHORT = 56  # characters of a label


@functools.lru_cache(maxsize=100_000)
def drawable(character: str) -> bool:
    """Whether the pictures' font has a character, and it is one that is seen."""
    if unicodedata.category(character)[0] in "CMZ" and character != " ":
        return False
    return get_font(findfont(FONT)).get_char_index(ord(character)) != 0


TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def seen(text: str) -> str:
    """Text whose control characters, and those that turn the direction of what follows, are shown and not obeyed."""
    hidden = (unicodedata.bidirectional(c) in TURNS or unicodedata.category(c) == "Cc" for c in text)
    return "".join(repr(c)[1:-1] if is_hidden else c for c, is_hidden in zip(text, hidden, strict=True))


def plain(text: str, most: int | None = None) -> str:
    """Text that matplotlib shows as it is, in one line; cut with an ellipsis where it takes more than `most` characters.

    A dollar sign would start a formula, and an underscore at the start would keep a line out of the legend. What the
    font has not, or the eye cannot see, is shown by its code point.
    """
    shown = [c if drawable(c) else f"U+{ord(c):04X}" for c in text]
    if most is not None and sum(map(len, shown)) > most:
        while shown and sum(map(len, shown)) >= most:
            shown.pop()
        shown.append("…")
    whole = "".join(shown).replace("$", r"\$")
    return f" {whole}" if whole.startswith("_") else whole


def short(text: str, most: int = SHORT) -> str:
    """Plain text in at most `most` characters."""
    return plain(text[: most + 1], most)


def wrapped(text: str, width: int = 24) -> str:
    """Plain text in at most two lines of at most `width` characters, broken between words where they are not longer."""
    first, *rest = textwrap.wrap(text, width) or [text]
    return "\n".join([short(first, width), *([short(" ".join(rest), width)] if rest else [])])


def head(key: str) -> str:
    """A key as people read it: its last part, in words; of optimizer.name the first."""
    return key.removesuffix(".name").rpartition(".")[2].replace("_", " ")


def heads(keys: Sequence[str]) -> list[str]:
    """The keys as heads of columns: their last parts, or all of a key where two would be alike."""
    short = [head(key) for key in keys]
    return [key if short.count(name) > 1 else name for key, name in zip(keys, short, strict=True)]
