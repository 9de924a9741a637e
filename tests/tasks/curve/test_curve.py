"""Curve: its points by the formula, least squares beside NumPy's, and a run from its sweep to its report."""

from __future__ import annotations

import csv
import hashlib
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, bytes_of, interrupted, same, same_bits
from numpy.polynomial import Legendre

import jaxgen
from jaxgen import runs
from jaxgen.config import OPTIMIZERS
from jaxgen.fields import UserError, override
from jaxgen.judge.floors import standings
from jaxgen.judge.results import Results
from jaxgen.report.page import report
from jaxgen.search.sweep import Question, Sweep
from jaxgen.tasks.curve import data
from jaxgen.tasks.curve.config import Data
from jaxgen.tasks.curve.descent import OBJECTIVES, conjugate
from jaxgen.tasks.curve.task import CURVE
from jaxgen.tasks.rows import parts_of
from jaxgen.train import optimizers
from jaxgen.train import trial as trials

pytestmark = pytest.mark.usefixtures("compiled_quickly")

DEGREES = range(1, 10)


def config(**values: Any) -> Any:
    small = {"model.hidden": 4, "train.steps": 40, "train.eval_every": 20}
    return override(CURVE.config(), {**small, **{key.replace("__", "."): value for key, value in values.items()}})


# Points. --------------------------------------------------------------------------------------------------------------------


def test_points_are_of_the_formula() -> None:
    quiet, loud, other = map(data.split, (Data(noise=0.0), Data(noise=0.5), Data(noise_seed=7)))
    for part, count in (("train", 10), ("validation", 2_000), ("test", 10_000)):
        x, y = getattr(quiet, part)
        assert (x.shape, y.shape) == ((count, 1), (count,))
        np.testing.assert_allclose(y, np.sin(2 * math.pi * x[:, 0].astype(float)), atol=1e-6)
        again, noisy = getattr(loud, part)
        assert same_bits(x, again)
        assert np.std(noisy - y) == pytest.approx(0.5, rel=4 / math.sqrt(2 * count))
    np.testing.assert_allclose(quiet.train[0][:, 0], np.arange(10) / 9, rtol=1e-6)
    assert same_bits(other[1:3], data.split(Data())[1:3])
    assert not same_bits(other.train, data.split(Data()).train)


def test_the_basis_is_legendres_and_of_one_size() -> None:
    places, weights = np.polynomial.legendre.leggauss(20)
    x = (places + 1) / 2
    found = np.array(data.basis(x, 9))
    expected = [math.sqrt(2 * k + 1) * Legendre.basis(k, domain=[0, 1])(x) for k in DEGREES]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found * weights / 2 @ found.T, np.eye(9), atol=1e-12)


@pytest.mark.parametrize("degree", DEGREES)
def test_least_squares_is_numpys(degree: int) -> None:
    x, y = (part.astype(float) for part in data.split(Data()).train)
    places = np.linspace(0, 1, 50)
    expected = np.polynomial.Polynomial.fit(x[:, 0], y, degree)(places)
    np.testing.assert_allclose(data.least_squares((x, y), degree)(places[:, None]), expected, atol=1e-9)


def test_a_penalty_is_what_descent_would_minimize() -> None:
    x, y = (part.astype(float) for part in data.split(Data()).train)
    found = data.least_squares((x, y), 5, l2=0.1)
    columns = np.column_stack(data.basis(x[:, 0], 5))
    off = found(x) - y
    np.testing.assert_allclose(2 * columns.T @ off / len(y) + 0.1 * found.weights, 0, atol=1e-12)
    assert off.mean() == pytest.approx(0)


def test_errors_are_those_of_the_course() -> None:
    """Means over 400 draws beside those over 2,000, of ten points with noise 0.3, which scikit-learn found on another basis."""
    known = {1: (0.574, 0.571), 3: (0.235, 0.353), 5: (0.178, 0.367)}
    found: dict[int, list[tuple[float, float]]] = {degree: [] for degree in known}
    for seed in range(400):
        parts = data.split(Data(noise_seed=seed))
        for degree in known:
            fit = data.least_squares(parts.train, degree)
            losses = data.measured({"train": parts.train, "val": parts.validation}, fit)
            found[degree].append((math.sqrt(losses["train_loss"]), math.sqrt(losses["val_loss"])))
    for degree, means in known.items():
        np.testing.assert_allclose(np.mean(found[degree], 0), means, atol=0.012)


