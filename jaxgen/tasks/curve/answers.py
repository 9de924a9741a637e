"""Answers to questions of curves alone: what wins over many draws of the noise."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from jaxgen.judge.naming import arm_names
from jaxgen.judge.results import Results
from jaxgen.judge.verdict import Verdict, arms
from jaxgen.search.sweep import Sweep

DRAW = "data.noise_seed"


def draws(results: Results, task: Any) -> Verdict:
    """Which arm is best, by draws of the training points' noise as `judge.verdict.arms` is by seeds: every arm sees each draw.

    A trial that is solved is the same at each seed, and what another ten points would have given is what one wants to know.
    """
    found = by_draw(results)
    verdict = arms(found)
    said = tuple(
        re.sub(r"(?<!-)\bseed(s?)\b", r"draw\1", sentence.replace("give --seeds", f"vary {DRAW} over"))
        for sentence in verdict.sentences
    )
    return replace(verdict, sentences=(*said, *_bend(found)))


def by_draw(results: Results) -> Results:
    """The results as if a trial's draw of the noise were its seed."""

    def drawn(trial: int) -> int:
        return int(results.sweep.points[trial].get(DRAW, results.sweep.base.data.noise_seed))

    points = tuple(
        {**{key: value for key, value in point.items() if key != DRAW}, "seed": drawn(trial)}
        for trial, point in enumerate(results.sweep.points)
    )
    rows = [
        replace(row, seed=drawn(row.trial), values={key: value for key, value in row.values.items() if key != DRAW})
        for row in results.rows
    ]
    return replace(results, sweep=Sweep(results.sweep.base, points), rows=rows)


def _bend(results: Results) -> list[str]:
    """What the errors on training and on test points do from the smallest arm to the largest, by way of the best."""
    found = sorted((arm for arm in results.leaderboard() if arm.sound), key=lambda arm: arm.rows[0].params)
    if len({arm.rows[0].params for arm in found}) < 3:
        return []
    called = arm_names(results)
    places = sorted({0, min(range(len(found)), key=lambda place: found[place].mean("score")), len(found) - 1})
    said = (
        f"{called(a.values)}: {a.mean('train_loss'):.3f} and {a.mean('test_loss'):.3f}" for a in map(found.__getitem__, places)
    )
    return [f"Mean errors on training and on test points: {'; '.join(said)}."]
