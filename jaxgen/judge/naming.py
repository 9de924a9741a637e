"""What arms are called: by what tells them apart, in few words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxgen.judge.results import Results, Scalar, label

PLAIN = "plain"
LEAST = 4  # arms, of which fewer have nothing that goes without saying
MOST = 0.6  # the share of arms beyond which a value that they have goes without saying
OFF = (None, False, "none", 0)  # which goes without saying where half have it
FEW = 24  # characters by which an arm that differs in nothing is called by all its values


@dataclass(frozen=True)
class Names:
    """The names of what a run compares, by the values of the keys that its question names (of all that vary)."""

    keys: tuple[str, ...]
    of: Mapping[tuple[Scalar, ...], str]
    usual: Mapping[str, Scalar]
    """What a name leaves out, because most arms have it."""

    def __call__(self, values: Mapping[str, Scalar]) -> str:
        """The name of the arm that a setting is one of."""
        at = tuple(values.get(key) for key in self.keys)
        return self.of.get(at) or label(dict(zip(self.keys, at, strict=True)))


def arm_names(results: Results) -> Names:
    """What a run compares by name, the same however many of its trials have ended; kept, since a report asks a dozen times."""
    kept = results.__dict__.get("_names")
    if kept is None or kept[0] is not results.sweep or kept[1] != results.question:
        kept = results.__dict__["_names"] = (results.sweep, results.question, _arm_names(results))
    return kept[2]


def _arm_names(results: Results) -> Names:
    asked = results.question
    keys = tuple(key for key in results.keys if not asked.arms or key in asked.arms)
    trials = (results.values(trial) for trial in range(len(results.sweep)))
    found = dict.fromkeys(tuple(values[key] for key in keys) for values in trials)
    points = [dict(zip(keys, values, strict=True)) for values in found]
    usual = commonest(points)
    return Names(keys, dict(zip(found, named(points, asked.names), strict=True)), usual)


def named(points: Sequence[Mapping[str, Scalar]], better: Mapping[str, str] | None = None) -> list[str]:
    """A name for each of some arms, no two alike: by the values in which it differs from most of them.

    Numbers have three digits where these tell an arm from all others, and else more.

    Args:
      points: of each arm the same keys.
      better: what is known better of an arm than the name that it has by itself.
    """
    usual = commonest(points)
    names = [_name(_rounded(point), _rounded(usual)) for point in points]
    for way in (lambda point: _name(point, usual), label, _exactly):
        often = Counter(names)
        names = [name if often[name] == 1 else way(point) for name, point in zip(names, points, strict=True)]
    if len(set(names)) < len(names):  # one's exact name is another's short one
        names = [_exactly(point) for point in points]
    given = [(better or {}).get(name, name) for name in names]
    return given if len(set(given)) == len(given) else names


def commonest(points: Sequence[Mapping[str, Scalar]]) -> dict[str, Scalar]:
    """By key the value that most of some arms have, and so goes without saying; nothing where they differ in one key alone."""
    columns = {key: [point[key] for point in points] for key in (points[0] if points else ())}
    if len(points) < LEAST or sum(len(set(values)) > 1 for values in columns.values()) < 2:
        return {}
    most = {key: Counter(values).most_common(1)[0] for key, values in columns.items()}
    return {key: value for key, (value, count) in most.items() if count > (1 / 2 if value in OFF else MOST) * len(points)}


def _name(point: Mapping[str, Scalar], usual: Mapping[str, Scalar]) -> str:
    own = {key: value for key, value in point.items() if key not in usual or value != usual[key]}
    if own:
        return label(own)
    return PLAIN if len(label(point)) > FEW else label(point)


def _exactly(point: Mapping[str, Scalar]) -> str:
    """For names with commas, and numbers that agree in six digits."""
    return ", ".join(f"{key} {value!r}" for key, value in point.items())


def _rounded(point: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in point.items()}
