"""`report.html`: one self-contained page from what a run holds."""

from __future__ import annotations

import base64
import hashlib
import math
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from jaxgen.answers import answer
from jaxgen.config import Config, UserError, flatten
from jaxgen.corpus import Corpus
from jaxgen.facts import read_config
from jaxgen.files import write
from jaxgen.generate import labels, sample
from jaxgen.quality import MEASURES, Reference
from jaxgen.report.answers import behind
from jaxgen.report.pictures import Drawn, Found, save
from jaxgen.report.terminal import cell, number, outcome, visible
from jaxgen.report.text import head
from jaxgen.results import DIVERGED, Results, Row, Trained
from jaxgen.runs import load_results, run_corpus
from jaxgen.standing import standings
from jaxgen.sweep import Question
from jaxgen.verdict import Verdict

SAMPLES = 20
DIVERGED_ROWS = 200
ARM_ROWS = 1000
TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
NO_ANSWER = Verdict(("No trial has ended with a finite validation loss, so there is no answer yet.",))


def report(path: str | Path) -> Path:
    """Writes `report.html` and `plots/*.png` into a run's folder, from what it holds; returns the page's path.

    Raises:
      UserError: if the folder holds no run, or nothing has been saved yet.
    """
    path = Path(path)
    results = load_results(path)
    if (path / "plots").is_symlink():
        raise UserError(f"{str(path / 'plots')!r} is a symbolic link, and a run's files are none; remove it")
    winner, (corpus, missing) = _winner(results), _corpus(path)
    found = Found(results, answer(results, corpus) if winner else NO_ANSWER, results.trained(winner.trial) if winner else None)
    pictures = save(found, path / "plots")
    facts = read_config(path)
    stands, itself = [f"The floor without a network is not known: {missing}"], {}
    if corpus is not None:
        stands = [str(one) for one in standings(results, corpus)]
        itself = Reference(corpus.names).itself(facts["base"].get("train.names", 0))
    page = html(found, facts, pictures, names_of(found.best, corpus), str(path), stands, itself)
    write(path / "report.html", page)
    return path / "report.html"


def _winner(results: Results) -> Row | None:
    return results.best_row() if any(math.isfinite(row.val_loss) for row in results.rows) else None


def _corpus(path: Path) -> tuple[Corpus | None, str]:
    """The run's corpus; None where it has moved or changed, and what says so."""
    try:
        return run_corpus(path), ""
    except UserError as error:
        return None, str(error)


def names_of(best: Trained | None, corpus: Corpus | None) -> list[tuple[str, str]]:
    """Names from the winner with their labels; all labels empty where the corpus has moved or changed."""
    if best is None:
        return []
    names = sample(best, SAMPLES)
    return list(zip(names, labels(names, corpus) if corpus is not None else [""] * len(names), strict=True))


def html(
    found: Found,
    facts: Mapping[str, Any],
    pictures: Mapping[str, Drawn],
    samples: Sequence[tuple[str, str]],
    path: str,
    stands: Sequence[str] = (),
    itself: Mapping[str, float] = MappingProxyType({}),
) -> str:
    """The page.

    Args:
      facts: the run's `config.json`.
      samples: names from the winner, each with its label: new, repeated, corpus or none.
      path: the run's folder, as the commands on the page name it.
      stands: how the networks stand on each split (`standing.standings`).
      itself: what names of the corpus come to in the measures of `quality` that models' names do.
    """
    environment = Environment(
        loader=PackageLoader("jaxgen", "report"), autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_seen
    )
    css, script = (_ours(environment, name) for name in ("page.css", "page.js"))
    results = found.results
    diverged = sorted((row for row in results.rows if row.status == DIVERGED), key=lambda row: row.trial)
    return environment.get_template("page.html.jinja").render(
        facts=facts,
        results=results,
        verdict=found.verdict,
        winner=_winner(results),
        arms=results.leaderboard(),
        sections=sections(found, pictures, samples),
        most_arms=ARM_ROWS,
        first=behind(found.verdict),
        keys=heads(results.keys),
        pictures=pictures,
        diverged=diverged,
        most_diverged=DIVERGED_ROWS,
        samples=samples,
        stands=stands,
        itself=itself,
        measures=MEASURES,
        judged=[(place, arm, arm.quality()) for place, arm in enumerate(results.leaderboard()[:ARM_ROWS], 1) if arm.quality()],
        counts={mark: sum(m == mark for _, m in samples) for mark in ("new", "repeated", "corpus")},
        changed={key: cell(value) for key, value in facts["base"].items() if value != flatten(Config()).get(key)},
        command=command_of(facts),
        more=f"python -m experiments.sample {shlex.quote(path)}",
        css=css,
        script=script,
        policy=f"default-src 'none'; img-src data:; style-src {_hash(css)}; script-src {_hash(script)}; base-uri 'none'",
        number=number,
        cell=cell,
        outcome=outcome,
        inf=math.inf,
    )


def sections(found: Found, pictures: Mapping[str, Drawn], samples: Sequence[tuple[str, str]]) -> dict[str, str]:
    """What the page shows: its parts' names and what they are called, in their order."""
    of_pictures = {name: picture.title for name, picture in pictures.items()}
    for inside in ("differences", "budgets", "divergence"):
        of_pictures.pop(inside, None)
    insides = {name: of_pictures.pop(name) for name in ("layers", "embeddings") if name in of_pictures}
    sure = found.verdict.comparisons or "budgets" in pictures
    return {
        **({"comparisons": "How sure it is"} if sure else {}),
        "leaderboard": "Leaderboard",
        **of_pictures,
        "diverged": "Divergence",
        **insides,
        **({"names": "Names from the best trial"} if samples else {}),
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


def heads(keys: Sequence[str]) -> list[str]:
    """The keys as heads of columns: their last parts, or all of a key where two would be alike."""
    short = [head(key) for key in keys]
    return [key if short.count(name) > 1 else name for key, name in zip(keys, short, strict=True)]


def command_of(facts: Mapping[str, Any]) -> str | None:
    """The command line that a run was started with; None where it was started from Python."""
    name, flags = facts["sweep"]["name"], facts["flags"]
    if not flags and name == Question().name:  # the command has flags whenever its sweep has no name of its own
        return None
    return shlex.join(["python", "-m", f"experiments.{'train' if name == 'train' else 'sweep'}", *flags])
