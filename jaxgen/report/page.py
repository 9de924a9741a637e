"""`report.html`: one self-contained page from what a run holds."""

from __future__ import annotations

import base64
import hashlib
import math
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from jaxgen.called import called
from jaxgen.fields import UserError, flatten
from jaxgen.judge.answers import answer
from jaxgen.judge.floors import standings
from jaxgen.judge.results import DIVERGED, Results, Row
from jaxgen.judge.verdict import Verdict
from jaxgen.reopen import load_results, run_task
from jaxgen.report.answers import behind
from jaxgen.report.pictures import Drawn, Found, save
from jaxgen.report.terminal import cell, number, outcome, visible
from jaxgen.report.text import heads
from jaxgen.search.sweep import Question
from jaxgen.storage.checkpoint import Damaged
from jaxgen.storage.facts import read_config
from jaxgen.storage.files import write
from jaxgen.tasks.base import Section, Task

DIVERGED_ROWS = 200
ARM_ROWS = 1000
COMPARED_ROWS = 200
TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def report(path: str | Path, task: Any = None) -> Path:
    """Writes `report.html` and `plots/*.png` into a run's folder, from what it holds; returns the page's path.

    Args:
      task: of a run of a task of your own: that.

    Raises:
      UserError: if the folder holds no run, or nothing has been saved yet.
    """
    return reported(path, task)[0]


def reported(path: str | Path, task: Any = None) -> tuple[Path, Results, list[str]]:
    """The same; returns the page's path, what the run has found, and how that stands beside what is had without a network."""
    path = Path(path)
    results = load_results(path, task)
    if (path / "plots").is_symlink():
        raise UserError(f"{str(path / 'plots')!r} is a symbolic link, and a run's files are none; remove it")
    winner, (opened, missing) = _winner(results), _opened(path, task)
    known = opened or results.task
    assert known is not None
    best, verdict, lost = None, no_answer(results), list[str]()
    if winner:
        try:
            best = results.trained(winner.trial)
        except Damaged as error:  # all else is known, and shown
            lost.append(f"What the best trial has learnt is not shown: {error}")
        try:
            verdict = answer(results, known)
        except Damaged as error:
            verdict = Verdict((str(error),))
    found = Found(results, verdict, best)
    shown = known.show(found)
    pictures = save(found, path / "plots", shown)
    stands = [f"The floor without a network is not known: {missing}"] if opened is None else standings(opened, results)
    stands += lost
    write(path / "report.html", html(found, read_config(path), pictures, shown, stands))
    return path / "report.html", results, stands


def no_answer(results: Results) -> Verdict:
    """What to say where there is no winner."""
    return Verdict((f"No trial has ended with a finite validation {results.measure.name}, so there is no answer yet.",))


def _winner(results: Results) -> Row | None:
    return results.best_row() if any(math.isfinite(row.score) for row in results.rows) else None


def _opened(path: Path, task: Any) -> tuple[Task | None, str]:
    """The run's task on its rows; None where these have moved or changed, and what says so."""
    try:
        return run_task(path, task), ""
    except UserError as error:
        return None, str(error)


def html(
    found: Found,
    facts: Mapping[str, Any],
    pictures: Mapping[str, Drawn],
    shown: Sequence[Section] = (),
    stands: Sequence[str] = (),
) -> str:
    """The page.

    Args:
      facts: the run's `config.json`.
      shown: the task's own sections.
      stands: how the networks stand beside what is had without one (`Task.standings`).
    """
    environment = Environment(
        loader=PackageLoader("jaxgen", "report"), autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_seen
    )
    css, script = (_ours(environment, name) for name in ("page.css", "page.js"))
    results = found.results
    defaults = flatten(type(results.sweep.base)())
    diverged = sorted((row for row in results.rows if row.status == DIVERGED), key=lambda row: row.trial)
    return environment.get_template("page.html.jinja").render(
        facts=facts,
        results=results,
        measure=results.measure,
        verdict=found.verdict,
        winner=_winner(results),
        arms=results.leaderboard(),
        sections=sections(found, pictures, shown),
        most_arms=ARM_ROWS,
        first=behind(found.verdict),
        most_compared=COMPARED_ROWS,
        keys=heads(results.keys),
        pictures=pictures,
        diverged=diverged,
        most_diverged=DIVERGED_ROWS,
        insides=("layers", *(one.name for one in shown if one.place == "insides")),
        shown=[one for one in shown if one.place != "insides"],
        stands=stands,
        headline=results.task.about(facts["task"]["rows"]) if results.task is not None else facts["task"]["name"],
        changed={key: cell(value) for key, value in facts["base"].items() if value != defaults.get(key)},
        command=command_of(facts),
        css=css,
        script=script,
        policy=f"default-src 'none'; img-src data:; style-src {_hash(css)}; script-src {_hash(script)}; base-uri 'none'",
        number=number,
        cell=cell,
        outcome=outcome,
        words=words,
        inf=math.inf,
    )


def words(rows: Sequence[Sequence[Any]]) -> list[bool]:
    """Of each column of a table whether it holds words, and not numbers alone."""

    def is_number(value: Any) -> bool:
        try:
            return math.isfinite(float(value))
        except (TypeError, ValueError):
            return value == "-"

    return [not all(map(is_number, column)) for column in zip(*rows, strict=True)]


def sections(found: Found, pictures: Mapping[str, Drawn], shown: Sequence[Section]) -> dict[str, str]:
    """What the page shows: its parts' names and what they are called, in their order."""
    of_pictures = {name: picture.title for name, picture in pictures.items()}
    for inside in ("differences", "budgets", "divergence"):
        of_pictures.pop(inside, None)
    places = {one.name: one.place for one in shown}
    insides = {name: of_pictures.pop(name) for name in list(of_pictures) if name == "layers" or places.get(name) == "insides"}
    own = {one.name: one.title for one in shown if one.place != "insides"}
    sure = found.verdict.comparisons or "budgets" in pictures
    return {
        **({"comparisons": "How sure it is"} if sure else {}),
        "leaderboard": "Leaderboard",
        **{name: title for name, title in of_pictures.items() if name not in own},
        "diverged": "Divergence",
        **insides,
        **own,
        "again": "How to reproduce it",
    }


def _seen(value: Any) -> Any:
    """Text whose control characters, and those that turn the direction of what follows, are shown and not obeyed."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return visible("".join(repr(c)[1:-1] if unicodedata.bidirectional(c) in TURNS else c for c in value))


def _ours(environment: Environment, name: str) -> Markup:
    """A file of this package, which is no input and so is not escaped."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _hash(inline: str) -> str:
    """How a Content-Security-Policy names the one inline element that may count."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"


def command_of(facts: Mapping[str, Any]) -> str | None:
    """The command line that a run was started with; None where it was started from Python."""
    name, flags = facts["sweep"]["name"], facts["flags"]
    if not flags and name == Question().name:  # the command has flags whenever its sweep has no name of its own
        return None
    return called(shlex.join(["train" if name == "train" else "sweep", *flags]))
