"""What a run's results answer to its question: which arm wins, by how much, and whether that could be chance.

An arm is what the question compares, for instance an optimizer; its settings are the values at which it was tried, for
instance its learning rates, each at every seed. Arms are compared at their best settings, which validation chooses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from jaxgen.judge import shown
from jaxgen.judge.cautions import at_the_edge, still_improving
from jaxgen.judge.chance import FEWEST, corrected
from jaxgen.judge.naming import arm_names
from jaxgen.judge.results import Arm, Results, Scalar, label
from jaxgen.judge.statistics import CHANCE, ENOUGH, Tried, best_of, interval, seeds_for, t_test
from jaxgen.tasks.metric import Metric

ALONE = label({})  # what an arm is called where nothing is compared
NAMED = 6  # arms that one sentence names
MOST_SEEDS = 1000  # beyond which it is only said that it would take more


@dataclass(frozen=True)
class Comparison:
    """Two arms, each at its best setting, over the seeds that both have: trials of one seed see the same data and start."""

    better: str
    worse: str
    difference: float
    """By how much `better` is ahead of `worse` in the selecting metric on validation, mean over seeds."""
    low: float
    """Lower end of its 95% confidence interval; where it is resolved that `better` is better, no lower than zero."""
    high: float
    effect: float
    """The difference in standard deviations of the seeds' differences (Cohen's d_z)."""
    p: float
    """Chance of a difference this large between equal arms, corrected for the number of arms; 1 for fewer than three seeds."""
    seeds: int
    resolved: bool
    unit: str = ""
    """Of the difference."""
    metric: str = "loss"
    """Of which it is one."""

    def __str__(self) -> str:
        # What the sentence rests on shows at least one digit.
        rests_on = (self.low or self.difference) if self.resolved else (self.high - self.low) / 2
        digits = max(3, math.ceil(-math.log10(rests_on))) if 0 < rests_on < math.inf else 3
        difference, low, high = (f"{x:.{digits}f}" for x in (self.difference, self.low, self.high))
        evidence = f"95% CI {low} to {high}, {self.seeds} seeds"
        if self.resolved:
            return f"{self.better} beats {self.worse} by {difference}{self.what} ({evidence})"
        if self.seeds == 0:
            return f"not resolved: {self.better} and {self.worse} have no seed in common"
        lead = f"{self.better} leads {self.worse} by {difference}{self.what}"
        if self.difference == 0:
            lead = f"{self.better} and {self.worse} come to the same {self.metric}"
        if self.seeds > 1 and self.low == self.high == 0:
            return f"not resolved: {lead} at each of {self.seeds} seeds"
        if self.seeds < FEWEST:
            return f"not resolved: {lead}, but {'one seed' if self.seeds == 1 else 'two seeds'} cannot tell"
        # The interval is of this comparison alone; where it excludes zero, the number of arms is what speaks against.
        correction = f"; corrected p {self.p:.2g}" if self.low > 0 else ""
        return f"not resolved: {lead}, which could be chance ({evidence}{correction})"

    @property
    def what(self) -> str:
        return f" {self.unit}" if self.unit else ""


@dataclass(frozen=True)
class Verdict:
    """An answer: sentences, of which the first is the one to quote, and the numbers behind them.

    Examples:
      >>> verdict = results.verdict()
      >>> print(verdict.sentences[0])
      sgd beats adam by ... nats (95% CI ... to ..., 3 seeds)
      >>> verdict.comparisons[0].resolved
      True
    """

    sentences: tuple[str, ...]
    comparisons: tuple[Comparison, ...] = ()
    """The winning arm with each of the others, the closest first."""
    budgets: Mapping[str, tuple[Tried, ...]] = field(default_factory=dict)
    """Best-of-k curves by arm; only where the arms were tuned."""

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def __repr__(self) -> str:
        return f"Verdict({self.sentences[0]!r}, {len(self.comparisons)} comparisons)"

    def _repr_html_(self) -> str:
        return shown.sentences(self.sentences)


def arms(results: Results) -> Verdict:
    """Which arm has the best mean validation score, each at its best setting, and whether that could be chance.

    A setting's loss is the mean over the seeds at which it did not diverge, and an arm's best setting the one with the lowest
    loss among those with the most such seeds: a setting that diverges at some seeds cannot be relied on, and its mean lacks
    just the seeds that were hard for it. Where arms have different seeds, the winner is the one that leads each other arm
    over the seeds that the two share. The test loss takes no part in any choice.

    The stated rate: in a sweep of equal arms, any arm is called better than another in at most 5% of sweeps, whatever the
    number of arms and settings (`chance.corrected` says why). It speaks of the settings that were tried, not of others in
    between. Only the winner is called better than others.
    """
    entries = _entries(results)
    alive = sorted((entry for entry in entries if entry.losses), key=lambda entry: entry.best.mean("score"))
    budgets = {e.name: best_of([s.mean("score") for s in e.settings]) for e in entries if len(e.settings) > 1}
    missing = len(results.sweep) - len({row.trial for row in results.rows})
    gaps = _gaps(entries, missing, len(results.sweep))
    if not alive:
        return Verdict(("nothing to choose from" if entries else "nothing to say yet", *gaps), (), budgets)
    winner = alive[0]
    for entry in alive:  # one pass finds the arm that leads each of the others, if there is one
        if np.sum(_differences(winner, entry)) < 0:
            winner = entry
    others = [entry for entry in alive if entry is not winner]
    p = corrected(_table([winner, *others]), np.array([entry.choices for entry in (winner, *others)]))
    unit = {"unit": results.measure.unit or results.measure.name, "metric": results.measure.name}
    compared = [replace(compare(winner, entry, float(p)), **unit) for entry, p in zip(others, p, strict=True)]
    compared.sort(key=lambda found: (math.isnan(found.difference), found.difference))
    hint = f"; give --seeds {ENOUGH} or more" if not missing else ""
    standing = _standing(winner.name, compared, hint) if compared else _alone(winner, entries)
    edges = [] if missing else _edges(results, winner, alive)
    said = (*standing, *_selected(winner, alive, results.measure), *gaps, *still_improving(results), *edges)
    return Verdict(said, tuple(compared), budgets)


def _edges(results: Results, winner: Entry, alive: Sequence[Entry]) -> list[str]:
    """Which arms are best at the edge of what they were tuned over; where all was compared, whether the winner is."""
    if any(entry.tuned for entry in alive):
        return at_the_edge(results, ((entry.name, entry.best, entry.settings, entry.tuned) for entry in alive))
    return at_the_edge(results, [("", winner.best, results.leaderboard(), results.keys)])


@dataclass(frozen=True)
class Entry:
    """An arm with its settings, of which the first is the best one."""

    name: str
    settings: tuple[Arm, ...]
    tuned: tuple[str, ...]  # the keys in which the settings differ

    @property
    def best(self) -> Arm:
        return self.settings[0]

    @property
    def losses(self) -> dict[int, float]:
        """Seed -> validation loss at the best setting, where that did not diverge."""
        return _losses(self.best)

    @property
    def choices(self) -> int:
        """How many settings the best one was chosen from: those with as many sound seeds."""
        return sum(len(_losses(setting)) == len(self.losses) for setting in self.settings)


def _losses(setting: Arm) -> dict[int, float]:
    return {row.seed: row.score for row in setting.sound}


def _entries(results: Results) -> list[Entry]:
    names = arm_names(results)
    tuned = tuple(key for key in results.keys if key not in names.keys)
    found: dict[tuple[Scalar, ...], list[Arm]] = {}
    for setting in results.leaderboard():  # the lowest mean first, which sorting by the number of seeds leaves in order
        found.setdefault(tuple(setting.values.get(key) for key in names.keys), []).append(setting)
    by_seeds = (sorted(settings, key=lambda setting: -len(_losses(setting))) for settings in found.values())
    return [Entry(names(settings[0].values), tuple(settings), tuned) for settings in by_seeds]


def _differences(better: Entry, worse: Entry) -> np.ndarray:
    """By how much one arm's score lies below another's at each seed (n,) that both have."""
    a, b = better.losses, worse.losses
    return np.array([b[seed] - a[seed] for seed in sorted(a.keys() & b.keys())])


def _table(entries: Sequence[Entry]) -> np.ndarray:
    """Scores (n, k) by seed and arm, each arm at its best setting; nan where it has no sound trial."""
    losses = [entry.losses for entry in entries]
    seeds = sorted(set().union(*losses))
    return np.array([[of.get(seed, math.nan) for of in losses] for seed in seeds])


def compare(winner: Entry, other: Entry, p: float) -> Comparison:
    """Two arms at their best settings, over the seeds that both have; turned round if the other has the lower loss there.

    The interval is of this comparison alone. Where p rules out that the two are equal, it stops at zero: Student's does so by
    itself, and `interval` may reach further for a skewness that the differences of equal arms do not have.

    Args:
      p: of the winner being ahead by chance.
    """
    differences = _differences(winner, other)
    n, mean = len(differences), float(np.mean(differences)) if len(differences) else math.nan
    if mean < 0:
        winner, other, differences, mean = other, winner, -differences, -mean
    low, high = interval(differences)
    resolved = p < CHANCE
    low = max(low, 0.0) if resolved else low
    return Comparison(winner.name, other.name, mean, low, high, t_test(differences)[0], p, n, resolved)


def _alone(winner: Entry, entries: Sequence[Entry]) -> list[str]:
    """What is said in place of a comparison: nothing of a network by itself."""
    if len(entries) == 1 and winner.name == ALONE:
        return []
    return [f"nothing to compare {winner.name} with"]


def _standing(winner: str, compared: Sequence[Comparison], hint: str) -> list[str]:
    """The headline, and what it leaves open about the other arms."""
    closest, *others = compared
    beaten = [found for found in others if found.resolved and found.better == winner]
    names = [found.worse for found in beaten]
    if not closest.resolved:
        takes = _takes(closest, len(compared) - len(beaten)) if hint else []
        headline = f"{closest}{hint if closest.seeds < ENOUGH and not takes else ''}"
        least = min((found.difference for found in beaten), default=0.0)
        return [
            headline,
            *takes,
            *([f"{winner} does beat {_list(names)} (by {least:.2g} {closest.unit} or more)"] if beaten else []),
        ]
    if len(beaten) == len(others):
        rest = names[0] if len(names) == 1 else f"the {len(names)} other arms"
        return [f"{closest}, and {rest} by more" if beaten else str(closest)]
    unclear = [found.worse for found in others if found not in beaten]
    return [str(closest), f"not resolved: {winner} and {_list(unclear)}"]


def _takes(closest: Comparison, unclear: int) -> list[str]:
    """How many seeds would resolve a difference, were it just as large as it is here.

    An estimate, by a paired t-test whose p is corrected for the arms that are not told apart (Bonferroni).
    """
    if closest.seeds < FEWEST or not closest.effect > 0:
        return []
    seeds = seeds_for(closest.effect, CHANCE / unclear, MOST_SEEDS)
    if seeds > MOST_SEEDS:
        return [f"if the difference is what it is here, more than {MOST_SEEDS:,} seeds would be needed to resolve it"]
    digits = 1 - math.floor(math.log10(seeds))
    about = max(round(seeds, digits), closest.seeds + 1)
    return [f"if the difference is what it is here, about {about} seeds (--seeds) would resolve it"]


def _selected(winner: Entry, alive: Sequence[Entry], measure: Metric) -> list[str]:
    """The setting that validation chose, with the only mention of a test loss; and whether the choice was as wide elsewhere."""
    best, n = winner.best, len(winner.losses)
    setting = [label({key: best.values.get(key) for key in winner.tuned})] if winner.tuned else []
    arm = [winner.name] if winner.name != ALONE else []
    who = f"Selected: {' at '.join([*arm, *setting])}," if arm or setting else "It comes to"
    parts = {part: best.mean(f"{name}_{measure.name}") for part, name in (("validation", "val"), ("test", "test"))}
    said = ", ".join(f"{part} {value:.4f}" for part, value in parts.items() if not math.isnan(value))
    losses = f"{said} {measure.measured_in or measure.name}".rstrip()
    few, many = min(entry.choices for entry in alive), max(entry.choices for entry in alive)
    return [
        f"{who} {losses} ({f'mean of {n} seeds' if n > 1 else 'one seed'})",
        *([f"not tuned equally: an arm's best is one of {few} to {many} sound settings"] if few < many else []),
    ]


def _gaps(entries: Sequence[Entry], missing: int, trials: int) -> list[str]:
    """What the verdict had to do without."""
    dead = [entry.name for entry in entries if not entry.losses]
    lost = {entry.name: len(entry.best.rows) - len(entry.best.sound) for entry in entries if entry.losses}
    some = [f"{entry.name} in {lost[entry.name]} of {len(entry.best.rows)}" for entry in entries if lost.get(entry.name)]
    return [
        *([f"{_list(dead)} diverged in every trial{' so far' if missing else ''}"] if dead else []),
        *([f"diverged at their best setting: {_list(some)} trials"] if some else []),
        *([f"{missing} of {trials} trials have not ended"] if missing else []),
    ]


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ("; " if any("," in name for name in names) else ", ").join(names[:NAMED]) + more
