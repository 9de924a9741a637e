"""Points: the sets beside their formulas and scikit-learn, rules beside NumPy, and a run from its sweep to its report."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from conftest import ROOT, bytes_of, interrupted, same, same_bits

import jaxgen
from jaxgen import runs
from jaxgen.fields import UserError, override
from jaxgen.judge.floors import standings
from jaxgen.judge.results import Results
from jaxgen.report.page import report
from jaxgen.search.sweep import Sweep
from jaxgen.tasks.points import data, floors
from jaxgen.tasks.points.config import MADE, Data
from jaxgen.tasks.points.show import frames, plane
from jaxgen.tasks.points.task import POINTS
from jaxgen.tasks.rows import parts_of
from jaxgen.testing import check
from jaxgen.train import optimizers
from jaxgen.train import trial as trials

pytestmark = pytest.mark.usefixtures("compiled_quickly")

SMALL = {"model.hidden": 4, "train.steps": 40, "train.eval_every": 20, "train.batch_size": 16}


def config(**values: Any) -> Any:
    return override(POINTS.config(), {**SMALL, **{key.replace("__", "."): value for key, value in values.items()}})


# Points. --------------------------------------------------------------------------------------------------------------------


def test_moons_and_circles_are_scikit_learns() -> None:
    """Without noise every point lies on the curve that scikit-learn's lie on, and each half has as many."""
    from sklearn.datasets import make_circles, make_moons

    for name, known in (("moons", make_moons(2000)), ("circles", make_circles(2000, factor=0.5))):
        found = data.points(name, 500, 0.0, 0)
        assert 0.4 < found.y.mean() < 0.6
        for kind in (0, 1):
            mine, theirs = found.x[found.y == kind], known[0][known[1] == kind]
            nearest = np.sqrt(((mine[:, None] - theirs[None]) ** 2).sum(-1)).min(1)
            assert nearest.max() < 0.01


def test_spirals_are_two_arms_and_a_line_is_one() -> None:
    found = data.points("spirals", 300, 0.0, 0)
    radius = np.hypot(*found.x.T)
    angle = np.arctan2(found.x[:, 1], found.x[:, 0]) - math.pi * found.y
    np.testing.assert_allclose(np.cos(angle - 2 * math.pi * data.TURNS * radius / 2), 1, atol=1e-4)
    line = data.points("line", 300, 0.0, 0)
    assert (((line.x @ [1, 2]) > 0) == line.y).all()


@pytest.mark.parametrize("name", MADE)
def test_noise_is_of_the_size_that_it_says_and_held_out_points_stay(name: str) -> None:
    quiet, loud, other = (
        data.split(Data(path=name, noise=noise, noise_seed=seed)) for noise, seed in ((0.0, 42), (0.5, 42), (0.2, 7))
    )
    off = loud.train[0] - quiet.train[0]
    assert np.std(off) == pytest.approx(0.5, rel=4 / math.sqrt(2 * off.size))
    assert same_bits(loud.train[1], quiet.train[1])
    assert same_bits(other[1:3], data.split(Data(path=name))[1:3])
    assert not same_bits(other.train, data.split(Data(path=name)).train)


