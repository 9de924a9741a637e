"""The registry of verdicts: how a run's results answer its question, by what comparing arms says and by what it does not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgen.corpus import Corpus
from jaxgen.ensemble import mixtures
from jaxgen.results import Arm, Diagnostic, Results, label
from jaxgen.sweep import Sweep
from jaxgen.verdict import Verdict, arms


def answer(results: Results, corpus: Corpus | None = None) -> Verdict:
    """The verdict on a run's question (`Results.question`).

    Args:
      corpus: what the run was trained on, for a question that needs more than the run's tables. None: it cannot be had.
    """
    return VERDICTS[results.question.verdict](results, corpus)


def _arms(results: Results, corpus: Corpus | None) -> Verdict:
    return arms(results)


def early_stopping(results: Results, corpus: Corpus | None) -> Verdict:
    """What each patience costs in loss and saves in steps. All keep the state of their best evaluation."""
    verdict = arms(results)
    found = sorted(results.leaderboard(), key=lambda arm: arm.values["train.patience"])
    sound = [arm for arm in found if arm.sound]
    if not sound or sound[0].values["train.patience"] != 0 or len(sound) < 2:
        return verdict
    steps = {arm.values["train.patience"]: float(np.mean([row.steps for row in arm.sound])) for arm in sound}
    losses = {arm.values["train.patience"]: arm.mean("val_loss") for arm in sound}
    costs = (
        f"patience {patience} takes {steps[patience] / steps[0]:.0%} of the steps "
        f"and loses {losses[patience] - losses[0]:.3f} nats"
        for patience in steps
        if patience
    )
    return replace(verdict, sentences=(*verdict.sentences, f"Beside the whole budget, {'; '.join(costs)}."))


VANISHED = 0.1  # of the last hidden layer's gradient


def gradients(results: Results, corpus: Corpus | None) -> Verdict:
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
    for trial, layers in norms.items():
        values = results.values(trial)
        if len(layers) > 1 and layers[0] > 0 and layers[-1] > 0:
            found.setdefault(label(values), []).append(math.log(layers[0] / layers[-1]))
    return {name: math.exp(float(np.mean(logs))) for name, logs in found.items()}


def _hidden(row: Diagnostic) -> bool:
    return math.isfinite(row.activation)  # neither the embedding nor the output


def ensembles(results: Results, corpus: Corpus | None) -> Verdict:
    """The mixture of k trials (the mean of their probabilities) beside the best one, on validation; on test once."""
    rows = [row for arm in results.leaderboard()[:1] for row in arm.sound]
    if len(rows) < 2 or corpus is None:
        why = "it takes two trials that did not diverge" if len(rows) < 2 else "the corpus has moved or changed"
        return Verdict((f"nothing to say: {why}.",))
    found = mixtures([results.trained(row.trial) for row in rows], corpus)
    sizes = ", ".join(f"{loss:.3f} for {size}" for size, loss in found.by_size.items())
    lead = (
        f"the mixture of {len(rows)} trials beats the best one by {found.difference:.3f} nats "
        f"(95% CI {found.low:.3f} to {found.high:.3f}, {found.names} validation names)"
    )
    if not found.low > 0:
        lead = f"not resolved: {lead.replace('beats', 'leads')}"
    return Verdict(
        (
            f"{lead}.",
            f"Validation loss by the number of trials, mean over which ones: {sizes}.",
            f"Test loss: {found.test:.4f} for the mixture of all, {found.best_test:.4f} for the best one on validation.",
        )
    )


def overfitting(results: Results, corpus: Corpus | None) -> Verdict:
    """Bias, variance and data mismatch by the losses on what was trained on, on names held out of it, and on validation.

    Where the split varies, arms are compared within each: another split has other validation names.
    """
    split = "data.split"
    kinds = list(dict.fromkeys(arm.values.get(split) for arm in results.leaderboard()))
    if len(kinds) < 2:
        verdict = arms(results)
        return replace(verdict, sentences=(*_errors(results), *verdict.sentences))
    found = [(f"split by {kind}", _only(results, split, kind)) for kind in kinds]
    said = [f"{name}: {sentence}" for name, part in found for sentence in (*_errors(part), *arms(part).sentences)]
    return Verdict(tuple(said))


def _only(results: Results, key: str, value: Any) -> Results:
    """Of the trials those with this value, which then is nothing that arms differ in."""
    kept = [point for trial, point in enumerate(results.sweep.points) if results.values(trial)[key] == value]
    points = tuple({name: v for name, v in point.items() if name != key} for point in kept)
    compared = [name for name in results.question.arms or results.keys if name != key]
    return replace(
        results,
        sweep=Sweep(results.sweep.base, points),
        rows=[row for row in results.rows if row.values.get(key) == value],
        question=replace(results.question, arms=tuple(compared)),
    )


def _errors(results: Results) -> list[str]:
    """From the smallest network to the largest: what each part of the error goes from and to."""
    found = [arm for arm in results.leaderboard() if arm.sound and all(row.dev_loss is not None for row in arm.sound)]
    found.sort(key=_capacity)
    if len(found) < 2:
        return []
    small, large = found[0], found[-1]
    best = min(found, key=lambda arm: arm.mean("val_loss"))
    train, dev, val = ([arm.mean(f"{part}_loss") for arm in (small, large)] for part in ("train", "dev", "val"))
    return [
        f"from {_capacity(small):,} to {_capacity(large):,} parameters the training loss goes from {train[0]:.3f} to "
        f"{train[1]:.3f} (bias), the gap to names held out of training from {dev[0] - train[0]:.3f} to "
        f"{dev[1] - train[1]:.3f} (variance), that from these to validation from {val[0] - dev[0]:.3f} to "
        f"{val[1] - dev[1]:.3f} (other data); validation is best at {_capacity(best):,} parameters, "
        f"with {best.mean('val_loss'):.3f}"
    ]


def _capacity(arm: Arm) -> int:
    return arm.rows[0].params


PLAYS = 2000  # of each search
BUDGET = 16  # settings that a search may try


def search(results: Results, corpus: Corpus | None) -> Verdict:
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
    means = ", ".join(f"{name} {plays[name].mean():.4f} (90% of plays within {_range(plays[name])})" for name in order)
    wins = np.mean(plays[order[0]] < plays[order[1]]) + np.mean(plays[order[0]] == plays[order[1]]) / 2
    return Verdict(
        (
            f"{order[0]} search finds the better setting than {order[1]} search in {wins:.0%} of {PLAYS} plays of {BUDGET} "
            f"settings each, and {plays[order[1]].mean() - plays[order[0]].mean():.4f} nats lower on average.",
            f"Validation loss of what is found: {means}; the best of all {losses.size} settings has {losses.min():.4f}.",
            f"The table: {' by '.join(f'{len(values)} values of {key}' for key, values in axes.items())}, mean over seeds.",
        )
    )


def _range(values: NDArray[np.float64]) -> str:
    low, high = np.quantile(values, (0.05, 0.95))
    return f"{low:.3f} to {high:.3f}"


def loss_table(results: Results) -> tuple[NDArray[np.float64], dict[str, list[Any]]]:
    """Mean validation loss over two varied keys, (A, B), infinite where all diverged; and the keys' values in order."""
    found = {tuple(arm.values.values()): arm for arm in results.leaderboard()}
    axes = {key: sorted({arm.values[key] for arm in found.values()}) for key in results.keys}  # pyright: ignore[reportArgumentType]
    if len(axes) != 2:
        return np.empty((0, 0)), {}

    def loss(arm: Arm | None) -> float:
        return math.inf if arm is None else arm.mean("val_loss")

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

VERDICTS: Mapping[str, Callable[[Results, Corpus | None], Verdict]] = {
    "arms": _arms,
    "early_stopping": early_stopping,
    "gradients": gradients,
    "overfitting": overfitting,
    "ensembles": ensembles,
    "search": search,
}
