"""What the report's pictures hold: every number of theirs is compared with one computed here in another way."""

from __future__ import annotations

import itertools
import math
import statistics
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import invented
import matplotlib.style
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.cbook import is_math_text
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import jaxgen
from jaxgen.judge.results import Results
from jaxgen.judge.verdict import Comparison, Tried, Verdict
from jaxgen.report import answers, insides, maps, parallel, plots
from jaxgen.report.pictures import PICTURES, Found, Picture, laid_out_as, rendered
from jaxgen.report.style import COLOURS, DARK, LIGHT, ON_DARK
from jaxgen.report.text import SHORT, drawable, plain, short, wrapped
from jaxgen.tasks.names import show
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.task import METRICS, Names

RATE, L2 = "optimizer.learning_rate", "regularizer.l2"


@pytest.fixture(scope="module")
def large() -> Results:
    return invented.large()


def drawn(draw: Callable[..., Figure | None], *args: Any, look: Any = LIGHT) -> Any:
    """A picture in full (its artists are loosely typed); a warning on the way is an error."""
    with matplotlib.style.context(["default", look]), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw(*args)
        assert figure is not None
        figure.draw_without_rendering()
    return figure


def band(axes: Any, place: int) -> dict[float, tuple[float, float]]:
    """The lowest and the highest of a band at each place of the axis."""
    bands = [one for one in axes.collections if isinstance(one, PolyCollection)]
    corners: dict[float, list[float]] = {}
    for x, y in np.asarray(bands[place].get_paths()[0].vertices):
        corners.setdefault(float(x), []).append(float(y))
    return {x: (min(ys), max(ys)) for x, ys in corners.items()}


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_curves_are_means_over_seeds_with_the_range_as_a_band(large: Results) -> None:
    large = replace(large, curves=[c for c in large.curves if not (c.trial % 5 == 4 and c.step == 100)])  # a seed stops early
    figure = drawn(plots.curves, large)
    axes = figure.axes[0]
    assert legend(figure) == ["adam", "sgd", "training", "still falling at the end"]
    for place, values in enumerate(
        ({"optimizer.name": "adam", RATE: 1e-2, L2: 0.0}, {"optimizer.name": "sgd", RATE: 0.1, L2: 0.0})
    ):
        steps, means = axes.lines[place].get_data()
        assert list(steps) == [20, 40, 60, 80]  # which all five seeds reached
        wanted = {step: [invented.loss(values, seed) + 10 / step - 0.1 for seed in range(5)] for step in steps}
        np.testing.assert_allclose(means, [statistics.fmean(losses) for losses in wanted.values()])
        assert band(axes, place) == {step: pytest.approx((min(y), max(y))) for step, y in wanted.items()}


def test_a_setting_that_diverges_at_some_seed_is_not_the_best(large: Results) -> None:
    lost = next(row for row in large.rows if row.seed == 4 and invented.loss(dict(row.values), 4) == 2.2 + 0.004 * 4)
    rows = [replace(row, status="diverged") if row is lost else row for row in large.rows]
    # Without the seed that is hard for it, the setting's mean is the lowest still.
    assert replace(large, rows=rows).leaderboard()[0].values == lost.values
    figure = drawn(plots.curves, replace(large, rows=rows))
    assert legend(figure)[0] == "adam"
    means = figure.axes[0].lines[0].get_ydata()  # of depth 2, which all five seeds bear
    assert means[-1] == pytest.approx(2.2 + 0.001 + 0.004 * 2)
    # Where only that setting was tried, it counts without the seed.
    one = [row for row in rows if row.values == lost.values]
    line = (
        drawn(plots.curves, replace(large, rows=one, sweep=replace(large.sweep, points=large.sweep.points[:5])))
        .axes[0]
        .lines[0]
    )
    assert line.get_ydata()[-1] == pytest.approx(2.2 + 0.004 * 1.5)


def test_rates_have_a_line_for_each_arm_at_the_best_of_the_other_keys(large: Results) -> None:
    figure = drawn(plots.rates, large)
    axes = figure.axes[0]
    assert legend(figure) == ["adam", "sgd", "diverged"]
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.001", "0.01", "0.1", "1", "10"]
    for place, name in enumerate(("adam", "sgd")):
        rates, means = axes.lines[place].get_data()
        assert list(rates) == [rate for rate in invented.RATES if name == "adam" or rate < 10]
        wanted = {rate: [invented.loss({"optimizer.name": name, RATE: rate}, seed) for seed in range(5)] for rate in rates}
        np.testing.assert_allclose(means, [statistics.fmean(losses) for losses in wanted.values()])
        assert band(axes, place) == {rate: pytest.approx((min(y), max(y))) for rate, y in wanted.items()}
    (cross,) = (line for line in axes.lines if line.get_marker() == "x")
    ((rate, height),) = cross.get_xydata()
    assert rate == 10
    assert axes.get_ylim()[0] < height < axes.get_ylim()[1]


