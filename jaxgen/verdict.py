"""What a run's results answer to its question: which arm wins, by how much, and whether that could be chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jaxgen.results import Results


@dataclass(frozen=True)
class Comparison:
    """Two arms, each at its best setting, over the seeds that both have: trials of one seed see the same data and start."""

    better: str
    worse: str
    difference: float
    """Validation loss of `worse` less that of `better`, in nats a character, mean over seeds."""
    low: float
    """Lower end of its 95% confidence interval."""
    high: float
    effect: float
    """The difference in standard deviations of the seeds' differences (Cohen's d_z)."""
    p: float
    """Chance of a difference this large between equal arms, corrected for the number of comparisons."""
    seeds: int
    resolved: bool

    def __str__(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class Tried:
    """What the best of k settings of an arm comes to, over the order in which they might have been tried."""

    settings: int
    loss: float
    """Expected validation loss of the best of `settings` settings."""
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """An answer: sentences, of which the first is the one to quote, and the numbers behind them."""

    sentences: tuple[str, ...]
    comparisons: tuple[Comparison, ...] = ()
    """The winning arm with each of the others, the closest first."""
    budgets: Mapping[str, tuple[Tried, ...]] = field(default_factory=dict)
    """Best-of-k curves by arm; only where the arms were tuned."""


def answer(results: Results) -> Verdict:
    """The verdict on a run's question (`Results.question`), from its results alone."""
    return VERDICTS[results.question.verdict](results)


def arms(results: Results) -> Verdict:
    """Which arm has the lowest validation loss, each at its best setting."""
    raise NotImplementedError


VERDICTS: Mapping[str, Callable[[Results], Verdict]] = {"arms": arms}
