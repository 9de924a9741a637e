"""What people see of names: those that the winner makes up, how good they are, and characters as it sees them."""

from __future__ import annotations

import functools
import math
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from jaxgen.called import called
from jaxgen.judge.results import Results, Trained
from jaxgen.judge.shown import cell
from jaxgen.report.style import BEST, HEIGHT, axis, below, ink, line, subplots
from jaxgen.report.terminal import setting, visible
from jaxgen.report.text import drawable, heads, plain
from jaxgen.tasks.base import Section
from jaxgen.tasks.names.answers import members
from jaxgen.tasks.names.config import TEMPERATURE
from jaxgen.tasks.names.ensemble import mixtures
from jaxgen.tasks.names.generate import labels, sample
from jaxgen.tasks.names.quality import MEASURES, Reference
from jaxgen.tasks.names.standing import standings

NAMES = 20  # that are shown
GLIMPSED = 8  # while it trains
LABELS = 300  # characters with a label; the others are dots
ARM_ROWS = 100


def closing(task: Any, results: Results) -> list[str]:
    """Names from the winner, for the terminal."""
    trained, who = winners(results, results.best())
    names, marks = readable(task, trained)
    return [f"\n{len(names)} names from {who}, at temperature {TEMPERATURE} ({counted(marks)}):", ", ".join(names)]


def glimpse(task: Any, trained: Trained) -> str:
    """A few names from a trial that still trains."""
    return ", ".join(visible(name) for name in readable(task, [trained])[0][:GLIMPSED])


def winners(results: Results, best: Trained) -> tuple[list[Trained], str]:
    """Who names are shown of, and what that is: the mixture where that is what was asked for, else the best trial."""
    if results.question.verdict == "ensembles":
        rows = members(results)
        if len(rows) > 1:
            return [results.trained(row.trial) for row in rows], f"the mixture of {len(rows)} trials"
    if len(results.sweep) == 1:
        return [best], "the network"
    (loss,) = (row.val_loss for row in results.rows if row.trial == best.trial)
    return [best], f"{setting(results, best.trial)}, whose validation loss of {loss:.4f} is the lowest"


def readable(task: Any, trained: Sequence[Trained]) -> tuple[list[str], list[str]]:
    """Different names as people like to read them, and of each whether it is new, where that is known: the new ones first."""
    names = sample(trained, NAMES, TEMPERATURE, unique=True)
    if task.corpus is None:
        return names, [""] * len(names)
    found = sorted(zip(names, labels(names, task.corpus), strict=True), key=lambda pair: pair[1] != "new")
    return [name for name, _ in found], [mark for _, mark in found]


def counted(marks: Sequence[str]) -> str:
    """How many of some names are new, and how many the corpus holds."""
    return f"{marks.count('new')} new, {marks.count('corpus')} in the corpus"


def sections(task: Any, found: Any) -> list[Section]:
    """Names from the best trial, how good names are, and its characters; none where no trial has ended."""
    if found.best is None:
        return []
    results: Results = found.results
    trained, who = winners(results, found.best)
    names, marks = readable(task, trained)
    note = f"From {who}, at temperature {TEMPERATURE}: {counted(marks)}."
    if task.corpus is None:
        note = "The corpus has moved or changed since, so it is not said which of them are new."
    more = called(f"sample {shlex.quote(results.out or '.')}")
    return [
        Section(
            "embeddings",
            "Characters as the best trial sees them",
            "Its embeddings, along the two directions in which they differ most; near each other: alike to the network. "
            "Vowels are coloured.",
            figure=functools.partial(embeddings, found.best),
            place="insides",
        ),
        *mixture(task, results),
        Section("names", "Names", note, list(zip(names, marks, strict=True)), more, place="top"),
        *quality(task, results),
    ]


def quality(task: Any, results: Results) -> list[Section]:
    """How good the names are that each arm makes; none where none were drawn."""
    arms = enumerate(results.leaderboard()[:ARM_ROWS], 1)
    judged = [(place, arm, means) for place, arm in arms if (means := arm.measured())]
    if not judged:
        return []
    drawn = "train.names" if "train.names" in results.keys else str(results.sweep.base.train.names)
    said = " ".join(f"{name.replace('_', ' ').capitalize()}: {what}." for name, what in MEASURES.items())
    rows = [
        [
            place,
            *(cell(arm.values[key], key) for key in results.keys),
            *(f"{means.get(name, math.nan):.3f}" for name in MEASURES),
        ]
        for place, arm, means in judged
    ]
    itself = {} if task.corpus is None else Reference(task.corpus.names).itself(results.sweep.base.train.names)
    found = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in itself.items())
    return [
        Section(
            "quality",
            "How good names are",
            f"Of {drawn} names from each trial at its best step, mean over seeds. {said}",
            head=("place", *heads(results.keys), *(name.replace("_", " ") for name in MEASURES)),
            rows=rows,
            below=f"As many names of the corpus itself, drawn at random: {found}." if found else "",
        )
    ]


