"""The last states of trials that ended because their steps were up: what they go on from, where they are given more.

A last state has the best one in it, and that one is the same as the last where no step since was worse: it is stored apart, of
those trials alone in which it is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

BEST = "best."
APART = ("best.params.", "best.stats.")
SINCE = ("best.step", "step")  # equal where the last state is the best one
MOST = 1 << 30  # bytes of them that a run keeps


def stacked(states: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of some trials' last states by their names (`arrays.named`), one behind the other."""
    apart = [state for state in states if _apart(state)]
    found = {name: np.stack([state[name] for state in states]) for name in states[0] if not name.startswith(APART)}
    return found | {name: np.stack([state[name] for state in apart]) for name in states[0] if name.startswith(APART) and apart}


def _apart(state: Mapping[str, np.ndarray]) -> bool:
    best, last = (int(state[name]) for name in SINCE)
    return best != last


def taken(arrays: Mapping[str, np.ndarray], place: int, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of one of those that `stacked` made one of, by its place among them.

    Raises:
      KeyError, IndexError: where they are of something else.
    """
    best, last = (arrays[name] for name in SINCE)
    apart = np.flatnonzero(best != last)
    others = int(np.searchsorted(apart, place))
    alone = others < len(apart) and apart[others] == place

    def of(name: str) -> np.ndarray:
        if not name.startswith(APART):
            return arrays[name][place]
        return arrays[name][others] if alone else arrays[name.removeprefix(BEST)][place]

    return {name: of(name) for name in names}
