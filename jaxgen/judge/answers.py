"""The registry of verdicts: how a run's results answer its question, by what comparing arms says and by what it does not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgen.judge.naming import arm_names
from jaxgen.judge.results import Arm, Diagnostic, Results
from jaxgen.judge.verdict import Verdict, arms
from jaxgen.tasks import task_of


def answer(results: Results, task: Any = None) -> Verdict:
    """The verdict on a run's question (`Results.question`).

    Args:
      task: what was trained, on its rows, for a question that needs more than the run's tables; or the corpus of names.
        None: what the results know of it.

    Examples:
      >>> verdict = jaxgen.answer(results, corpus)
      >>> print(verdict)
      sgd beats adam by ... nats (95% CI ... to ..., 3 seeds)
      Selected: sgd, ...
    """
    opened = task_of(task) if task is not None else results.task
    name = results.question.verdict
    if name in VERDICTS:
        return VERDICTS[name](results)
    if opened is None or name not in opened.verdicts:
        return arms(results)
    return opened.verdicts[name](results, opened)


def early_stopping(results: Results) -> Verdict:
    """What each patience costs in loss and saves in steps. All keep the state of their best evaluation."""
    verdict = arms(results)
    found = sorted(results.leaderboard(), key=lambda arm: arm.values["train.patience"])
    sound = [arm for arm in found if arm.sound]
    if not sound or sound[0].values["train.patience"] != 0 or len(sound) < 2:
        return verdict
    steps = {arm.values["train.patience"]: float(np.mean([row.steps for row in arm.sound])) for arm in sound}
    losses = {arm.values["train.patience"]: arm.mean("score") for arm in sound}
    unit = results.measure.unit or results.measure.name
    costs = (
        f"patience {patience} takes {steps[patience] / steps[0]:.0%} of the steps "
        f"and loses {losses[patience] - losses[0]:.3f} {unit}"
        for patience in steps
        if patience
    )
    return replace(verdict, sentences=(*verdict.sentences, f"Beside the whole budget, {'; '.join(costs)}."))


VANISHED = 0.1  # of the last hidden layer's gradient


def gradients(results: Results) -> Verdict:
    """Whether gradients vanish or explode on their way from the last hidden layer to the first, before the first step."""
    verdict = arms(results)
    ratios = {name: ratio for name, ratio in gradient_ratios(results).items() if math.isfinite(ratio)}
    if not ratios:
        return verdict
    worst, best = max(ratios, key=lambda n: abs(math.log(ratios[n]))), min(ratios, key=lambda n: abs(math.log(ratios[n])))
    kinds = {
        "vanish": [name for name, ratio in ratios.items() if ratio < VANISHED],
        "explode": [name for name, ratio in ratios.items() if ratio > 1 / VANISHED],
    }
    said = [f"they {kind} with {'; '.join(names)}" for kind, names in kinds.items() if names]
    first = (
        f"Before the first step, {' and '.join(said) or 'gradients neither vanish nor explode'}: the first hidden layer's "
        f"gradient is {ratios[worst]:.2g} times the last one's with {worst}, and {ratios[best]:.2g} times with {best}."
    )
    return replace(verdict, sentences=(first.replace("they", "gradients", 1), *verdict.sentences))


def gradient_ratios(results: Results) -> dict[str, float]:
    """Arm -> the first hidden layer's gradient norm over the last one's before the first step, geometric mean of trials."""
    norms: dict[int, list[float]] = {}
    for row in results.diagnostics:
        if row.step == 0 and _hidden(row):
            norms.setdefault(row.trial, []).append(row.gradient)
    found: dict[str, list[float]] = {}
    names = arm_names(results)
    for trial, layers in norms.items():
        values = results.values(trial)
        if len(layers) > 1 and layers[0] > 0 and layers[-1] > 0:
            found.setdefault(names(values), []).append(math.log(layers[0] / layers[-1]))
    return {name: math.exp(float(np.mean(logs))) for name, logs in found.items()}


def _hidden(row: Diagnostic) -> bool:
    return math.isfinite(row.activation)  # neither the embedding nor the output


PLAYS = 2000  # of each search
BUDGET = 16  # settings that a search may try


def search(results: Results) -> Verdict:
    """Three searches played many times in the table of all settings that were trained (Bergstra and Bengio 2012 compare two).

    grid: every fourth value of the first key with every value of the second that a square budget allows, from a random start.
    random: settings by chance. coarse-to-fine: half of them by chance, half by chance around the best of these.
    """
    losses, axes = loss_table(results)
    if losses.size < 2 * BUDGET:
        return arms(results)
    source = np.random.default_rng(0)
    plays = {name: np.array([play(losses, source) for _ in range(PLAYS)]) for name, play in SEARCHES.items()}
    order = sorted(plays, key=lambda name: plays[name].mean())
    measure = results.measure
    unit, sign, lower = measure.unit or measure.name, measure.sign, "higher" if measure.higher_is_better else "lower"
    means = ", ".join(
        f"{name} {sign * plays[name].mean():.4f} (90% of plays within {_range(sign * plays[name])})" for name in order
    )
    wins = np.mean(plays[order[0]] < plays[order[1]]) + np.mean(plays[order[0]] == plays[order[1]]) / 2
    return Verdict(
        (
            f"{order[0]} search finds the better setting than {order[1]} search in {wins:.0%} of {PLAYS} plays of {BUDGET} "
            f"settings each, and {plays[order[1]].mean() - plays[order[0]].mean():.4f} {unit} {lower} on average.",
            f"Validation {measure.name} of what is found: {means}; "
            f"the best of all {losses.size} settings has {sign * losses.min():.4f}.",
            f"The table: {' by '.join(f'{len(values)} values of {key}' for key, values in axes.items())}, mean over seeds.",
        )
    )


def _range(values: NDArray[np.float64]) -> str:
    low, high = np.quantile(values, (0.05, 0.95))
    return f"{low:.3f} to {high:.3f}"


def loss_table(results: Results) -> tuple[NDArray[np.float64], dict[str, list[Any]]]:
    """Mean validation score over two varied keys, (A, B), infinite where all diverged; and the keys' values in order."""
    found = {tuple(arm.values.values()): arm for arm in results.leaderboard()}
    axes = {key: sorted({arm.values[key] for arm in found.values()}) for key in results.keys}  # pyright: ignore[reportArgumentType]
    if len(axes) != 2:
        return np.empty((0, 0)), {}

    def loss(arm: Arm | None) -> float:
        return math.inf if arm is None else arm.mean("score")

    cells = [loss(found.get(place)) for place in itertools.product(*axes.values())]
    return np.array(cells).reshape([len(values) for values in axes.values()]), axes