def test_many_rates_of_a_random_search_are_dots() -> None:
    axes = {RATE: jaxgen.Uniform(1e-4, 1.0, log=True), L2: jaxgen.Uniform(1e-6, 1e-3, log=True)}
    sweep = jaxgen.seeds(jaxgen.random(Config(), axes, trials=30), 2)
    figure = drawn(plots.rates, invented.results_of(sweep))
    (line,) = figure.axes[0].lines  # and not one for each value of l2
    assert line.get_linestyle() == "None"
    assert len(line.get_xdata()) == 30
    (bars,) = (one for one in figure.axes[0].collections if isinstance(one, LineCollection))
    spans = sorted(float(np.ptp(segment[:, 1])) for segment in bars.get_segments())
    np.testing.assert_allclose(spans, 0.004)  # from seed to seed


def test_differences_are_of_the_winner_whoever_leads_in_a_pair() -> None:
    figure = drawn(answers.differences, invented.verdict(), METRICS[0], {"adam": 0, invented.EVIL: 3, "sgd_$x$": 1})
    axes = figure.axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [float(dot.get_xdata()[0]) for dot in dots] == [0.05, -0.02]
    assert axes.get_xlabel() == "nats a character behind\nadam"
    bars = [one.get_segments()[0][:, 0] for one in axes.collections]
    np.testing.assert_allclose(bars, [(0.01, 0.09), (-0.14, 0.1)])
    assert [dot.get_color() for dot in dots] == ["C3", "C1"]  # an arm's own, as everywhere
    assert [dot.get_markerfacecolor() for dot in dots] == ["C3", LIGHT["axes.facecolor"]]  # full: resolved
    assert legend(figure) == ["resolved", "could be chance"]


def test_one_far_difference_does_not_stretch_the_axis() -> None:
    near = [Comparison("a", str(i), 0.01 * i, 0.0, 0.02 * i, 1.0, 0.01, 3, True) for i in range(1, 6)]
    far = Comparison("a", "far", 1e6, -1e6, 3e6, 1.0, 0.5, 3, False)
    figure = drawn(answers.differences, Verdict((), (*near, far)), METRICS[0])
    axes = figure.axes[0]
    assert legend(figure) == ["resolved", "could be chance", "farther off"]
    assert axes.get_xlim()[1] < 1
    assert [line.get_marker() for line in axes.lines if line.get_ydata()[0] == 5][-1] == ">"


def test_budgets_hold_the_best_of_k() -> None:
    tried = {
        name: tuple(Tried(k, base + 1 / k, base, base + 2 / k) for k in range(1, 11)) for name, base in (("b", 2.1), ("a", 2.0))
    }
    figure = drawn(answers.budgets, Verdict((), (), tried), METRICS[0])
    axes = figure.axes[0]
    assert legend(figure) == ["a", "b"]  # the best at the end first, as everywhere
    for place, name in enumerate("ab"):
        np.testing.assert_allclose(axes.lines[place].get_xydata(), [(one.settings, one.loss) for one in tried[name]])
        assert band(axes, place) == {one.settings: pytest.approx((one.low, one.high)) for one in tried[name]}
    some = {name: tuple(replace(one, loss=math.inf) if one.settings < 3 else one for one in of) for name, of in tried.items()}
    axes = drawn(answers.budgets, Verdict((), (), some), METRICS[0], {"a": 4, "b": 2}).axes[0]
    assert [line.get_color() for line in axes.lines] == ["C4", "C2"]
    assert [line.get_xdata().tolist()[0] for line in axes.lines] == [3, 3]  # an infinite one is left out
    few = {name: of[: answers.LEAST - 1] for name, of in tried.items()}
    assert answers.budgets(Verdict((), (), few), METRICS[0]) is None  # of which nothing is to be seen