def mixture(task: Any, results: Results) -> list[Section]:
    """Of a run that asks for it: what mixtures of its trials come to."""
    if results.question.verdict != "ensembles" or task.corpus is None or len(members(results)) < 2:
        return []
    note = (
        "Validation loss of the mixture of so many trials (the mean of their probabilities), mean over which ones; beside it "
        "the best single trial, and the best counts without a network."
    )
    rows = members(results)
    losses = mixtures([results.trained(row.trial) for row in rows], task.corpus).by_size
    figure = functools.partial(mixed, task, results, losses)
    return [Section("mixture", "What a mixture buys", note, figure=figure, place="answer")]


def mixed(task: Any, results: Results, losses: Mapping[int, float]) -> Figure:
    """Validation loss by the number of trials in the mixture, beside the best one and the floor of their split."""
    figure, axes = subplots(HEIGHT)
    line(axes, 0, list(losses), list(losses.values()), "mixture")
    best = min(row.val_loss for row in members(results))
    axes.axhline(best, color="C1", linestyle="--", linewidth=1.4, label="best single trial")
    floor = next((one.floor for one in standings(results, task.corpus) if one.best is not None), None)
    if floor is not None:
        axes.axhline(floor.val_loss, color=ink(), linestyle=":", linewidth=1.4, label=f"counts of {floor.order} characters")
    axes.set(xlabel="trials in the mixture", ylabel=axis(results))
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(losses), list(map(str, losses)))
    axes.minorticks_off()
    below(figure, axes)
    return figure


def plane(table: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two directions in which vectors differ most (principal components, by the singular value decomposition).

    Args:
      table: (V, E).

    Returns:
      (V, 2) coordinates, and the (2,) shares of the variance that lie along them. A second direction that is not there is 0.
    """
    centred = np.asarray(table, np.float64) - np.mean(table, 0, dtype=np.float64)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    points, shares = np.zeros((len(table), 2)), np.zeros(2)
    kept = min(2, len(sizes))
    points[:, :kept] = (left * sizes)[:, :kept]
    shares[:kept] = (sizes**2 / max(float((sizes**2).sum()), 1e-300))[:kept]
    return points, shares


def embedding_table(params: Any) -> NDArray[np.float32] | None:
    """A model's (V, E) embeddings; None where it has none."""
    part = params.get("embedding") if isinstance(params, Mapping) else None
    table = part.get("embedding") if isinstance(part, Mapping) else None
    return None if table is None else np.asarray(table)


def character(text: str) -> str:
    """A character as a label: a space by the sign for it, what cannot be seen by its code point."""
    return "␣" if text == " " else plain(text) if drawable(text) else f"{ord(text):04X}"


def is_vowel(character: str) -> bool:
    """Of the Latin letters, with or without a mark above or below."""
    return unicodedata.normalize("NFD", character)[0].lower() in "aeiou"


def embeddings(trained: Trained) -> Figure | None:
    """The embeddings of a trial's characters in two dimensions, the boundary a dot; None where the model has none."""
    table = embedding_table(trained.params)
    if table is None or len(table) < 2 or not np.isfinite(table).all():
        return None
    points, shares = plane(table)
    figure, axes = subplots(4.6)
    size = 12 if len(table) <= 60 else 9
    labelled = [(i, c, character(c)) for i, c in enumerate(trained.task.vocabulary.characters[:LABELS], 1)]
    for i, c, text in labelled:
        mark = {"color": "C3", "fontweight": "bold"} if is_vowel(c) else {}
        axes.text(*points[i], text, ha="center", va="center", fontsize=size if len(text) == 1 else 6, clip_on=True, **mark)
    rest = points[len(labelled) + 1 :]
    axes.plot(*rest.T, "o", color="C4", ms=2, alpha=0.6)
    axes.plot(*points[0], "o", color=BEST, ms=9, label="boundary", zorder=0)
    axes.update_datalim(points)
    axes.autoscale_view()
    axes.margins(0.07)
    says = (f"component {i} ({100 * share:.0f}% of the variance)" for i, share in enumerate(shares, 1))
    axes.set(xlabel=next(says), ylabel=next(says))
    vowels = any(is_vowel(c) for _, c, _ in labelled)
    below(figure, axes, **({"vowels": Line2D([], [], linestyle="none", marker="$a$", color="C3", ms=7)} if vowels else {}))
    return figure
