"""`report.html`: one self-contained page from what a run holds."""

from __future__ import annotations

import base64
import hashlib
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from jaxgen.called import called
from jaxgen.fields import UserError, flatten, typed
from jaxgen.judge.answers import answer
from jaxgen.judge.floors import cost, reference, standings
from jaxgen.judge.naming import arm_names
from jaxgen.judge.results import DIVERGED, Results, Row, label
from jaxgen.judge.shown import cell, number
from jaxgen.judge.verdict import Verdict
from jaxgen.reopen import load_results, run_task
from jaxgen.report.answers import behind
from jaxgen.report.arms import standing
from jaxgen.report.charts import charts, library, looks, packed
from jaxgen.report.pictures import Drawn, Found, save
from jaxgen.report.terminal import outcome
from jaxgen.report.text import heads, seen
from jaxgen.search.sweep import Question
from jaxgen.storage.checkpoint import Damaged
from jaxgen.storage.facts import read_config
from jaxgen.storage.files import write
from jaxgen.storage.session import told as told_of_sessions
from jaxgen.tasks.base import Section, Task

DIVERGED_ROWS = 200
ARM_ROWS = 1000
COMPARED_ROWS = 200
BEGUN = ("--resume", "--overwrite")  # flags that say what to do with what was there
# The picture that answers a question, by the kind of its verdict; of others it is how far arms lie behind the winner.
OWN = {"gradients": "layers", "search": "heat", "early_stopping": "curves", "overfitting": "curves"}


def report(path: str | Path, task: Any = None) -> Path:
    """Writes `report.html` and `plots/*.png` into a run's folder, from what it holds; returns the page's path.

    Args:
      task: of a run of a task of your own: that.

    Raises:
      UserError: if the folder holds no run, or nothing has been saved yet.
    """
    return reported(path, task)[0]


def reported(path: str | Path, task: Any = None) -> tuple[Path, Results, list[str]]:
    """The same; returns the page's path, what the run has found, and what is said of it: how it stands beside what is had
    without a network, and the verdict."""
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
    beside = None if opened is None else reference(opened, results)
    write(path / "report.html", html(found, read_config(path), pictures, shown, stands, beside))
    return path / "report.html", results, [*stands, *verdict.sentences]


def no_answer(results: Results) -> Verdict:
    """What to say where there is no winner."""
    if not results.rows:
        return Verdict((f"No network has ended yet, of {len(results.sweep)}, so there is no answer.",))
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
    beside: tuple[str, Mapping[str, float]] | None = None,
) -> str:
    """The page.

    Args:
      facts: the run's `config.json`.
      shown: the task's own sections.
      stands: how the networks stand beside what is had without one (`Task.standings`).
      beside: what of that has a row in the leaderboard (`judge.floors.reference`).
    """
    environment = Environment(
        loader=PackageLoader("jaxgen", "report"), autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_seen
    )
    css, script = (_ours(environment, name) for name in ("page.css", "page.js"))
    results = found.results
    defaults = flatten(type(results.sweep.base)())
    diverged = sorted((row for row in results.rows if row.status == DIVERGED), key=lambda row: row.trial)
    told, drawn = layout(found, pictures, shown), {name: chart for name, chart in charts(found).items() if name in pictures}
    scripts = [script.encode(), *([library()] if drawn else [])]
    return environment.get_template("page.html.jinja").render(
        facts=facts,
        results=results,
        measure=results.measure,
        verdict=found.verdict,
        winner=_winner(results),
        question=question_of(results),
        usual=label(usual) if (usual := arm_names(results).usual) else "",
        arms=(board := standing(results)),
        floor_name="" if beside is None else beside[0],
        floor={} if beside is None else beside[1],
        floor_at=None if beside is None else sum(arm.mean("score") < cost(results, beside[1]) for arm in board),
        nan=math.nan,
        unfinished=len(results.rows) < len(results.sweep),
        sections=sections(found, pictures, told),
        most_arms=ARM_ROWS,
        first=behind(found.verdict),
        most_compared=COMPARED_ROWS,
        keys=heads(results.keys),
        pictures=pictures,
        charts=drawn,
        looks=looks() if drawn else {},
        packed=Markup(packed() if drawn else ""),
        diverged=diverged,
        most_diverged=DIVERGED_ROWS,
        **vars(told),
        stands=stands,
        when=told_of_sessions(facts),
        filled_in={name: values for name, values in facts.get("filled_in", {}).items() if values},
        headline=results.task.about(facts["task"]["rows"]) if results.task is not None else facts["task"]["name"],
        changed={key: typed(value) for key, value in facts["base"].items() if value != defaults.get(key)},
        command=command_of(facts),
        css=css,
        script=script,
        policy=policy(scripts),
        number=number,
        cell=cell,
        outcome=outcome,
        words=words,
        inf=math.inf,
    )