def test_heat_is_the_grid_of_means_with_the_lowest_in_a_frame() -> None:
    sweep = jaxgen.grid(Config(), {"optimizer.name": ["sgd", "adam"], RATE: invented.RATES, "seed": range(3)})
    results = invented.results_of(sweep)
    figure = drawn(maps.heat, results)
    axes = figure.axes[0]
    down, across = ([text.get_text() for text in labels] for labels in (axes.get_yticklabels(), axes.get_xticklabels()))
    assert sorted(down) == ["adam", "sgd"]
    assert across == ["0.001", "0.01", "0.1", "1", "10"]
    cells = axes.images[0].get_array()
    for (row, name), (column, rate) in itertools.product(enumerate(down), enumerate(invented.RATES)):
        mean = statistics.fmean(invented.loss({"optimizer.name": name, RATE: rate}, seed) for seed in range(3))
        note = next(text for text in axes.texts if text.get_position() == (column, row)).get_text()
        if (name, rate) == ("sgd", 10.0):
            assert math.isnan(np.ma.filled(cells, math.nan)[row, column])
            assert note == "div."
        else:
            assert cells[row, column] == pytest.approx(mean)
            assert note == f"{mean:.3f}"
    (frame,) = (patch for patch in axes.patches if not patch.get_fill())
    assert frame.get_xy() == (1 - 0.5, down.index("adam") - 0.5)


def test_parallel_lines_lead_from_values_to_losses(large: Results) -> None:
    axes = drawn(parallel.parallel, large).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == [
        "optimizer",
        "learning rate",
        "l2",
        "depth",
        "validation loss",
    ]
    arms = large.leaderboard()
    (lines,) = (one for one in axes.collections if isinstance(one, LineCollection) and len(one.get_segments()) == len(arms))
    means = [arm.mean("val_loss") for arm in arms]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = min(finite), min(max(finite), min(finite) + 10 * (statistics.median(finite) - min(finite)))
    for arm, mean, segment in zip(arms, means, lines.get_segments()[::-1], strict=True):
        assert segment[:, 0].tolist() == [0, 1, 2, 3, 4]
        near = parallel.KNOT + 1e-9  # settings of the same value lie side by side
        assert segment[1, 1] == pytest.approx((math.log10(arm.values[RATE]) + 3) / 4, abs=near)  # from 1e-3 to 10
        assert segment[2, 1] == pytest.approx(arm.values[L2] / 1e-3, abs=near)  # which has a zero, so no logarithm
        assert segment[3, 1] == pytest.approx(arm.values["model.depth"] - 1, abs=near)
        wanted = min(1.0, (mean - low) / (high - low)) if math.isfinite(mean) else parallel.LOST
        assert segment[4, 1] == pytest.approx(wanted)
    places = [segment[0, 1] for segment in lines.get_segments()]
    assert {round(place) for place in places} == {0, 1}
    assert len(set(places)) == len(arms)  # so that each can be followed
    at_zero = [segment[2, 1] for segment, arm in zip(lines.get_segments()[::-1], arms, strict=True) if arm.values[L2] == 0]
    assert at_zero == sorted(at_zero)  # the best lowest
    (strip,) = axes.images  # the colours that lines have, along the last axis: the best is at its foot
    assert np.asarray(strip.get_array())[-1, 0] == 0
    assert strip.get_extent()[2:] == [0, 1]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), lines.get_segments()[-1])  # the thick one: the best


def test_divergence_counts_by_the_keys_that_tell_most(large: Results) -> None:
    axes = drawn(maps.divergence, large).axes[0]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("learning rate", "optimizer")  # and not l2, of which nothing depends
    notes = {text.get_position(): text.get_text() for text in axes.texts}
    across = [text.get_text() for text in axes.get_xticklabels()]
    assert notes == {(c, r): "20/20" if (name, r) == ("sgd", 4) else "0/20" for c, name in enumerate(across) for r in range(5)}
    shares = np.ma.filled(axes.images[0].get_array(), 0)
    assert shares.sum() == shares[4, across.index("sgd")] == 1


def test_bins_hold_what_they_say() -> None:
    values = [float(10.0**-i) for i in range(20)]
    names, places = maps.binned([*values, *values[:3]])
    assert len(names) <= maps.BINS
    for value, place in zip([*values, *values[:3]], places, strict=True):
        low, high = map(float, names[place].split(" to "))
        assert low * 0.99 <= value <= high * 1.01
    assert maps.binned(["a"] * 9 + [str(i) for i in range(20)])[1][:9] == [0] * 9
    assert maps.binned([None, 3, 1, 3]) == (["1", "3", "-"], [2, 1, 0, 1])


