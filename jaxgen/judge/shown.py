"""Results as a notebook shows them, and as tables to go on with: a line, a page's table, pandas."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from jaxgen.fields import UserError, quoted, typed

if TYPE_CHECKING:
    from jaxgen.judge.results import Results

ROWS = 10  # settings that a notebook shows


def board(results: Results, verdict: bool = True) -> str:
    """The best settings of a run as HTML, and its verdict once a trial has ended, where that is wanted."""
    arms = results.leaderboard(running=True)
    parts = [part for part in ("val", "test") if any(math.isfinite(arm.mean(_name(results, part))) for arm in arms)]
    heads = ["", *(key.rpartition(".")[2].replace("_", " ") for key in results.keys), *parts, "trials"]
    rows = [
        [
            str(place),
            *(cell(arm.values.get(key), key) for key in results.keys),
            *(estimate(arm.mean(_name(results, part)), arm.spread(_name(results, part))) for part in parts),
            str(len(arm.rows)),
        ]
        for place, arm in enumerate(arms[:ROWS], 1)
    ]
    more = f", of {len(arms)} settings the best {ROWS}" if len(arms) > ROWS else ""
    head = f"{len(results.rows)} of {len(results.sweep)} trials ended; mean {results.measure.name} ± standard deviation{more}"
    said = results.verdict() if verdict and results.rows else None
    return f"<p>{escape(head)}</p>{_table(heads, rows)}{'' if said is None else sentences(said.sentences)}"


def picture(figure: Any) -> str:
    """A matplotlib figure with a title as HTML."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100)
    address = base64.b64encode(out.getvalue()).decode("ascii")
    title = escape(figure.get_suptitle(), quote=True)
    return f'<img alt="{title}" style="max-width: 100%" src="data:image/png;base64,{address}">'


def sentences(said: Iterable[str]) -> str:
    """Sentences as HTML, the first of them as what to quote."""
    first, *others = said
    return f"<p><b>{escape(first)}</b></p>" + "".join(f"<p>{escape(one)}</p>" for one in others)


def frame(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Any:
    """A pandas DataFrame.

    Raises:
      UserError: without pandas.
    """
    try:
        import pandas
    except ModuleNotFoundError:
        raise UserError("a table for pandas needs pandas, which is not installed; `pip install pandas`") from None
    return pandas.DataFrame([list(row) for row in rows], columns=list(columns))


def of_config(given: dict[str, Any], defaults: dict[str, Any]) -> str:
    """In what a config differs from the one that it would be by itself: model.hidden=32, optimizer.name='adam'."""
    return ", ".join(f"{key}={quoted(value)}" for key, value in given.items() if defaults.get(key) != value)


def _name(results: Results, part: str) -> str:
    return f"{part}_{results.measure.name}"


LIMITS = ("clip norm", "max norm")  # of which 0 is none


def cell(value: Any, key: str = "") -> str:
    """A config's value as people read it.

    Args:
      key: what it is of.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value == 0 and key.rpartition(".")[2].replace("_", " ") in LIMITS:
        return "off"
    return typed(value)


def number(value: float) -> str:
    """A loss or another number of results; "-" where there is none."""
    return f"{value:.4f}" if math.isfinite(value) else "-"


def estimate(mean: float, spread: float) -> str:
    """A mean with its spread, as far as there are any."""
    return f"{number(mean)} ± {spread:.4f}" if math.isfinite(spread) else number(mean)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(one)}</td>' for one in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
