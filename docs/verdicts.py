"""Writes verdicts.md: how often verdicts are wrong and how often they find something, in simulated sweeps.

    python docs/verdicts.py [SWEEPS]

SWEEPS, 2000 by default, are simulated for each figure, which takes about half an hour on one core. Nothing is trained.
"""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from scipy import stats

from jaxgen.judge.chance import corrected
from jaxgen.judge.statistics import CHANCE, interval, t_test

PAGE = Path(__file__).with_name("verdicts.md")
ARMS, SEEDS, TRIED = (2, 3, 5, 7, 10, 20), (3, 4, 6, 8, 12), (1, 3)

HEAD = """# How far a verdict can be trusted

This page is written by `python docs/verdicts.py{flags}`: {sweeps:,} simulated sweeps a figure, {cases:,} simulated cases for
intervals. Figures are percentages; with a true rate of 5%, one of them has a standard error of {error:.1f}.

The promise: in a sweep of equal arms, any arm is called better than another in at most 5% of sweeps, whatever the number of
arms and settings. This is how it is kept (`jaxgen/judge/chance.py`):

- A sweep is a table of losses by seed and arm, each arm at the setting that validation chose. If arms are equal, which of a
  seed's losses stands with which arm is chance. So each seed's losses are dealt out anew among the arms, 1,999 times or in all
  ways, and what counts is how often an arm then lies as far behind the best one as it does now.
- Only the winner is called better than others. It is compared with the arms that lie farthest behind first; arms that it beats
  are left out, and the others are compared again, with fewer of them to correct for.
- A paired t-test of the two arms alone has to say so too, at 5%. Where there are no other arms, it is the whole test.
- With three arms or more a twentieth of the 5% goes to t-tests of all pairs (Bonferroni), since few seeds can be dealt out in
  few ways, however far apart arms lie. Three arms at three seeds are told apart by these alone.
- A winner chosen from more settings than another arm has its p multiplied by how many times as many.
- One or two seeds never tell two arms apart.
"""

EQUAL = """## Equal arms

How often any of them is called better than another: with one setting, and with the best of three that are all as good. With
one setting, and three arms or more, the rate is at most 5% whatever the noise, since all ways to deal out are as likely. Two
arms are told apart by Student's t, whose rate is 5% for normal noise and lower for heavier tails. The best of several
settings varies less than a single one does, which the dealing out does not make use of. Figures above 5 lie within two
standard errors of it.
"""

NOT_EQUAL = """## Arms that are not all equal

How often an arm is called better than one that is as good or better. Differences are in standard deviations of a trial. Arms
that are as good on average, of which some are much noisier, are not equal in the sense of the promise, and with them the rate
comes to 8 or 9%.
"""

FOUND = """## What is found

How often a true difference of one standard deviation of a trial is found: in the headline, which is on the winner and the arm
closest to it, and with any of the arms. In brackets: by paired t-tests, with p multiplied by the number of pairs of arms
(Bonferroni).
"""

COVER = """## Intervals

How often the 95% interval of a comparison holds the true difference. On each side it is the wider one of Student's and of
Hall's, which takes the skewness of the sample out of t (`jaxgen/judge/statistics.py`). In brackets: Student's alone.
"""

SHORT = """Where it falls short: with three or four seeds, and differences as skewed as lognormal(0, 1) ones, intervals hold
the truth in a little under 90% of cases. Where an arm is called better, its interval is cut off at zero (`Comparison.low`),
since that the two are equal is what the test rules out.
"""

# Of standard deviation 1. What all arms share at a seed would cancel.
NOISE: Mapping[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy-tailed": lambda rng, shape: rng.standard_t(3, shape) / math.sqrt(3),
    "skewed": lambda rng, shape: rng.exponential(size=shape),
}


@dataclass(frozen=True)
class Sweep:
    """Arms with noise of their own at each seed; one is called better than another by its losses alone."""

    behind: tuple[float, ...]
    """How much worse each arm truly is, in standard deviations of the noise."""
    seeds: int
    noise: str = "normal"
    settings: tuple[int, ...] = (1,)
    """That each arm was tried at, all of them as good; its best is chosen. One number stands for all arms."""
    spread: tuple[float, ...] = (1.0,)
    """Of each arm's noise."""
    lost: float = 0.0
    """The share of trials that diverged."""


@dataclass(frozen=True)
class Called:
    """What is said of one sweep, 1 or 0, or in what share of several."""

    false: float
    """Any arm is called better than one that is as good or better."""
    found: float
    """The winner is called better than an arm that is worse."""
    headline: float
    """And than the closest one, which is worse."""


