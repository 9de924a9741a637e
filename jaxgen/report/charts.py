"""The charts of the page that answer to the pointer: what Plotly draws, as plain data, from what the pictures are drawn from.

A colour is said as "@C0" (an arm's by its place), "@C0/0.2" (as transparent as that), "@ink" or "@paper", a scale of them as
"@scale": the page has those of the light and of the dark style. Plotly reads some markup in texts, so that none is left in
them.
"""

from __future__ import annotations

import base64
import functools
import gzip
import importlib.resources
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from jaxgen.judge.results import label
from jaxgen.judge.shown import cell, number
from jaxgen.report import answers, insides, maps, parallel, plots
from jaxgen.report.arms import contenders, places
from jaxgen.report.pictures import Found
from jaxgen.report.style import ARMS, COLOURS, CRIMSON, DARK, LIGHT, ON_DARK, axis, limits, room
from jaxgen.report.text import head, seen

Chart = dict[str, Any]
LONG = 44  # characters of a name
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "pentagon", "x", "star")  # style.MARKERS
SAID = 8  # learning rates that an axis says
NOTED = 10  # columns of cells up to which each says its number
FOLLOWED = 200  # settings whose lines a pointer can follow


def charts(found: Found) -> dict[str, Chart]:
    """By the picture in whose place it stands: {"data": traces, "layout": how they lie}; those alone that apply."""
    drawn = {name: draw(found) for name, draw in CHARTS.items()}
    return {name: chart for name, chart in drawn.items() if chart is not None}


def looks() -> dict[str, dict[str, Any]]:
    """The colours that charts name, in light and in dark."""
    return {
        name: {
            "arms": palette,
            "ink": look["text.color"],
            "dim": look["axes.edgecolor"],
            "paper": look["axes.facecolor"],
            "best": CRIMSON,
            "scale": [to_hex(colour) for colour in colormaps[look["image.cmap"]](np.linspace(0, 1, 33))],
        }
        for name, palette, look in (("light", COLOURS, LIGHT), ("dark", ON_DARK, DARK))
    }


@functools.lru_cache(maxsize=1)
def library() -> bytes:
    """Plotly, as JavaScript."""
    return importlib.resources.files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()


@functools.lru_cache(maxsize=1)
def packed() -> str:
    """The same by gzip and base64, which is two fifths of it."""
    return base64.b64encode(gzip.compress(library(), 9, mtime=0)).decode("ascii")


def said(text: str) -> str:
    """Text that Plotly shows as it is."""
    shown = seen(text)
    return escape(shown if len(shown) <= LONG else f"{shown[: LONG - 1]}…", quote=False)


