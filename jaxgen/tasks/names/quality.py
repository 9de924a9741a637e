"""How good the names are that trials make: new, different, near to those of the corpus, and shaped like them."""

from __future__ import annotations

import functools
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist
from scipy.special import rel_entr

LONGEST = 64  # characters of a name that are looked at
PAIRS = 1 << 20  # of a drawn name and a corpus's, between which distances are taken, a trial; fewer names in a large corpus
FEWEST = 16  # names, however large the corpus

MEASURES: Mapping[str, str] = {
    "novelty": "share of the names that the corpus does not hold",
    "uniqueness": "share of the names that are different",
    "distance": "characters by which a name lies from the nearest one of the corpus (Levenshtein 1966), mean; of as many names "
    "as make a million pairs, and of 16 at least",
    "length_divergence": "Jensen-Shannon divergence (Lin 1991) of the lengths from the corpus's, in nats",
    "bigram_divergence": "the same of pairs of neighbouring characters, the boundaries included",
}


@dataclass(frozen=True)
class Reference:
    """What names are held against."""

    names: tuple[str, ...]  # of the corpus, with repetitions

    @functools.cached_property
    def different(self) -> list[str]:
        return sorted({name[:LONGEST] for name in self.names})

    @functools.cached_property
    def known(self) -> frozenset[str]:
        return frozenset(self.different)

    @functools.cached_property
    def lengths(self) -> Counter[int]:
        return lengths(self.names)

    @functools.cached_property
    def bigrams(self) -> Counter[tuple[str, str]]:
        return bigrams(self.names)

    def measure(self, names: Sequence[str]) -> dict[str, float]:
        """The MEASURES of some names.

        The divergences of few names are far from 0 even where they were drawn from the corpus (`itself`).
        """
        names = [name[:LONGEST] for name in names]
        near = names[: max(FEWEST, PAIRS // len(self.different))]
        found = cdist(near, self.different, scorer=Levenshtein.distance, workers=-1).min(1)
        return {
            "novelty": float(np.mean([name not in self.known for name in names])),
            "uniqueness": len(set(names)) / len(names),
            "distance": float(found.mean()),
            "length_divergence": divergence(lengths(names), self.lengths),
            "bigram_divergence": divergence(bigrams(names), self.bigrams),
        }

    def itself(self, count: int) -> dict[str, float]:
        """The divergences of `count` names of the corpus, drawn at random: what the best of models can come to; {} of none."""
        if count == 0:
            return {}
        drawn = random.Random(0).choices(self.names, k=count)
        return {name: value for name, value in self.measure(drawn).items() if name.endswith("divergence")}


def lengths(names: Iterable[str]) -> Counter[int]:
    """How often each length is."""
    return Counter(min(len(name), LONGEST) for name in names)


def bigrams(names: Iterable[str]) -> Counter[tuple[str, str]]:
    """How often each pair of neighbours is, boundaries as empty texts."""
    found: Counter[tuple[str, str]] = Counter()
    for name, count in Counter(names).items():
        around = ["", *name[:LONGEST], ""]
        for pair in itertools.pairwise(around):
            found[pair] += count
    return found


def divergence(a: Counter[Any], b: Counter[Any]) -> float:
    """The Jensen-Shannon divergence of two counts, from 0 to ln 2 nats."""
    kinds = list(a | b)
    p, q = (np.array([of[kind] for kind in kinds], float) / of.total() for of in (a, b))
    return float(np.sum(rel_entr(p, (p + q) / 2) + rel_entr(q, (p + q) / 2)) / 2)
