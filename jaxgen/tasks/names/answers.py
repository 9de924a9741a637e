"""Answers to questions of names alone: what mixtures of trials come to, and where errors come from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jaxgen.judge.results import Arm, Results, Row
from jaxgen.judge.verdict import Verdict, arms
from jaxgen.search.sweep import Sweep
from jaxgen.tasks.names.ensemble import mixtures
from jaxgen.tasks.names.standing import standings


def ensembles(results: Results, task: Any) -> Verdict:
    """The mixture of k trials (the mean of their probabilities) beside the best one, on validation; on test once."""
    rows = members(results)
    if len(rows) < 2 or task is None or task.corpus is None:
        why = "it takes two trials that did not diverge" if len(rows) < 2 else "the corpus has moved or changed"
        return Verdict((f"nothing to say: {why}.",))
    found = mixtures([results.trained(row.trial) for row in rows], task.corpus)
    sizes = ", ".join(f"{loss:.3f} for {size}" for size, loss in found.by_size.items())
    lead = (
        f"the mixture of {len(rows)} trials beats the best one by {found.difference:.3f} nats "
        f"(95% CI {found.low:.3f} to {found.high:.3f}, {found.names} validation names)"
    )
    if not found.low > 0:
        lead = f"not resolved: {lead.replace('beats', 'leads')}"
    best = next((one for one in standings(results, task.corpus) if one.best is not None), None)
    whole = found.by_size[max(found.by_size)]
    beside = []
    if best is not None:
        gap = best.floor.val_loss - whole
        where = f"{abs(gap):.4f} nats a character {'below' if gap > 0 else 'above'} the floor without a network"
        beside = [f"The mixture of {len(rows)}, {whole:.4f} on validation, is {where} ({best.floor})."]
    return Verdict(
        (
            f"{lead}.",
            *beside,
            f"Validation loss by the number of trials, mean over which ones: {sizes}.",
            f"Test loss: {found.test:.4f} for the mixture of all, {found.best_test:.4f} for the best one on validation.",
        )
    )


def members(results: Results) -> list[Row]:
    """The trials that are mixed: those of the best setting that did not diverge."""
    return [row for arm in results.leaderboard()[:1] for row in arm.sound]


def overfitting(results: Results, task: Any) -> Verdict:
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
    found = [arm for arm in results.leaderboard() if arm.sound and all("dev_loss" in row.metrics for row in arm.sound)]
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