def test_floors_are_the_mean_and_the_best_degree() -> None:
    parts = data.split(Data())
    (x, y), (places, heights) = parts.train, parts.validation
    fits = {d: np.polynomial.Polynomial.fit(x[:, 0].astype(float), y.astype(float), d)(places[:, 0]) for d in DEGREES}
    losses = {degree: np.mean((said - heights) ** 2) for degree, said in fits.items()}
    best = min(losses, key=lambda degree: losses[degree])
    (mean, level), (solved, fit) = data.floors(parts).items()
    assert mean == "the mean of the training points"
    assert level["val_loss"] == pytest.approx(np.mean((heights - y.mean()) ** 2), rel=1e-6)
    assert level["test_absolute_error"] == pytest.approx(np.mean(np.abs(parts.test[1] - y.mean())), rel=1e-6)
    assert solved == f"least squares of degree {best}"
    assert fit["val_loss"] == pytest.approx(losses[best], rel=1e-6)


# Files. ---------------------------------------------------------------------------------------------------------------------


def test_a_step_and_points_that_are_far_off() -> None:
    quiet = data.split(Data(path="step", noise=0.0, points=20))
    assert quiet.train[1].tolist() == [-1.0] * 10 + [1.0] * 10
    far = data.split(Data(path="step", noise=0.0, points=20, outliers=0.2))
    off = far.train[1] - quiet.train[1]
    assert sorted(np.abs(off).tolist()) == [0.0] * 16 + [3.0] * 4
    assert same_bits(far[1:3], quiet[1:3])


@pytest.mark.parametrize("name", data.SHA256)
def test_bundled_files_are_those_that_are_described(name: str) -> None:
    assert hashlib.sha256((ROOT / "data" / name).read_bytes()).hexdigest() == data.SHA256[name]
    assert all(data.SHA256[name] in (ROOT / "data" / said).read_text() for said in ("README.md", "build.py"))


def test_sunspots_are_told_from_the_years_before_and_cut_as_in_the_literature() -> None:
    rows = list(csv.reader((ROOT / "data" / "sunspots.csv").read_text().splitlines()))[1:]
    spots = {int(year): float(count) for year, count in rows}
    parts = data.split(Data(path="sunspots", lags=3))
    for part, first, last in zip(parts[:3], (1703, 1921, 1956), (1920, 1955, 1979), strict=True):
        np.testing.assert_allclose(part[1], [spots[year] for year in range(first, last + 1)], rtol=1e-6)
        np.testing.assert_allclose(part[0][-1], [spots[last - 3], spots[last - 2], spots[last - 1]], rtol=1e-6)
    found = data.floors(data.split(Data(path="sunspots", lags=12)), series=True)
    # Of the series' variance, which the literature divides by: 1535 (Weigend et al. 1990).
    assert found["the value before"]["val_loss"] / 1535 == pytest.approx(0.43, abs=0.02)
    assert found["the value before"]["test_loss"] / 1535 == pytest.approx(0.97, abs=0.04)


