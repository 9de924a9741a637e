"""Ratings: files as they are, floors and networks beside NumPy in float64, and a run from its sweep to what it recommends."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from conftest import ROOT, bytes_of, float64, interrupted, same

import jaxgen
from jaxgen import runs
from jaxgen.fields import UserError, override
from jaxgen.judge.floors import standings
from jaxgen.judge.results import Results
from jaxgen.report.page import report
from jaxgen.search.sweep import Sweep, groups
from jaxgen.tasks.ratings import data, floors
from jaxgen.tasks.ratings.config import Data
from jaxgen.tasks.ratings.model import embeddings
from jaxgen.tasks.ratings.show import nearest, principal
from jaxgen.tasks.ratings.task import RATINGS
from jaxgen.tasks.rows import parts_of
from jaxgen.train import lookup
from jaxgen.train import trial as trials

pytestmark = pytest.mark.usefixtures("compiled_quickly")

SMALL = {"model.embedding": 3, "model.hidden": 4, "train.steps": 40, "train.eval_every": 20, "train.batch_size": 16}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4,000 votes of the first hundred roll calls, as MovieLens has its ratings: a head, and a column more."""
    with gzip.open(ROOT / "data" / data.FILE, "rt") as file:
        rows = [row for row in list(csv.reader(file))[1:] if int(row[1]) <= 100]
    chosen = np.random.default_rng(0).permutation(len(rows))[:4000]
    path = tmp_path_factory.mktemp("ratings") / "votes.csv"
    lines = [",".join([*rows[place], str(place)]) for place in chosen]
    path.write_text("\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    return path


def config(path: Path | str, **values: Any) -> Any:
    own = {key.replace("__", "."): value for key, value in values.items()}
    return override(RATINGS.config(), {**SMALL, "data.path": str(path), **own})


# Read. ----------------------------------------------------------------------------------------------------------------------


def test_votes_are_those_of_the_file() -> None:
    content = (ROOT / "data" / data.FILE).read_bytes()
    assert hashlib.sha256(content).hexdigest() == data.SHA256
    assert all(data.SHA256 in (ROOT / "data" / name).read_text() for name in ("README.md", "build.py"))
    found = data.read("senate109")
    rows = list(csv.reader(gzip.decompress(content).decode().splitlines()))[1:]
    assert (len(found.users), len(found.items), found.levels, len(rows)) == (102, 645, (0.0, 1.0), 62_857)
    pairs, ratings = found.ratings
    for place in range(0, len(rows), 997):
        user, item, yea = rows[place]
        assert (found.users[pairs[place, 0]], found.items[pairs[place, 1]], ratings[place]) == (user, item, float(yea))
    assert found.items[:3] == ("1", "2", "3")  # numbers by their size, though they are names


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    lines = [f"u{i % 4}\ti{i % 3}\t{1 + i % 5 / 2}" for i in range(24)]
    (tmp_path / "own.tsv").write_text("\n".join([*lines, "u0\ti0\t9"]))
    found = data.read(str(tmp_path / "own.tsv"))
    last = {tuple(line.split("\t")[:2]): float(line.split("\t")[2]) for line in [*lines, "u0\ti0\t9"]}
    mine = {(found.users[u], found.items[i]): r for (u, i), r in zip(found.ratings.pairs, found.ratings.ratings, strict=True)}
    assert mine == last
    assert data.gap(found.levels) == 0.5
    (tmp_path / "own.dat").write_text("\n".join(line.replace("\t", "::") + "::978300760" for line in lines))
    assert data.read(str(tmp_path / "own.dat")).users == found.users


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("u,i\na,b\n", "2 columns"),
        ("user,item,rating\na,b,good\n", "row 1 of .* has the rating 'good'"),
        ("a,b,1\na,c,nan\n", "row 2 of .* has the rating 'nan'"),
        ("user,item,rating\n", "0 ratings"),
        ("".join(f"a,{i},3\n" for i in range(20)), "20 ratings of 1 different"),
    ],
)
def test_what_is_no_file_of_ratings_is_refused(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(UserError, match=says):
        data.read(str(tmp_path / "own.csv"))
    with pytest.raises(UserError, match="there are no ratings"):
        data.read(str(tmp_path / "nothing.csv"))


# Floors. --------------------------------------------------------------------------------------------------------------------


def test_floors_are_those_of_the_course() -> None:
    """Accuracy and RMSE beside those that others measured on the same file, by other splits (3 seeds)."""
    task = RATINGS.opened(Data())
    found = task.floors(parts_of(RATINGS, Data()))
    known = {
        "the mean of all ratings": (0.635, 0.481),
        "the item's mean": (0.694, 0.421),
        "what item and user are off the mean": (0.767, 0.410),
        "the majority of one's own party": (0.892, 0.328),
    }
    for name, (accuracy, rmse) in known.items():
        assert found[name]["test_accuracy"] == pytest.approx(accuracy, abs=0.012), name
        assert found[name]["test_rmse"] == pytest.approx(rmse, abs=0.004), name
    assert 0.24 < found["users that rate alike"]["test_rmse"] < 0.26


def test_means_biases_and_neighbours_are_those_of_the_formulas() -> None:
    """Beside loops in float64, on ratings of 6 users and 5 items."""
    source = np.random.default_rng(0)
    cells = source.permutation(30)[:22]
    train = data.Ratings(np.stack(np.divmod(cells, 5), 1).astype(np.int32), source.integers(1, 6, 22).astype(np.float32))
    every = data.Ratings(np.stack(np.divmod(np.arange(30), 5), 1).astype(np.int32), np.zeros(30, np.float32))
    given = {(int(u), int(i)): float(r) for (u, i), r in zip(train.pairs, train.ratings, strict=True)}
    mean, pull = sum(given.values()) / 22, 2.0

    def off(of: Any) -> float:
        found = [*of]
        return sum(found) / (len(found) + pull)

    items = [off(r - mean for (_, i), r in given.items() if i == item) for item in range(5)]
    users = [off(r - mean - items[i] for (u, i), r in given.items() if u == user) for user in range(6)]
    base = {(u, i): mean + items[i] + users[u] for u in range(6) for i in range(5)}
    np.testing.assert_allclose(floors.means(train, (6, 5), 1, pull)(every), [mean + items[i] for _, i in base], rtol=1e-6)
    found = floors.biases(train, (6, 5), pull)
    np.testing.assert_allclose(found(every), [*base.values()], rtol=1e-6)
    left = {pair: r - base[pair] for pair, r in given.items()}

    def cosine(a: int, b: int) -> float:
        both = [(left[a, i], left[b, i]) for i in range(5) if (a, i) in left and (b, i) in left]
        sizes = [sum(x[side] ** 2 for x in both) ** 0.5 for side in (0, 1)]
        return sum(x * y for x, y in both) / (sizes[0] * sizes[1]) if both else 0.0

    said = []
    for user, item in base:
        alike = sorted(((cosine(user, u), u) for u in range(6) if u != user and (u, item) in left), reverse=True)[:3]
        alike = [(x, u) for x, u in alike if x > 0]
        total = sum(x for x, _ in alike)
        said.append(base[user, item] + (sum(x * left[u, item] for x, u in alike) / total if total else 0.0))
    np.testing.assert_allclose(floors.neighbours(train, (6, 5), found)(3)(every), said, rtol=1e-6)


# Networks. ------------------------------------------------------------------------------------------------------------------

VARIANTS: dict[str, dict[str, Any]] = {
    "products": {},
    "products without biases, free": {"model__biases": False, "model__range": "free"},
    "products from one table": {"model__tables": "one"},
    "a network": {"model__family": "mlp"},
    "a network of one table, random": {"model__family": "mlp", "model__tables": "one", "model__embeddings": "random"},
}


def numpy_rating(model: Any, params: Any, pairs: np.ndarray, users: int, low: float, high: float) -> np.ndarray:
    """What a network says, in float64."""
    p = float64(params)
    if model.tables == "one":
        table = p["users_and_items"]
        sides = [{name: x[pairs[:, side] + users * side] for name, x in table.items()} for side in (0, 1)]
    else:
        sides = [{name: x[pairs[:, side]] for name, x in p[layer].items()} for side, layer in enumerate(("users", "items"))]
    one, other = sides
    if model.family == "dot":
        score = (one["embedding"] * other["embedding"]).sum(1) + p["middle"] + one.get("bias", 0) + other.get("bias", 0)
    else:
        x = np.concatenate([one["embedding"], other["embedding"]], 1)
        x = np.maximum(x @ p["dense_0"]["kernel"] + p["dense_0"]["bias"], 0)
        score = (x @ p["dense_1"]["kernel"] + p["dense_1"]["bias"])[:, 0]
    return low + (high - low) / (1 + np.exp(-score)) if model.range == "bounded" else (low + high) / 2 + score


@pytest.mark.parametrize("name", VARIANTS)
def test_a_step_on_the_rows_that_it_reads_is_a_step(name: str, few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs and a step's gradients are those of the formula; and ten steps of AdaGrad that touch a batch's rows alone come to
    what steps on whole tables come to, in which a user comes several times in a batch."""
    monkeypatch.setattr(lookup, "WORTH", 1)  # these tables are small
    base = config(few, optimizer__name="adagrad", regularizer__seen=0.1, train__steps=10, **VARIANTS[name])
    task: Any = RATINGS.opened(base.data)
    functions, train = task.functions(), parts_of(RATINGS, base.data).train
    (group,) = groups([base], task.rows)
    numbers = group.traced(0)
    assert numbers.optimizer.local
    start = trials.init(functions, numbers, trials.stream(0, trials.Stream.START))
    batch = tuple(x[:16] for x in train)
    known = (len(task.users), task.levels[0], task.levels[-1])

    def objective(params: Any) -> float:
        off = numpy_rating(base.model, params, batch[0], *known) - batch[1]
        squares = sum((float64(table)[places] ** 2).sum(1) for table, places in embeddings(params, batch[0], known[0]))
        return float((off**2 + 0.05 * squares).mean())

    outputs, _ = task.apply(numbers, start.params, {}, batch[0], False)
    np.testing.assert_allclose(outputs, numpy_rating(base.model, start.params, batch[0], *known), rtol=1e-4)
    total, _, slopes, _ = trials.descent(functions, numbers, start, batch)
    assert float(total) == pytest.approx(objective(start.params), rel=1e-5)
    source = np.random.default_rng(0)
    along = jax.tree.map(lambda x: source.normal(size=x.shape), start.params)
    if base.model.embeddings == "random":  # the penalty alone reaches them
        along["users_and_items"] = jax.tree.map(np.zeros_like, along["users_and_items"])
    ends = [objective(jax.tree.map(lambda p, d, by=by: np.float64(p) + by * d, start.params, along)) for by in (-1e-5, 1e-5)]
    slope = sum(float((s * d).sum()) for s, d in zip(jax.tree.leaves(slopes), jax.tree.leaves(along), strict=True))
    assert slope == pytest.approx((ends[1] - ends[0]) / 2e-5, rel=1e-3)

    def trained(numbers: Any) -> Any:
        def step(_: Any, state: Any) -> Any:
            return trials.update(functions, numbers, state, trials.draw(functions, train, numbers, state.step))[0]

        return jax.device_get(jax.jit(lambda: jax.lax.fori_loop(0, 10, step, start))())

    whole = dataclasses.replace(numbers, optimizer=dataclasses.replace(numbers.optimizer, local=False))
    ours, theirs = trained(numbers), trained(whole)
    assert ours.step == theirs.step == 10
    for one, other in zip(*(jax.tree.leaves((s.params, s.optimizer)) for s in (ours, theirs)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "local"),
    [
        ({"optimizer__name": "sgd"}, True),
        ({"optimizer__name": "adam"}, False),
        ({"optimizer__name": "momentum"}, False),
        ({"optimizer__name": "sgd", "regularizer__l2": 0.1}, False),
        ({"optimizer__name": "adagrad", "optimizer__weight_decay": 0.1}, False),
        ({"optimizer__name": "optax.sgd"}, False),
        ({"optimizer__name": "sgd", "optimizer__clip_norm": 1.0}, True),
    ],
)
def test_rows_are_left_alone_where_the_optimizer_would_leave_them(values: dict[str, Any], local: bool) -> None:
    (group,) = groups([config("senate109", **values)], lambda config: 100)
    assert group.static.optimizer.local == local
    both = [config("senate109", optimizer__name=name) for name in ("sgd", "adam")]
    assert [one.static.optimizer.local for one in groups(both, lambda config: 100)] == [False]  # they share a program


def test_an_mlp_has_no_biases() -> None:
    with pytest.raises(UserError, match="which has none"):
        runs.run(Sweep(config("senate109", model__family="mlp", model__biases=False)), RATINGS)


# A run. ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(few: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    out = tmp_path_factory.mktemp("ratings") / "run"
    base = config(few, optimizer__name="adagrad", train__steps=400, train__eval_every=100, train__batch_size=128)
    sweep = jaxgen.grid(base, {"optimizer.learning_rate": [0.3, 1.0], "seed": [0, 1]})
    return runs.run(sweep, RATINGS, out, width=4, chunk=2), out


def test_it_learns_in_one_program(run: tuple[Results, Path]) -> None:
    results, _ = run
    assert results.programs == 1
    best = results.best_row()
    assert best.metrics["val_accuracy"] > 0.7  # the mean has 0.64
    (stands,) = standings(RATINGS.opened(results.sweep.base.data), results)
    assert "has rmse" in stands


def test_interrupted_and_resumed_it_is_the_same(run: tuple[Results, Path], tmp_path: Path) -> None:
    results, out = run
    assert same(bytes_of(out), bytes_of(interrupted(results.sweep, RATINGS, tmp_path / "run", [2], width=4, chunk=2)))


def test_it_recommends_what_a_user_has_not_rated(run: tuple[Results, Path], few: Path, tmp_path: Path) -> None:
    results, out = run
    best = jaxgen.load(out)
    train, _, test = parts_of(RATINGS, best.config.data)[:3]
    exported = jaxgen.load(jaxgen.export(best, tmp_path / "best"))
    np.testing.assert_allclose(jaxgen.predict(exported, test[0]), jaxgen.predict(best, test[0]), rtol=1e-6)
    assert len({*jaxgen.predict(exported, [[5]])["item"][0].tolist()}) == 10  # of all: it has no ratings
    said = jaxgen.predict(best, test[0])
    assert np.mean((said - test[1]) ** 2) ** 0.5 == pytest.approx(results.best_row().metrics["test_rmse"], rel=1e-5)
    task: Any = best.task
    users = task.users
    (tmp_path / "who.csv").write_text(f'user\n"{users[5]}"\n"{users[9]}"\n')
    asked = best.task.inputs(tmp_path / "who.csv")
    assert asked.tolist() == [[5], [9]]
    found = jaxgen.predict(best, asked)
    for row, user in zip(found, (5, 9), strict=True):
        rated = {*train[0][train[0][:, 0] == user, 1].tolist()}
        items = [item for item in range(len(task.items)) if item not in rated]
        every = jaxgen.predict(best, np.array([(user, item) for item in items]))
        order = sorted(range(len(items)), key=lambda place: -every[place])[:10]
        np.testing.assert_allclose(row["rating"], every[order], rtol=1e-6)
        assert len({*row["item"].tolist()} & rated) == 0
    head, rows = best.task.answers(found)
    assert [*head[:2]] == ["item_1", "rating_1"]
    assert len(rows[0]) == 20
    (tmp_path / "pairs.csv").write_text(f'"{users[5]}",{task.items[7]}\n')
    assert best.task.inputs(tmp_path / "pairs.csv").tolist() == [[5, 7]]


@pytest.mark.parametrize(
    ("text", "says"), [("KENNEDY\n", r"do you mean 'KENNEDY \(D MA\)'"), ("", "columns"), ("NOBODY AT ALL,1\n", "no rating of")]
)
def test_what_it_does_not_know_is_refused(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "who.csv").write_text(text)
    with pytest.raises(UserError, match=says):
        RATINGS.opened(Data()).inputs(tmp_path / "who.csv")


def test_places_beyond_the_tables_are_refused(run: tuple[Results, Path]) -> None:
    best = run[0].best()
    for wrong in (np.array([[0, 9_999]]), np.array([[-1, 0]]), np.array([[0.5, 1.0]]), np.array([[102]])):
        with pytest.raises(UserError, match="inputs"):
            jaxgen.predict(best, wrong)


def test_the_report_shows_who_is_near_whom(run: tuple[Results, Path]) -> None:
    _, out = run
    page = report(out).read_text(encoding="utf-8")
    assert {"users.png", "items.png", "often.png"} <= {path.name for path in (out / "plots").iterdir()}
    assert "Which users are near each other" in page


def test_the_plane_and_the_nearest_are_scikit_learns() -> None:
    from sklearn.decomposition import PCA
    from sklearn.metrics.pairwise import cosine_similarity

    table = np.random.default_rng(0).normal(size=(30, 5))
    np.testing.assert_allclose(np.abs(principal(table)), np.abs(PCA(2).fit_transform(table)), atol=1e-9)
    names, cosines = [f"n{i}" for i in range(30)], cosine_similarity(table)
    np.fill_diagonal(cosines, -2)
    for name, *near in nearest(table, names, np.arange(30)):
        assert near[0] == f"n{cosines[int(name[1:])].argmax()} ({cosines[int(name[1:])].max():.2f})"