def _by_grid(losses: NDArray[np.float64], source: np.random.Generator) -> float:
    side = math.isqrt(BUDGET)
    places = []
    for length in losses.shape:
        step = max(length // side, 1)
        start = source.integers(0, max(length - step * (side - 1), 1))
        places.append(np.minimum(start + step * np.arange(side), length - 1))
    return float(losses[np.ix_(*places)].min())


def _by_chance(losses: NDArray[np.float64], source: np.random.Generator) -> float:
    return float(source.choice(losses.ravel(), BUDGET, replace=False).min())


def _coarse_to_fine(losses: NDArray[np.float64], source: np.random.Generator) -> float:
    first = source.choice(losses.size, BUDGET // 2, replace=False)
    best = np.unravel_index(first[np.argmin(losses.ravel()[first])], losses.shape)
    near = [slice(max(p - n // 6 - 1, 0), p + n // 6 + 2) for p, n in zip(best, losses.shape, strict=True)]
    around = losses[tuple(near)].ravel()
    second = source.choice(around, min(BUDGET - BUDGET // 2, around.size), replace=False)
    return float(min(losses.ravel()[first].min(), second.min()))


SEARCHES: Mapping[str, Callable[[NDArray[np.float64], np.random.Generator], float]] = {
    "grid": _by_grid,
    "random": _by_chance,
    "coarse-to-fine": _coarse_to_fine,
}

VERDICTS: Mapping[str, Callable[[Results], Verdict]] = {
    "arms": arms,
    "early_stopping": early_stopping,
    "gradients": gradients,
    "search": search,
}