def test_what_has_the_same_inputs_comes_into_one_part() -> None:
    parts = data.split(Data(path="concrete"))
    seen = [{row.tobytes() for row in part[0]} for part in parts[:3]]
    assert len(set.union(*seen)) == sum(map(len, seen))
    assert sum(len(part[1]) for part in parts[:3]) == 1030
    assert len(seen[2]) == pytest.approx(0.1 * sum(map(len, seen)), abs=1)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("price,size,age\n" + "".join(f"{3 * i},{i},{i % 4}\n" for i in range(40)))
    found = data.read(str(tmp_path / "own.csv"), "price", 12)
    assert (found.columns, found.target, found.series) == (("size", "age"), "price", False)
    assert found.points.y.tolist() == [3.0 * i for i in range(40)]
    (tmp_path / "series.csv").write_text("".join(f"{i}\n" for i in range(30)))
    found = data.read(str(tmp_path / "series.csv"), None, 4)
    assert found.series
    assert (found.points.x[0].tolist(), found.points.y[0]) == ([0.0, 1.0, 2.0, 3.0], 4.0)


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("a,b\n1,0\nx,1\n", None, "row 2 of .* holds 'x'"),
        ("a,b\n1,0\n2\n", None, "columns"),
        ("a,b\n1,0\n2,1\n", "c", "has no column 'c'"),
        ("1\n2\n3\n", None, "the series in .* has 3 values; expected 22"),
        ("", None, "columns"),
    ],
)
def test_what_is_no_table_is_refused(text: str, column: str | None, says: str, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(UserError, match=says):
        data.read(str(tmp_path / "own.csv"), column, 12)
    with pytest.raises(UserError, match="there are no points"):
        data.read(str(tmp_path / "nothing.csv"), None, 12)


def test_floors_of_a_table_are_scikit_learns() -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.preprocessing import StandardScaler

    parts = data.split(Data(path="concrete"))
    (x, y), (held, heights) = parts.train, parts.validation
    linear = LinearRegression().fit(x, y).predict(held)
    unit = data.to_unit(x)
    np.testing.assert_allclose(data.least_squares((unit(x), y), 1)(unit(held)), linear, rtol=1e-3, atol=1e-3)
    found = data.floors(parts)
    scaler = StandardScaler().fit(x)
    near = {k: KNeighborsRegressor(k).fit(scaler.transform(x), y).predict(scaler.transform(held)) for k in data.NEIGHBOURS}
    name = next(name for name in found if "neighbour" in name)
    assert found[name]["val_loss"] == pytest.approx(min(np.mean((s - heights) ** 2) for s in near.values()), rel=0.03)


# Descent. -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objectives_are_scipys(objective: str) -> None:
    from scipy.special import huber

    off = np.random.default_rng(0).normal(size=50)
    known = {"squared_error": off**2, "absolute_error": np.abs(off), "huber": huber(0.7, off)}
    np.testing.assert_allclose(OBJECTIVES[objective](jnp.asarray(off), 0.7), known[objective], rtol=1e-5)


@pytest.mark.parametrize("method", ["newton", "gauss_newton"])
def test_one_second_order_step_on_a_polynomial_is_least_squares(method: str) -> None:
    """Of squared errors that are linear in the weights both methods are exact; a damping is a penalty on the step."""
    base = config(model__family="polynomial", train__method=method, train__damping=0.0, optimizer__name="sgd")
    task = CURVE.opened(base.data)
    functions, rows = task.functions(), parts_of(CURVE, base.data).train
    numbers = optimizers.lower(override(base, {"optimizer.learning_rate": 1.0}), 10, count=1)
    state = trials.init(functions, numbers, trials.stream(3, trials.Stream.START))
    new = jax.jit(lambda s: trials.update(functions, numbers, s, rows)[0])(state)
    solved = data.least_squares(rows, base.model.degree)
    np.testing.assert_allclose(new.params["dense_0"]["kernel"][:, 0], solved.weights, atol=1e-5)
    assert float(new.params["dense_0"]["bias"][0]) == pytest.approx(solved.bias, abs=1e-5)


def test_conjugate_gradients_are_numpys_and_lead_down() -> None:
    """The inverse of a matrix that bends up; of one that does not, what the slope leads down along, too."""
    source = np.random.default_rng(0)
    values, slope = source.normal(size=(12, 12)), source.normal(size=12).astype(np.float32)
    up = (values @ values.T + np.eye(12)).astype(np.float32)

    def along(matrix: np.ndarray) -> Any:
        return conjugate(lambda x: jnp.asarray(matrix) @ x, jnp.asarray(slope), 40)

    np.testing.assert_allclose(along(up), np.linalg.solve(up, slope), rtol=2e-3)
    for matrix in ((values + values.T).astype(np.float32), -up):
        assert float(along(matrix) @ slope) > 0
    np.testing.assert_array_equal(along(-up), slope)


def test_gauss_newton_is_numpys() -> None:
    """A step of a small network, beside the Jacobian in float64 by differences."""
    base = config(model__hidden=2, train__method="gauss_newton", train__damping=0.1, optimizer__name="sgd")
    task = CURVE.opened(base.data)
    functions, (x, y) = task.functions(), parts_of(CURVE, base.data).train
    numbers = optimizers.lower(override(base, {"optimizer.learning_rate": 1.0}), 10, count=1)
    state = trials.init(functions, numbers, trials.stream(3, trials.Stream.START))
    leaves, structure = jax.tree.flatten(state.params)
    start = np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in leaves])
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def outputs(at: Any) -> Any:
        parts = [a.reshape(b.shape) for a, b in zip(np.split(at, ends), leaves, strict=True)]
        p = jax.tree.unflatten(structure, parts)
        hidden = np.tanh((2 * np.asarray(x, np.float64) - 1) @ p["dense_0"]["kernel"] + p["dense_0"]["bias"])
        return (hidden @ p["dense_1"]["kernel"] + p["dense_1"]["bias"])[:, 0]

    jacobian = np.array([(outputs(start + d) - outputs(start - d)) / 2e-6 for d in 1e-6 * np.eye(len(start))]).T
    slope = 2 * jacobian.T @ (outputs(start) - y) / len(y)
    expected = np.linalg.solve(2 * jacobian.T @ jacobian / len(y) + 0.1 * np.eye(len(start)), slope)
    new = jax.jit(lambda s: trials.update(functions, numbers, s, (x, y))[0])(state)
    moved = start - np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(new.params)])
    np.testing.assert_allclose(moved, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"train__method": "newton", "regularizer__l2": 0.1}, "knows nothing of regularizer"),
        ({"train__method": "gauss_newton", "train__objective": "huber"}, "is of squared errors"),
        ({"model__family": "least_squares", "train__objective": "huber"}, "alone"),
    ],
)
def test_what_does_not_go_together_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        runs.run(Sweep(config(**values)), CURVE)