def numbers(values: Iterable[float]) -> list[float | None]:
    """Six digits of each; none for what is not finite."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def _line(place: int, name: str, x: Sequence[float], y: Iterable[float], **more: Any) -> Chart:
    """A line in the look of an arm, which the legend shows and hides with all else of the arm."""
    hollow = "" if place < ARMS else "-open"
    looks = {"line": {"color": _colour(place), "width": 2}, "marker": {"symbol": SYMBOLS[place % ARMS] + hollow, "size": 6}}
    shown = {"mode": "lines+markers", "name": said(name), "legendgroup": str(place), "hovertemplate": "%{y:.4f}"}
    return {"type": "scatter", "x": list(x), "y": numbers(y), **looks, **shown, **more}


def _band(place: int, x: Sequence[float], low: Iterable[float], high: Iterable[float], **more: Any) -> Chart:
    ends = [(at, a, b) for at, a, b in zip(x, numbers(low), numbers(high), strict=True) if a is not None and b is not None]
    around = [*((at, b) for at, _, b in ends), *((at, a) for at, a, _ in reversed(ends))]
    looks = {"fill": "toself", "fillcolor": _colour(place, 0.16), "line": {"width": 0}, "mode": "lines"}
    quiet = {"hoverinfo": "skip", "showlegend": False, "legendgroup": str(place)}
    return {"type": "scatter", "x": [at for at, _ in around], "y": [value for _, value in around], **looks, **quiet, **more}


def _colour(place: int, alpha: float = 1) -> str:
    return f"@C{place % ARMS}{f'/{alpha}' if alpha < 1 else ''}"


def _upright(found: Found, ends: tuple[float, float] | None) -> Chart:
    """The range of an axis of scores, of which less is better: it says the metric itself, and has more of it above."""
    return {} if ends is None else {"range": numbers(sorted(found.results.measure.sign * end for end in ends))}


def _metric(found: Found, scores: Iterable[float]) -> list[float]:
    return [found.results.measure.sign * float(score) for score in scores]


def _spread(found: Found, place: int, x: Sequence[float], low: Iterable[float], high: Iterable[float], **more: Any) -> Chart:
    ends = sorted((_metric(found, low), _metric(found, high)))
    return _band(place, x, *ends, **more)


def curves(found: Found) -> Chart | None:
    """Validation with bands, training dashed, and where lines lie on one another the differences from the best."""
    courses = plots.courses(found.results)
    if not courses:
        return None
    apart = plots.behind_the_first(courses) if plots.overlapping(courses) else []
    data = []
    for one in courses:
        data.append(_spread(found, one.place, one.steps, one.validation.min(0), one.validation.max(0)))
        data.append(_line(one.place, one.name, one.steps, _metric(found, one.validation.mean(0))))
        if np.isfinite(one.training).any():
            dashed = {"mode": "lines", "line": {"color": _colour(one.place), "width": 1.3, "dash": "dash"}, "showlegend": False}
            name = f"{one.name}, training"
            data.append(_line(one.place, name, one.steps, _metric(found, one.training.mean(0))) | dashed)
        if one.falling:
            mark = {"symbol": "triangle-down-open", "size": 15, "line": {"width": 2, "color": _colour(one.place)}}
            quiet = {"mode": "markers", "marker": mark, "showlegend": False, "hoverinfo": "skip", "hovertemplate": None}
            last = one.validation[:, -1].mean()
            data.append(_line(one.place, one.name, one.steps[-1:], _metric(found, [last])) | quiet)
    for one, steps, behind in apart:
        data.append(_band(one.place, steps, behind.min(0), behind.max(0), yaxis="y2"))
        data.append(_line(one.place, one.name, steps, behind.mean(0), yaxis="y2", showlegend=False))
    layout = {"hovermode": "x unified", "xaxis": {"title": {"text": "step"}}, "height": 620 if apart else 420}
    layout["yaxis"] = {"title": {"text": said(axis(found.results))}, **_upright(found, plots.inside(courses))}
    if apart:
        inside = limits(room(float(x) for _, _, behind in apart for x in behind.mean(0)))
        assert inside is not None
        layout["yaxis"]["domain"] = [0.5, 1]
        layout["yaxis2"] = {
            "domain": [0, 0.42],
            "title": {"text": f"behind {said(courses[0].name)}"},
            "range": numbers((min(inside[0], 0), max(inside[1], 0))),
            "zeroline": True,
        }
        layout["xaxis"]["anchor"] = "y2"
    return {"data": data, "layout": layout}


def rates(found: Found) -> Chart | None:
    """Validation by learning rate; what diverged is a cross at the top."""
    lines = plots.at_rates(found.results)[:ARMS]
    ends = plots.reach(lines)
    if ends is None:
        return None
    data = []
    for one in lines:
        sound = {rate: [row.score for row in arm.sound] for rate, arm in one.arms.items() if arm.sound}
        at = list(sound)
        means = [float(np.mean(scores)) for scores in sound.values()]
        if len(at) <= plots.MANY:
            data.append(_spread(found, one.place, at, map(min, sound.values()), map(max, sound.values())))
        mode = "lines+markers" if len(at) <= plots.MANY else "markers"
        data.append(_line(one.place, one.name, at, _metric(found, means), mode=mode, marker=_marker(one.place)))
        bad = [rate for rate, arm in one.arms.items() if len(arm.sound) < len(arm.rows)]
        if bad:
            heights = [one.arms[rate].mean("score") if one.arms[rate].sound else ends[1] for rate in bad]
            text = [f"{len(one.arms[rate].rows) - len(one.arms[rate].sound)} diverged" for rate in bad]
            cross = {"mode": "markers", "showlegend": False, "hovertemplate": "%{text}", "text": text}
            marker = {"symbol": "x-thin", "size": 11, "line": {"width": 2.5, "color": _colour(one.place)}}
            data.append(_line(one.place, one.name, bad, _metric(found, heights)) | cross | {"marker": marker})
    layout = {
        "hovermode": "closest",
        "height": 420,
        "xaxis": {"title": {"text": "learning rate"}, "type": "log", **_ticks({rate for one in lines for rate in one.arms})},
        "yaxis": {"title": {"text": said(axis(found.results))}, **_upright(found, ends)},
    }
    return {"data": data, "layout": layout}


def _ticks(rates: Iterable[float]) -> Chart:
    """Each of a few rates as the config says it."""
    known = sorted(rates)
    return {"tickvals": known, "ticktext": [f"{rate:g}" for rate in known]} if len(known) <= SAID else {"dtick": 1}


def _marker(place: int) -> Chart:
    return {"symbol": SYMBOLS[place % ARMS] + ("" if place < ARMS else "-open"), "size": 7, "color": _colour(place)}


def differences(found: Found) -> Chart | None:
    """How far each arm lies behind the winner, and what is known of that."""
    winner, compared = answers.behind(found.verdict)
    shown = [one for one in compared if math.isfinite(one.difference)][: answers.MOST]
    if not shown:
        return None
    place_of, data = places(contenders(found.results)), []
    for row, one in enumerate(shown):
        place = place_of.get(one.worse, 1 + row)
        known = math.isfinite(one.low) and math.isfinite(one.high)
        interval = f"95% interval {number(one.low)} to {number(one.high)}, " if known else ""
        text = f"{said(one.worse)}: {number(one.difference)}<br>{interval}{one.seeds} seeds, p {one.p:.2g}"
        fill = _colour(place) if one.resolved else "@paper"
        reach = numbers((one.high - one.difference, one.difference - one.low)) if known else [None, None]
        data.append({
            "type": "scatter", "mode": "markers", "x": numbers([one.difference]), "y": [row], "showlegend": False,
            "marker": {"size": 11, "color": fill, "line": {"width": 2, "color": _colour(place)}},
            "error_x": {"array": reach[:1], "arrayminus": reach[1:], "color": _colour(place), "thickness": 2, "visible": known},
            "hovertemplate": f"{text}, {'resolved' if one.resolved else 'could be chance'}<extra></extra>",
        })  # fmt: skip
    left, right = answers.reach(shown)
    air = 0.04 * (right - left)
    unit = found.results.measure.measured_in or found.results.measure.name
    layout = {
        "hovermode": "closest",
        "height": 130 + 34 * len(shown),
        "xaxis": {
            "title": {"text": f"{said(unit)} behind {said(winner)}"},
            "range": numbers((left - air, right + air)),
            "zeroline": True,
        },
        "yaxis": {
            "tickvals": list(range(len(shown))),
            "ticktext": [said(one.worse) for one in shown],
            "range": [len(shown) - 0.5, -0.5],
            "showgrid": False,
        },
    }
    return {"data": data, "layout": layout}


def every(found: Found) -> Chart | None:
    """A line for each setting, of which the one at the pointer stands out."""
    lines = parallel.lines(found.results)
    if lines is None:
        return None
    data = []
    arms = list(zip(lines.arms, lines.heights.tolist(), lines.shares.tolist(), strict=True))[:FOLLOWED]
    for order, (arm, heights, share) in reversed(list(enumerate(arms))):
        score = found.results.measure.sign * arm.mean("score")
        colour = "@best" if order == 0 else f"@scale/{min(max(share, 0), 1):.3f}"
        text = f"{number(score)}: {said(label(arm.values))}"
        data.append({
            "type": "scatter", "mode": "lines", "x": list(range(len(heights))), "y": numbers(heights), "showlegend": False,
            "line": {"color": colour, "width": 3 if order == 0 else 1.2, "shape": "spline", "smoothing": 0.5},
            "hovertemplate": f"{text}<extra></extra>",
        })  # fmt: skip
    notes = [
        {"x": place, "y": height, "text": said(text), "showarrow": False, "xanchor": "left", "xshift": 4, "bgcolor": "@paper"}
        for place, height, text in lines.notes
    ]
    layout = {
        "hovermode": "closest",
        "height": 460,
        "annotations": [*notes],
        "xaxis": {
            "tickvals": list(range(len(lines.heads))),
            "ticktext": list(map(said, lines.heads)),
            "range": [-0.1, len(lines.heads) - 0.4],
        },
        "yaxis": {"visible": False, "range": [-0.06, parallel.LOST + 0.04]},
        "meta": "follow",
    }
    return {"data": data, "layout": layout}


def layers(found: Found) -> Chart | None:
    """Each measure by layer, at the first and at the last evaluation."""
    taken = insides.taken(found.results)
    if taken is None:
        return None
    names, shown = taken
    data: list[Chart] = []
    layout: Chart = {"hovermode": "closest", "height": 180 * len(insides.MEASURES) + 120, "annotations": []}
    for row, (measure, (title, scale)) in enumerate(insides.MEASURES.items()):
        for column in (0, 1):
            panel = str(2 * row + column + 1) if row or column else ""  # as Plotly numbers them
            for one, halves in shown:
                profile = insides.profile(halves[column], measure)
                at = [name for name in names if name in profile]
                known = {
                    "xaxis": f"x{panel}",
                    "yaxis": f"y{panel}",
                    "showlegend": not panel,
                    "hovertemplate": "%{x}: %{y:.3g}",
                }
                data.append(
                    _line(one.place, one.name, [], [profile[name] for name in at], **known) | {"x": list(map(said, at))}
                )
            high, low = 1 - row / len(insides.MEASURES), 1 - (row + 0.86) / len(insides.MEASURES)
            last = row == len(insides.MEASURES) - 1
            order = {"type": "category", "categoryarray": list(map(said, names)), "categoryorder": "array"}
            layout[f"xaxis{panel}"] = {
                **order, "domain": [0, 0.46] if column == 0 else [0.54, 1], "anchor": f"y{panel}", "showticklabels": last,
            }  # fmt: skip
            layout[f"yaxis{panel}"] = {
                "domain": [max(low, 0), high], "anchor": f"x{panel}", "type": scale, "title": {"text": "" if column else title},
                **({"matches": f"y{2 * row + 1 if row else ''}"} if column else {}), "exponentformat": "power", "nticks": 5,
            }  # fmt: skip
    for column, when in enumerate(("first evaluation", "last evaluation")):
        place = {"xref": "paper", "yref": "paper", "x": 0.23 + 0.54 * column, "y": 1.0}
        layout["annotations"].append({**place, "text": when, "showarrow": False, "yanchor": "bottom"})
    return {"data": data, "layout": layout}


def heat(found: Found) -> Chart | None:
    """Each setting of two keys, coloured by its score; the best has a frame."""
    grid, measure = maps.grid(found.results), found.results.measure
    if grid is None:
        return None
    down, across = ([said(cell(x, key)) for x in side] for key, side in zip(grid.keys, (grid.down, grid.across), strict=True))
    shown = [
        ["" if math.isnan(x) else number(measure.sign * x) if math.isfinite(x) else "div." for x in row] for row in grid.losses
    ]
    ends = _upright(found, room(grid.losses.flat) or (0.0, 1.0))["range"]
    best = np.unravel_index(np.nanargmin(grid.losses), grid.losses.shape)
    (y, x), keys = (int(place) for place in best), [said(head(key)) for key in grid.keys]
    data = [{
        "type": "heatmap", "x": across, "y": down, "z": [numbers(measure.sign * row) for row in grid.losses], "text": shown,
        "texttemplate": "%{text}" if len(across) <= NOTED else "", "zmin": ends[0], "zmax": ends[1], "colorscale": "@scale",
        "reversescale": measure.higher_is_better, "xgap": 1, "ygap": 1, "hoverongaps": False,
        "hovertemplate": f"{keys[0]} %{{y}}<br>{keys[1]} %{{x}}<br>%{{text}}<extra></extra>",
        "colorbar": {"title": {"text": said(axis(found.results)), "side": "right"}, "outlinewidth": 0},
    }]  # fmt: skip
    frame = {"x0": x - 0.5, "x1": x + 0.5, "y0": y - 0.5, "y1": y + 0.5, "line": {"color": "@best", "width": 3}}
    layout = {
        "hovermode": "closest",
        "height": 170 + 34 * len(down),
        "shapes": [{"type": "rect", **frame}],
        "xaxis": {"title": {"text": keys[1]}, "type": "category", "showgrid": False},
        "yaxis": {"title": {"text": keys[0]}, "type": "category", "showgrid": False, "autorange": "reversed"},
    }
    return {"data": data, "layout": layout}


def budgets(found: Found) -> Chart | None:
    """What the best of k settings of each arm comes to."""
    arms, place_of, data = answers.tuned(found.verdict), places(contenders(found.results)), []
    if not arms:
        return None
    for order, (name, tried) in enumerate(arms):
        place, at = place_of.get(name, order), [one.settings for one in tried]
        data.append(_spread(found, place, at, [one.low for one in tried], [one.high for one in tried]))
        data.append(_line(place, name, at, _metric(found, [one.loss for one in tried])))
    ends = limits(room(one.loss for _, tried in arms for one in tried))
    layout = {
        "hovermode": "x unified",
        "height": 420,
        "xaxis": {"title": {"text": "settings tried (k)"}},
        "yaxis": {"title": {"text": said(axis(found.results))}, **_upright(found, ends)},
    }
    return {"data": data, "layout": layout}


CHARTS: Mapping[str, Callable[[Found], Chart | None]] = {
    "differences": differences,
    "budgets": budgets,
    "curves": curves,
    "learning_rate": rates,
    "heat": heat,
    "parallel": every,
    "layers": layers,
}
