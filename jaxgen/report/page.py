"""`report.html`: one self-contained page from what a run holds."""

from __future__ import annotations

import base64
import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from jaxgen.config import Config, UserError, flatten
from jaxgen.facts import read_config
from jaxgen.files import write
from jaxgen.generate import labels, sample
from jaxgen.report import plots
from jaxgen.report.terminal import cell, number, outcome
from jaxgen.results import DIVERGED, Results
from jaxgen.runs import load_results, run_corpus

SAMPLES = 20
DIVERGED_ROWS = 50


def report(path: str | Path) -> Path:
    """Writes `report.html` and `plots/*.png` into a run's folder, from what it holds; returns the page's path.

    Raises:
      UserError: if the folder holds no run, or nothing has been saved yet.
    """
    path = Path(path)
    results = load_results(path)
    if (path / "plots").is_symlink():
        raise UserError(f"{str(path / 'plots')!r} is a symbolic link, and a run's files are none; remove it")
    facts = read_config(path)
    pictures = [
        (picture.stem, base64.b64encode(picture.read_bytes()).decode("ascii"))
        for picture in plots.save(results, path / "plots")
    ]
    environment = Environment(loader=PackageLoader("jaxgen", "report"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("page.html.jinja").render(
        facts=facts,
        results=results,
        arms=results.leaderboard(),
        keys=[key.rpartition(".")[2] for key in results.keys],
        full_keys=results.keys,
        pictures=pictures,
        samples=_samples(path, results),
        changed={key: cell(value) for key, value in facts["base"].items() if value != flatten(Config()).get(key)},
        winner=results.best_row() if results.rows else None,
        diverged=sorted((row for row in results.rows if row.status == DIVERGED), key=lambda row: row.trial),
        most=DIVERGED_ROWS,
        command=f"python -m experiments.sample {shlex.quote(str(path))}",
        number=number,
        cell=cell,
        outcome=outcome,
    )
    write(path / "report.html", page)
    return path / "report.html"


def _samples(path: Path, results: Results) -> list[tuple[str, str]]:
    """Names from the winner with their labels; without labels where the corpus has moved or changed."""
    if not results.rows:
        return []
    names = sample(results.best(), SAMPLES)
    try:
        marks: list[Any] = labels(names, run_corpus(path))
    except UserError:
        marks = [""] * len(names)
    return list(zip(names, marks, strict=True))