# Runs. ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    """Least squares of several degrees, and networks by every optimizer; each on two draws of the noise."""
    solved = jaxgen.grid(config(), {"model.family": ["least_squares"], "model.degree": [1, 3, 9], "data.noise_seed": [0, 1]})
    axes = {"model.family": ["mlp"], "optimizer.name": list(OPTIMIZERS), "data.noise_seed": [0, 1]}
    return solved + jaxgen.grid(config(), axes)


@pytest.fixture(scope="module")
def run(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    out = tmp_path_factory.mktemp("curve") / "run"
    return runs.run(sweep, CURVE, out, width=8, chunk=4, question=Question("draws", verdict="draws")), out


def test_what_is_solved_is_what_numpy_solves(run: tuple[Results, Path]) -> None:
    results, _ = run
    assert results.programs == 1  # of the networks, whatever their optimizers and points
    solved = [row for row in results.rows if row.values["model.family"] == "least_squares"]
    assert len(solved) == 6
    for row in solved:
        parts = parts_of(CURVE, results.trained(row.trial).config.data)
        degree = int(row.values["model.degree"] or 0)
        fit = np.polynomial.Polynomial.fit(parts.train[0][:, 0].astype(float), parts.train[1], degree)
        for name, part in (("train", parts.train), ("val", parts.validation), ("test", parts.test)):
            off = fit(part[0][:, 0].astype(float)) - part[1]
            assert row.metrics[f"{name}_loss"] == pytest.approx(np.mean(off**2), rel=1e-3, abs=1e-9)
            assert row.metrics[f"{name}_absolute_error"] == pytest.approx(np.mean(np.abs(off)), rel=1e-3, abs=1e-5)
        (curve,) = (curve for curve in results.curves if curve.trial == row.trial)
        assert curve.metrics["val_loss"] == pytest.approx(row.val_loss)  # of as many points, though there are few to train on
        assert curve.metrics["train_loss"] == pytest.approx(row.train_loss)
        assert row.params == degree + 1


def test_interrupted_and_resumed_it_is_the_same(sweep: Sweep, run: tuple[Results, Path], tmp_path: Path) -> None:
    """Among what is solved, and among networks."""
    how: dict[str, Any] = {"width": 8, "chunk": 4, "question": Question("draws", verdict="draws")}
    assert same(bytes_of(run[1]), bytes_of(interrupted(sweep, CURVE, tmp_path / "run", [3, 8], **how)))


@pytest.mark.parametrize("family", ["least_squares", "mlp"])
def test_exported_it_says_the_same(family: str, run: tuple[Results, Path], tmp_path: Path) -> None:
    results, out = run
    row = next(row for row in results.rows if row.values["model.family"] == family)
    found = jaxgen.load(jaxgen.export(jaxgen.load(out, row.trial), tmp_path / "one"))
    x, y = parts_of(CURVE, found.config.data).test
    said = jaxgen.predict(found, x)
    assert said.shape == (10_000,)
    assert np.mean((said - y) ** 2) == pytest.approx(row.test_loss, rel=1e-5)
    np.savetxt(tmp_path / "x.csv", x, header="x", comments="")
    np.testing.assert_allclose(jaxgen.predict(found, found.task.inputs(tmp_path / "x.csv")), said, atol=1e-6)
    head, rows = found.task.answers(said[:2])
    assert list(head) == ["output"]
    assert [float(value) for (value,) in rows] == pytest.approx(said[:2].tolist(), rel=1e-5)


def test_arms_are_compared_over_draws(run: tuple[Results, Path]) -> None:
    results, out = run
    sentences = results.verdict().sentences
    assert any("2 draws" in sentence for sentence in sentences)
    assert not any("noise seed" in sentence for sentence in sentences)
    assert sentences[-1].startswith("Mean errors on training and on test points: ")
    assert jaxgen.load_results(out).verdict().sentences == sentences
    page = report(out).read_text(encoding="utf-8")
    assert "The best trial&#39;s curve" in page
    assert (out / "plots" / "curve.png").exists()
    stands = standings(CURVE, results)
    assert [sentence.partition(":")[0] for sentence in stands] == ["With data.noise_seed 0", "With data.noise_seed 1"]
    assert all("least squares of degree" in sentence for sentence in stands)


def test_descent_comes_to_least_squares() -> None:
    values = {"model__family": "polynomial", "train__steps": 400, "train__eval_every": 400, "optimizer__learning_rate": 0.1}
    results = runs.run(Sweep(config(**values, model__degree=3)), CURVE, width=1, chunk=1, devices=1)
    train = parts_of(CURVE, results.sweep.base.data).train
    solved = data.least_squares(train, 3)
    found = results.best().params["dense_0"]
    np.testing.assert_allclose(found["kernel"][:, 0], solved.weights, atol=1e-3)
    assert found["bias"][0] == pytest.approx(solved.bias, abs=1e-3)


def test_a_penalty_that_least_squares_has_not_is_refused() -> None:
    with pytest.raises(UserError, match=r"regularizer\.l2 alone"):
        runs.run(Sweep(config(model__family="least_squares", regularizer__l1=0.1)), CURVE)


@pytest.mark.parametrize(
    ("values", "params"), [({"model__family": "polynomial", "model__degree": 6}, 7), ({"model__depth": 2}, 33)]
)
def test_networks_have_so_many_parameters(values: dict[str, Any], params: int) -> None:
    task = CURVE.opened(CURVE.config().data)
    shapes, _ = jax.eval_shape(lambda: task.functions().init(config(**values), jax.random.key(0)))
    assert sum(math.prod(x.shape) for x in jax.tree.leaves(shapes)) == params


@pytest.mark.parametrize("path", [pytest.param("sunspots", marks=pytest.mark.long), "concrete"])
def test_real_rows_are_learnt_and_predicted_in_their_own_units(path: str, tmp_path: Path) -> None:
    """What is solved is what NumPy solves on the file; a network exports, and says the same; and pictures are drawn."""
    base = config(
        data__path=path, model__scaling="standard", train__steps=200, train__batch_size=32, optimizer__learning_rate=0.02
    )
    networks = {"model.family": ["mlp"], "optimizer.name": ["adam", "optax.lbfgs"] if path == "concrete" else ["adam"]}
    sweep = jaxgen.grid(base, {"model.family": ["least_squares"], "model.degree": [1]}) + jaxgen.grid(base, networks)
    results = runs.run(sweep, CURVE, tmp_path / "run", width=1, chunk=1, devices=1)
    (x, y), _, (held, heights) = parts_of(CURVE, base.data)[:3]
    solved = np.linalg.lstsq(np.column_stack([np.ones(len(x)), x]).astype(np.float64), y.astype(np.float64))[0]
    off = np.column_stack([np.ones(len(held)), held]) @ solved - heights
    rows = {row.trial: row for row in results.rows}
    assert rows[0].test_loss == pytest.approx(np.mean(off**2), rel=1e-3)
    assert rows[1].val_loss < np.var(y)
    found = jaxgen.load(jaxgen.export(jaxgen.load(tmp_path / "run", 1), tmp_path / "one"))
    said = jaxgen.predict(found, held)
    assert np.mean((said - heights) ** 2) == pytest.approx(rows[1].test_loss, rel=1e-4)
    report(tmp_path / "run")
    assert (tmp_path / "run" / "plots" / "curve.png").exists()