def test_tumours_are_scikit_learns() -> None:
    from sklearn.datasets import load_breast_cancer

    assert hashlib.sha256((ROOT / "data" / data.FILE).read_bytes()).hexdigest() == data.SHA256
    assert data.SHA256 in (ROOT / "data" / "README.md").read_text()
    assert data.SHA256 in (ROOT / "data" / "build.py").read_text()
    found = data.read("cancer", None)
    known: Any = load_breast_cancer()
    np.testing.assert_allclose(found.points.x, known.data, rtol=1e-6)
    np.testing.assert_array_equal(found.points.y, known.target)
    assert found.kinds == tuple(known.target_names)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("kind,height,width\nno,1,2\nyes,3,4.5\nno,5,-6\n")
    found = data.read(str(tmp_path / "own.csv"), "kind")
    assert (found.kinds, found.columns) == (("no", "yes"), ("height", "width"))
    assert found.points.x.tolist() == [[1, 2], [3, 4.5], [5, -6]]
    assert found.points.y.tolist() == [0, 1, 0]
    (tmp_path / "bare.csv").write_text("1,2,10\n3,4,2\n5,6,2\n")
    assert data.read(str(tmp_path / "bare.csv"), None).points.y.tolist() == [1, 0, 0]
    assert data.read(str(tmp_path / "bare.csv"), "3").kinds == ("2", "10")


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("a,b\n1,0\n2,1\n3,2\n", None, "3 different values"),
        ("a,b\n1,0\nx,1\n", None, "row 2 of .* holds 'x'"),
        ("a,b\n1,0\nnan,1\n", None, "row 2 of .* holds 'nan'"),
        ("a,b\n1,0\n2\n", None, "columns"),
        ("a\n1\n", None, "2 or more columns"),
        ("a,b\n1,0\n2,1\n", "c", "has no column 'c'"),
        ("", None, "columns"),
    ],
)
def test_what_is_no_table_of_points_is_refused(text: str, column: str | None, says: str, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(UserError, match=says):
        data.read(str(tmp_path / "own.csv"), column)
    with pytest.raises(UserError, match="there are no points"):
        data.read(str(tmp_path / "nothing.csv"), None)


# Floors. --------------------------------------------------------------------------------------------------------------------


def test_floors_are_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    parts = parts_of(POINTS, config(data__path="cancer").data)
    train, held = (data.Points(*part) for part in (parts.train, parts.validation))
    middle, size = train.x.mean(0), train.x.std(0)
    x, other = ((part.x - middle) / size for part in (train, held))
    solved = LogisticRegression(C=1 / (1e-2 * len(x)), tol=1e-8, max_iter=10_000).fit(x, train.y)
    weights, bias = floors.newton(x, train.y, 1e-2)
    np.testing.assert_allclose(weights, solved.coef_[0], rtol=2e-3, atol=2e-3)
    assert bias == pytest.approx(solved.intercept_[0], rel=2e-3)
    found = floors.floors(parts)
    assert found["the more frequent kind"]["val_accuracy"] == pytest.approx(held.y.mean())
    logistic = found["logistic regression by Newton's method"]
    assert logistic["val_accuracy"] == pytest.approx(solved.score(other, held.y), abs=3 / len(held.y))  # penalized less
    right = {k: KNeighborsClassifier(k).fit(x, train.y).score(other, held.y) for k in floors.NEIGHBOURS}
    name = next(name for name in found if "neighbour" in name)
    assert found[name]["val_accuracy"] == pytest.approx(max(right.values()), abs=1 / len(held.y))


# Networks. ------------------------------------------------------------------------------------------------------------------


def test_a_perceptron_moves_by_rosenblatts_rule() -> None:
    """Beside a loop in float64: of each point of the batch that is said wrong, its inputs towards its kind, as a mean."""
    base = config(data__path="line", model__family="perceptron", optimizer__name="sgd", optimizer__learning_rate=0.5)
    task = POINTS.opened(base.data)
    functions, (x, y) = task.functions(), parts_of(POINTS, base.data).train
    numbers = optimizers.lower(base, len(y), count=40)
    state = trials.init(functions, numbers, trials.stream(0, trials.Stream.START))
    step = jax.jit(lambda s, b: trials.update(functions, numbers, s, b)[0])
    weights, bias = np.zeros(2), 0.0
    middle, size = x.astype(float).mean(0), x.astype(float).std(0)
    for first in range(0, 160, 16):
        batch = x[first : first + 16], y[first : first + 16]
        state = step(state, batch)
        slope, shift = np.zeros(2), 0.0
        for row, kind in zip((batch[0] - middle) / size, batch[1], strict=True):
            towards = 1.0 if kind == 1 else -1.0
            if towards * (row @ weights + bias) <= 0:
                slope, shift = slope + towards * row, shift + towards
        weights, bias = weights + 0.5 * slope / 16, bias + 0.5 * shift / 16
        np.testing.assert_allclose(state.params["dense_0"]["kernel"][:, 0], weights, atol=1e-5)
        assert float(state.params["dense_0"]["bias"][0]) == pytest.approx(bias, abs=1e-5)


@pytest.mark.parametrize("objective", ["cross_entropy", "squared_error"])
def test_gradients_are_those_of_the_formula(objective: str) -> None:
    """Of logistic regression, beside NumPy in float64."""
    base = config(model__family="logistic", train__objective=objective, model__scaling="range")
    task = POINTS.opened(base.data)
    x, y = (part[:50] for part in parts_of(POINTS, base.data).train)
    params = {"dense_0": {"kernel": np.array([[0.3], [-0.7]], np.float32), "bias": np.array([0.2], np.float32)}}
    numbers = optimizers.lower(base, 200, count=1)
    functions = task.functions()
    state = trials.init(functions, numbers, trials.stream(0, trials.Stream.START))._replace(params=params)
    _, _, slopes, _ = jax.jit(lambda state: trials.descent(functions, numbers, state, (x, y)))(state)
    assert functions.loss is not None
    found, _ = functions.loss(numbers, params, {}, (x, y), jax.random.key(0), 0)
    whole = parts_of(POINTS, base.data).train[0].astype(float)
    low, high = whole.min(0), whole.max(0)
    rows = (x - (high + low) / 2) / ((high - low) / 2)
    share = 1 / (1 + np.exp(-(rows @ [0.3, -0.7] + 0.2)))
    off = (share - y) * (1 if objective == "cross_entropy" else 2 * share * (1 - share))
    np.testing.assert_allclose(slopes["dense_0"]["kernel"][:, 0], rows.T @ off / 50, atol=1e-6)
    assert float(slopes["dense_0"]["bias"][0]) == pytest.approx(off.mean(), abs=1e-6)
    wanted = (share - y) ** 2 if objective == "squared_error" else -np.log(np.where(y == 1, share, 1 - share))
    np.testing.assert_allclose(found.values, wanted, atol=1e-5)


def test_a_perceptron_keeps_every_promise() -> None:
    assert check(POINTS, config(model__family="perceptron"))


def test_an_objective_is_not_a_perceptrons() -> None:
    with pytest.raises(UserError, match="a rule of its own"):
        runs.run(Sweep(config(model__family="perceptron", train__objective="squared_error")), POINTS)


# A run. ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    out = tmp_path_factory.mktemp("points") / "run"
    axes = {"optimizer.name": ["sgd", "adam"], "optimizer.learning_rate": [1e-2, 1e-1], "seed": [0, 1]}
    return runs.run(jaxgen.grid(config(train__steps=200), axes), POINTS, out, width=4, chunk=2), out


def test_it_learns_in_one_program(run: tuple[Results, Path]) -> None:
    results, out = run
    assert results.programs == 1
    assert results.best_row().metrics["val_accuracy"] > 0.85
    head = (out / "results.csv").read_text().splitlines()[0].split(",")
    assert head[-5:] == ["train_loss", "val_loss", "test_loss", "val_accuracy", "test_accuracy"]
    (stands,) = standings(POINTS, results)
    assert stands.startswith("The floor without a network, ")


def test_interrupted_and_resumed_it_is_the_same(run: tuple[Results, Path], tmp_path: Path) -> None:
    results, out = run
    assert same(bytes_of(out), bytes_of(interrupted(results.sweep, POINTS, tmp_path / "run", [3], width=4, chunk=2)))


def test_exported_it_says_the_same(run: tuple[Results, Path], tmp_path: Path) -> None:
    results, out = run
    best = jaxgen.load(jaxgen.export(jaxgen.load(out), tmp_path / "best"))
    x, y = parts_of(POINTS, best.config.data).test
    scores = jaxgen.predict(best, x)
    row = results.best_row()
    assert np.mean((scores > 0) == y) == pytest.approx(row.metrics["test_accuracy"])
    share = 1 / (1 + np.exp(-scores.astype(float)))
    assert -np.log(np.where(y == 1, share, 1 - share)).mean() == pytest.approx(row.test_loss, rel=1e-5)
    head, rows = best.task.answers(scores[:2])
    assert list(head) == ["class", "p_0", "p_1"]
    assert [float(row[2]) for row in rows] == pytest.approx(share[:2].tolist(), abs=1e-6)


def test_the_report_shows_how_the_boundary_came_there(run: tuple[Results, Path]) -> None:
    results, out = run
    page = report(out).read_text(encoding="utf-8")
    assert "How the boundary came there" in page
    assert {"boundary.png", "frames.png"} <= {path.name for path in (out / "plots").iterdir()}
    best = results.best()
    places, _ = plane(parts_of(POINTS, best.config.data).train[0])
    last = frames(POINTS, best, places, [0, results.best_row().best_step])[-1]
    np.testing.assert_allclose(last, 1 / (1 + np.exp(-jaxgen.predict(best, places))), atol=2e-3)  # trained again, alone