def test_layers_are_means_over_seeds_at_the_first_and_the_last_evaluation(large: Results) -> None:
    shallow = {row.trial for row in large.rows if row.values["optimizer.name"] == "sgd"}
    kept = [one for one in large.diagnostics if not (one.trial in shallow and one.layer == "hidden_1")]
    figure = drawn(insides.layers, replace(large, diagnostics=kept))
    grid = np.array(figure.axes).reshape(4, 2)
    assert [text.get_text() for text in grid[3, 0].get_xticklabels()] == list(invented.LAYERS)
    for column, step in enumerate((20, 100)):
        for place, layers in enumerate(((0, 1, 2, 3), (0, 1, 3))):  # adam, then sgd without hidden_1
            wanted = {
                0: [0.5 + 2.0 for _ in layers],  # the mean of the seeds 0 to 4
                1: [0.1 * at for at in layers],
                2: [10.0**-at * step for at in layers],
                3: [1e-3 * (1 + at) for at in layers],
            }
            for row, values in wanted.items():
                line = grid[row, column].lines[place]
                np.testing.assert_array_equal(line.get_xdata(), layers)
                np.testing.assert_allclose(line.get_ydata(), values)
    assert [grid[row, 0].get_yscale() for row in range(4)] == ["log", "linear", "log", "log"]


def test_embeddings_lie_along_the_principal_components() -> None:
    trained = invented.trained("abcdefgh")
    axes = drawn(show.embeddings, trained).axes[0]
    table = np.asarray(trained.params["embedding"]["embedding"], np.float64)
    sizes, directions = np.linalg.eigh(np.cov(table.T))  # another way than the singular values
    wanted = (table - table.mean(0)) @ directions[:, ::-1][:, :2]
    found = np.array([axes.lines[-1].get_xydata()[0], *(text.get_position() for text in axes.texts)])
    np.testing.assert_allclose(np.abs(found), np.abs(wanted), atol=1e-6)
    np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, atol=1e-5)  # up to the sign of each direction
    assert [text.get_text() for text in axes.texts] == list("abcdefgh")
    shares = 100 * sizes[::-1] / sizes.sum()
    assert axes.get_xlabel() == f"component 1 ({shares[0]:.0f}% of the variance)"
    assert axes.get_ylabel() == f"component 2 ({shares[1]:.0f}% of the variance)"


@pytest.mark.parametrize("width", [1, 2, 40])
def test_embeddings_of_any_characters_are_drawn(width: int) -> None:
    """Controls, formulas, right to left, spaces, what the font has not, and more than fit."""
    some = "\x00\t $\\_^{}אم\u202e\u200b\ud800田😀\U0010ffff\u0301"
    axes = drawn(show.embeddings, invented.trained(some, width)).axes[0]
    codes = {
        "\x00": "0000",
        "\t": "0009",
        " ": "␣",
        "$": r"\$",
        "\u202e": "202E",
        "\u200b": "200B",
        "\ud800": "D800",
        "田": "7530",
    }
    codes |= {"\U0010ffff": "10FFFF", "\u0301": "0301", "_": " _"}
    assert [text.get_text() for text in axes.texts] == [codes.get(c, c) for c in some]
    assert [text.get_text() for text in axes.texts if text.get_color() != LIGHT["text.color"]] == []  # none is a vowel
    coloured = drawn(show.embeddings, invented.trained("abéiÜk", width))
    assert [text.get_text() for text in coloured.axes[0].texts if text.get_color() == "C3"] == ["a", "é", "i", "Ü"]
    assert legend(coloured) == ["boundary", "vowels"]
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 400)))
    axes = drawn(show.embeddings, invented.trained(many, width)).axes[0]
    assert len(axes.texts) == show.LABELS
    assert len(axes.lines[0].get_xdata()) == 100


def with_keys(*keys: str) -> Results:
    """Results of a sweep over some of the invented axes."""
    return invented.results_of(jaxgen.grid(Config(), {key: invented.AXES[key] for key in keys}))