def losses(sweep: Sweep, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Losses (n, k) at each arm's best setting, the arms' settings (k,) and what is true of them (k,), the winner first."""
    arms = len(sweep.behind)
    tried, spread = (np.resize(np.array(value), arms) for value in (sweep.settings, sweep.spread))
    of_arms = []
    for arm in range(arms):
        noise = NOISE[sweep.noise](rng, (sweep.seeds, int(tried[arm]))) * spread[arm] + sweep.behind[arm]
        if sweep.lost:
            noise[rng.uniform(size=noise.shape) < sweep.lost] = math.nan
        sound = np.isfinite(noise).sum(0)
        means = np.where(sound == sound.max(), np.nansum(noise, 0) / np.maximum(sound, 1), math.inf)
        of_arms.append(noise[:, np.argmin(means)])
    found, truth = np.stack(of_arms, 1), np.array(sweep.behind)
    order = np.argsort(np.nansum(found, 0) / np.maximum(np.isfinite(found).sum(0), 1))
    return found[:, order], tried[order], truth[order]


def by_chance(found: np.ndarray, tried: np.ndarray) -> np.ndarray:
    """`corrected`, where that could call any arm better: where none is by two arms alone, of which there is less to compute."""
    apart = found[:, 1:] - found[:, :1]
    if not np.isnan(apart).any():
        with np.errstate(divide="ignore"):
            t = np.sqrt(len(apart)) * apart.mean(0) / apart.std(0, ddof=1)
        if t.max() < stats.t.isf(CHANCE / 2, len(apart) - 1):
            return np.ones(len(t))
    return corrected(found, tried)


def by_pairs(found: np.ndarray, tried: np.ndarray) -> np.ndarray:
    """p of paired t-tests, multiplied by the number of pairs of arms (Bonferroni): what power is compared with."""
    pairs = math.comb(found.shape[1], 2)
    return np.array([pairs * t_test(found[:, arm] - found[:, 0])[1] for arm in range(1, found.shape[1])])


def called(sweep: Sweep, rng: np.random.Generator, rule: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Called:
    """One simulated sweep."""
    found, tried, truth = losses(sweep, rng)
    better, worse = rule(found, tried) < CHANCE, truth[1:] > truth[0]
    return Called(bool(np.any(better & ~worse)), bool(np.any(better & worse)), bool(better[0] and worse[0]))


def shares(sweep: Sweep, sweeps: int, rule: Callable[[np.ndarray, np.ndarray], np.ndarray] = by_chance) -> Called:
    """In what share of simulated sweeps each thing is said."""
    rng = np.random.default_rng(zlib.crc32(repr(sweep).encode()))
    found = [called(sweep, rng, rule) for _ in range(sweeps)]
    return Called(*(float(np.mean([getattr(one, field.name) for one in found])) for field in fields(Called)))


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def of_equal_arms(sweeps: int) -> str:
    """How often any of several equal arms is called better, in percent of sweeps."""
    parts = []
    for noise in NOISE:
        rows = []
        for arms in ARMS:
            cells = []
            for seeds in SEEDS:
                ways = [Sweep((0.0,) * arms, seeds, noise, (tried,)) for tried in TRIED]
                cells.append(" / ".join(percent(shares(one, sweeps).false) for one in ways))
                print(noise, arms, seeds, cells[-1], flush=True)
            rows.append([f"{arms} arms", *cells])
        parts.append(grid([noise, *(f"{seeds} seeds" for seeds in SEEDS)], rows))
    return "\n".join(parts)


ONE_BETTER, ONE_WORSE, FOUR_WORSE = (-1.0, *[0.0] * 6), (*[0.0] * 6, 1.0), (*[0.0] * 3, *[1.0] * 4)
EVEN = tuple(place / 6 for place in range(7))
MIXED: Mapping[str, Sweep] = {
    "3 equal arms and 4 that are 1 worse, 8 seeds": Sweep(FOUR_WORSE, 8),
    "3 equal arms and 4 that are 1 worse, 8 seeds, heavy-tailed": Sweep(FOUR_WORSE, 8, "heavy-tailed"),
    "3 equal arms and 4 that are 1 worse, 8 seeds, skewed": Sweep(FOUR_WORSE, 8, "skewed"),
    "2 equal arms and 5 that are 4 worse, 6 seeds": Sweep((*[0.0] * 2, *[4.0] * 5), 6),
    "10 equal arms and 10 that are 1.5 worse, 6 seeds": Sweep((*[0.0] * 10, *[1.5] * 10), 6),
    "18 equal arms and 2 that are 1.5 worse, 4 seeds": Sweep((*[0.0] * 18, *[1.5] * 2), 4),
    "7 equal arms, two of them with 3 times the noise, 8 seeds": Sweep((0.0,) * 7, 8, spread=(3, 3, 1, 1, 1, 1, 1)),
    "7 equal arms, one of them with 5 times the noise, 6 seeds": Sweep((0.0,) * 7, 6, spread=(5, 1, 1, 1, 1, 1, 1)),
    "20 equal arms with 1 to 3 times the noise, 6 seeds": Sweep((0.0,) * 20, 6, spread=tuple(np.linspace(1, 3, 20))),
    "2 equal arms, one with 6 settings, the other with 1, 6 seeds": Sweep((0.0,) * 2, 6, settings=(6, 1)),
    "6 equal arms, three with 3 settings, three with 1, 6 seeds": Sweep((0.0,) * 6, 6, settings=(3, 1)),
    "6 equal arms, three with 3 settings, three with 1, 6 seeds, skewed": Sweep((0.0,) * 6, 6, "skewed", (3, 1)),
    "7 equal arms with 3 settings, a tenth of the trials diverged, 8 seeds": Sweep((0.0,) * 7, 8, settings=(3,), lost=0.1),
}

POWER: Mapping[str, Sweep] = {
    "2 arms, one better, 8 seeds": Sweep((-1.0, 0.0), 8),
    "7 arms, one better, 4 seeds": Sweep(ONE_BETTER, 4),
    "7 arms, one better, 6 seeds": Sweep(ONE_BETTER, 6),
    "7 arms, one better, 8 seeds": Sweep(ONE_BETTER, 8),
    "7 arms, one better, 8 seeds, heavy-tailed": Sweep(ONE_BETTER, 8, "heavy-tailed"),
    "7 arms, one better, 8 seeds, skewed": Sweep(ONE_BETTER, 8, "skewed"),
    "7 arms, one better, 12 seeds": Sweep(ONE_BETTER, 12),
    "7 arms, one better by 2, 8 seeds": Sweep((-2.0, *[0.0] * 6), 8),
    "7 arms, one worse, 8 seeds": Sweep(ONE_WORSE, 8),
    "7 arms, four worse, 8 seeds": Sweep(FOUR_WORSE, 8),
    "7 arms evenly from 0 to 1, 8 seeds": Sweep(EVEN, 8),
    "7 arms with 3 settings, one better, 8 seeds": Sweep(ONE_BETTER, 8, settings=(3,)),
    "20 arms, one better, 8 seeds": Sweep((-1.0, *[0.0] * 19), 8),
}


def of_mixed_arms(sweeps: int) -> str:
    """The same where arms differ in truth, in noise or in settings."""
    rows = []
    for says, sweep in MIXED.items():
        rows.append([says, percent(shares(sweep, sweeps).false)])
        print(*rows[-1], flush=True)
    return grid(["", "falsely better"], rows)


def of_differences(sweeps: int) -> str:
    """How often a true difference of one standard deviation is found."""
    rows = []
    for says, sweep in POWER.items():
        ours, theirs = (shares(sweep, sweeps, rule) for rule in (by_chance, by_pairs))
        pairs = ((ours.headline, theirs.headline), (ours.found, theirs.found))
        rows.append([says, *(f"{percent(one)} ({percent(other)})" for one, other in pairs)])
        print(*rows[-1], flush=True)
    return grid(["", "headline", "any"], rows)


DIFFERENCES: Mapping[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "Student's t, 3 degrees of freedom": lambda rng, shape: rng.standard_t(3, shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "lognormal(0, 0.5)": lambda rng, shape: rng.lognormal(0, 0.5, shape) - math.exp(0.125),
    "lognormal(0, 1)": lambda rng, shape: rng.lognormal(0, 1, shape) - math.exp(0.5),
}


def students(differences: np.ndarray) -> tuple[float, float]:
    """Student's interval, which is right for normal differences."""
    n, mean = len(differences), float(np.mean(differences))
    reach = float(stats.t.isf(CHANCE / 2, n - 1) * np.std(differences, ddof=1)) / math.sqrt(n)
    return mean - reach, mean + reach


def of_intervals(cases: int) -> str:
    """How often intervals hold the truth."""
    rows = []
    for says, draw in DIFFERENCES.items():
        cells = []
        for seeds in SEEDS:
            drawn = draw(np.random.default_rng(0), (cases, seeds))
            ours, theirs = (np.mean([low <= 0 <= high for low, high in map(of, drawn)]) for of in (interval, students))
            cells.append(f"{percent(ours)} ({percent(theirs)})")
        rows.append([says, *cells])
        print(*rows[-1], flush=True)
    return grid(["differences", *(f"{seeds} seeds" for seeds in SEEDS)], rows)


def main() -> None:
    sweeps = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    cases = 2 * sweeps
    error = 100 * math.sqrt(CHANCE * (1 - CHANCE) / sweeps)
    head = HEAD.format(flags="" if sweeps == 2000 else f" {sweeps}", sweeps=sweeps, cases=cases, error=error)
    parts = (COVER, of_intervals(cases), SHORT, FOUND, of_differences(sweeps), NOT_EQUAL, of_mixed_arms(sweeps))
    PAGE.write_text("\n".join((head, EQUAL, of_equal_arms(sweeps), *parts)), encoding="utf-8")


if __name__ == "__main__":
    main()