def policy(scripts: Sequence[bytes]) -> str:
    """What a browser may do with the page: run these scripts, show what is in it, and ask no one for anything.

    Styles may stand anywhere, since Plotly sets its own; with no address allowed they can send nothing.
    """
    ours = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one).digest()).decode()}'" for one in scripts)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {ours}; base-uri 'none'"


def question_of(results: Results) -> str:
    """The page's headline."""
    return results.question.text or ("Which setting is best?" if results.keys else "How good is it?")


@dataclass(frozen=True)
class Layout:
    """Which picture and which part of the task's own stands where."""

    own: str
    """The picture that answers the question, or none."""
    sure: tuple[str, ...]
    drawn: tuple[str, ...]
    insides: tuple[str, ...]
    top: tuple[Section, ...]
    end: tuple[Section, ...]


def layout(found: Found, pictures: Mapping[str, Drawn], shown: Sequence[Section]) -> Layout:
    """The order of the page: below the verdict the picture that answers the question, then what the task puts there."""
    places = {one.name: one.place for one in shown}
    answers = [name for name, place in places.items() if place == "answer"]
    wanted = (*answers, OWN.get(found.results.question.verdict, ""), "differences", "curves")
    own = next((name for name in wanted if name in pictures), "")

    def left(*names: str) -> tuple[str, ...]:
        return tuple(name for name in names if name in pictures and name != own)

    return Layout(
        own,
        left("differences", "budgets"),
        left("curves", "learning_rate", "heat", "parallel"),
        left("layers", *(name for name, place in places.items() if place in ("insides", "answer"))),
        tuple(one for one in shown if one.place == "top"),
        tuple(one for one in shown if one.place == "end"),
    )


def words(rows: Sequence[Sequence[Any]]) -> list[bool]:
    """Of each column of a table whether it holds words, and not numbers alone."""

    def is_number(value: Any) -> bool:
        try:
            return math.isfinite(float(value))
        except (TypeError, ValueError):
            return value == "-"

    return [not all(map(is_number, column)) for column in zip(*rows, strict=True)]


def sections(found: Found, pictures: Mapping[str, Drawn], told: Layout) -> dict[str, str]:
    """What the page shows: its parts' names and what they are called, in their order."""

    def titles(*names: str) -> dict[str, str]:
        return {name: pictures[name].title for name in names if name}

    diverged = any(row.status == DIVERGED for row in found.results.rows)
    return {
        **titles(told.own),
        **{one.name: one.title for one in told.top},
        **({"comparisons": "How sure it is"} if found.verdict.comparisons or told.sure else {}),
        "leaderboard": "Leaderboard",
        **titles(*told.drawn),
        **({"diverged": "Divergence"} if diverged else {}),
        **titles(*told.insides),
        **{one.name: one.title for one in told.end},
        "again": "How to reproduce it",
    }


def _seen(value: Any) -> Any:
    """What the page shows of a value: no character of a text is obeyed."""
    return value if not isinstance(value, str) or isinstance(value, Markup) else seen(value)


def _ours(environment: Environment, name: str) -> Markup:
    """A file of this package, which is no input and so is not escaped."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def command_of(facts: Mapping[str, Any]) -> str | None:
    """The command line that does a run anew; None where it was started from Python."""
    name, flags = facts["sweep"]["name"], [flag for flag in facts["flags"] if flag not in BEGUN]
    if not flags and name == Question().name:  # the command has flags whenever its sweep has no name of its own
        return None
    return called(shlex.join(["train" if name == "train" else "sweep", *flags]))