NOTHING = Results(jaxgen.Sweep(Config()))
ONE = invented.results_of(jaxgen.Sweep(Config(), ({"seed": 0},)))
RANDOM = invented.results_of(jaxgen.random(Config(), {RATE: jaxgen.Uniform(1e-4, 1.0), L2: jaxgen.Uniform(0.0, 1.0)}, 12))
NOT = {
    "differences": [Verdict(("nothing",)), Verdict((), (invented.apart("a", "b"),))],
    "budgets": [Verdict(("nothing",)), Verdict((), (), {"a": (Tried(1, 2.0, 2.0, 2.0),)})],
    "curves": [NOTHING, replace(ONE, curves=[])],
    "learning_rate": [NOTHING, ONE, with_keys("optimizer.name", "seed")],
    "heat": [NOTHING, ONE, with_keys(RATE), with_keys("optimizer.name", RATE, L2), RANDOM],
    "parallel": [NOTHING, ONE, with_keys(RATE), with_keys("optimizer.name", RATE)],
    "divergence": [NOTHING, ONE, with_keys(RATE), replace(ONE, rows=[replace(ONE.rows[0], status="diverged")])],
    "layers": [NOTHING, replace(ONE, diagnostics=[])],
    "embeddings": [None, *(replace(invented.trained("abc"), params=params) for params in ({}, {"embedding": 1}))],
}  # fmt: skip


# Those of every task, and that of names.
ALL = {**PICTURES, "embeddings": Picture("", "", lambda found: None if found.best is None else show.embeddings(found.best))}


@pytest.mark.parametrize("name", ALL)
def test_a_picture_that_does_not_apply_is_none(name: str) -> None:
    for thing in NOT[name]:
        found = Found(
            thing if isinstance(thing, Results) else NOTHING, thing if isinstance(thing, Verdict) else Verdict(()), None
        )
        found = replace(found, best=thing) if name == "embeddings" else found
        assert ALL[name].draw(found) is None
    assert Names().show(Found(NOTHING, Verdict(()), None)) == []  # where no trial has ended


@pytest.mark.parametrize("name", ALL)
def test_dark_pictures_are_laid_out_as_light_ones(name: str, large: Results) -> None:
    two = with_keys("optimizer.name", RATE)
    two.rows[0] = replace(two.rows[0], score=1e3)  # beyond the end of the bar of colours, which says so
    found = Found(two if name == "heat" else large, invented.verdict(), invented.trained("abc"))
    light = drawn(ALL[name].draw, found)
    dark = drawn(ALL[name].draw, found, look=DARK)
    places = [axes.get_position().bounds for axes in dark.axes]
    with matplotlib.style.context(["default", DARK]):
        again = ALL[name].draw(found)
        assert again is not None
        rendered(laid_out_as(light, again), "svg")
    np.testing.assert_allclose([axes.get_position().bounds for axes in again.axes], places, atol=0.002)


@settings(max_examples=40, deadline=None)
@given(st.text())
def test_text_stays_text(text: str) -> None:
    shown = plain(text)
    assert all(drawable(c) for c in shown)
    assert not shown.startswith("_")  # which would keep a line out of the legend
    assert not is_math_text(shown)
    assert len(short(text).replace(r"\$", "$")) <= SHORT + 1
    assert len(wrapped(text).split("\n")) <= 2


def test_plain_text_of_what_cannot_be_drawn() -> None:
    assert plain("a$b$") == r"a\$b\$"
    assert plain("_x\u202e田") == " _xU+202EU+7530"
    assert short("a" * 100) == "a" * (SHORT - 1) + "…"


# Machado, Oliveira and Fernandes (2009), severity 1: linear RGB as it is seen.
SIGHT = {
    "all three cones": np.eye(3),
    "no long": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no middle": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no short": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(colour: str, sight: Any) -> np.ndarray:
    """CIE L*a*b* of a colour as it is seen; a difference of 2 is just noticed side by side."""
    rgb = np.array(to_rgb(colour))
    linear = np.clip(np.asarray(sight) @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4), 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz / (0.9505, 1, 1.089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize(("palette", "paper"), [(COLOURS, LIGHT["figure.facecolor"]), (ON_DARK, DARK["figure.facecolor"])])
def test_colours_are_told_apart(palette: tuple[str, ...], paper: str, sight: str) -> None:
    for a, b in itertools.combinations((*palette, paper), 2):
        assert np.linalg.norm(lab(a, SIGHT[sight]) - lab(b, SIGHT[sight])) > 14


@pytest.mark.parametrize(("count", "most"), [(3, 6), (6, 6), (7, 6), (12, 6), (100, 2)])
def test_of_many_the_first_the_last_and_some_between_are_shown(count: int, most: int) -> None:
    found = insides.spread(range(count), most)
    assert found == sorted(set(found))
    assert len(found) == min(count, most)
    assert (found[0], found[-1]) == (0, count - 1)
