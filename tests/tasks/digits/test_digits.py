"""Digits: the data beside what the file says, floors and layers beside loops, and a run from its sweep to its report."""

from __future__ import annotations

import csv
import gzip
import hashlib
import math
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, bytes_of, same, same_bits

import jaxgen
from jaxgen import runs
from jaxgen.config import OPTIMIZERS
from jaxgen.engine.lanes import SegmentDone
from jaxgen.fields import UserError, override
from jaxgen.job import prepared
from jaxgen.judge.floors import standings
from jaxgen.judge.results import Results
from jaxgen.report.page import report
from jaxgen.runs import Interrupted
from jaxgen.search.sweep import Sweep
from jaxgen.tasks.digits import data
from jaxgen.tasks.digits.model import patches
from jaxgen.tasks.digits.show import counted
from jaxgen.tasks.digits.task import DIGITS
from jaxgen.tasks.rows import Splits, parts_of

pytestmark = pytest.mark.usefixtures("compiled_quickly")

SMALL = {"model.hidden": 8, "train.steps": 40, "train.eval_every": 20, "train.batch_size": 16}
LEAVES = {
    "optimizer.name": list(OPTIMIZERS),
    "optimizer.learning_rate": [1e-3, 1e-2],
    "model.dropout": [0.0, 0.3],
}


def config(**values: Any) -> Any:
    return override(DIGITS.config(), {**SMALL, **{key.replace("__", "."): value for key, value in values.items()}})


# The data. ------------------------------------------------------------------------------------------------------------------


def test_the_images_are_those_of_the_file() -> None:
    path = ROOT / "data" / data.FILE
    assert hashlib.sha256(path.read_bytes()).hexdigest() == data.SHA256
    assert data.SHA256 in (ROOT / "data" / "README.md").read_text()
    assert data.SHA256 in (ROOT / "data" / "build.py").read_text()
    with gzip.open(path, "rt", newline="") as file:
        rows = [[int(x) for x in row] for row in csv.reader(file)]
    found = data.load()
    assert found.images.dtype == np.uint8
    assert found.images.shape == (1797, 8, 8)
    assert [[*image, label] for image, label in zip(found.images.reshape(-1, 64).tolist(), found.labels, strict=True)] == rows
    assert found.images.max() == 16
    assert Counter(found.labels.tolist()) == {0: 178, 1: 182, 2: 177, 3: 183, 4: 181, 5: 182, 6: 181, 7: 179, 8: 174, 9: 180}


@pytest.mark.parametrize("how", ["random", "order"])
def test_every_image_is_in_one_part(how: str) -> None:
    parts = [*parts_of(DIGITS, config(data__split=how).data)][:3]
    assert [len(labels) for _, labels in parts] == [1078, 359, 360]
    rows = [(image.tobytes(), int(label)) for part in parts for image, label in zip(*part, strict=True)]
    known = [(image.tobytes(), int(label)) for image, label in zip(*data.load(), strict=True)]
    assert (rows == known) == (how == "order")
    assert Counter(rows) == Counter(known)
    other = parts_of(DIGITS, config(data__split=how, data__split_seed=1).data)
    assert same_bits(parts[0], other.train) == (how == "order")


def test_a_damaged_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "SHA256", "0" * 64)
    data.load.cache_clear()
    with pytest.raises(UserError, match="install jaxgen again"):
        data.load()
    data.load.cache_clear()


# Floors. --------------------------------------------------------------------------------------------------------------------


def nearest(train: tuple[Any, Any], image: Any, k: int) -> int:
    """The digit of most of the k nearest images, by a loop; of equals the smallest, as numbers and in the file's order."""
    off = [(int(((a.astype(int) - image.astype(int)) ** 2).sum()), place) for place, a in enumerate(train[0])]
    votes = Counter(int(train[1][place]) for _, place in sorted(off)[:k])
    return min(votes, key=lambda digit: (-votes[digit], digit))


def test_floors_are_counted_as_a_loop_counts_them() -> None:
    images, labels = data.load()
    parts = [(images[a:b], labels[a:b]) for a, b in ((0, 150), (150, 190), (190, 230))]
    found = data.floors(Splits(*parts))
    train, *others = parts
    most = min(range(10), key=lambda digit: (-int((train[1] == digit).sum()), digit))
    right = {
        (name, k): np.mean([nearest(train, image, k) == label for image, label in zip(*part, strict=True)])
        for name, part in zip(("val", "test"), others, strict=True)
        for k in data.NEIGHBOURS
    }
    best = max(data.NEIGHBOURS, key=lambda k: (right["val", k], -k))
    (first, shares), (name, near) = found.items()
    assert first == "the most frequent class"
    assert shares == {"val_accuracy": np.mean(others[0][1] == most), "test_accuracy": np.mean(others[1][1] == most)}
    assert name == (f"{best} nearest neighbours" if best > 1 else "the nearest neighbour")
    assert near == {"val_accuracy": right["val", best], "test_accuracy": right["test", best]}


# Networks. ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "params"),
    [
        ({"model.family": "logistic"}, 65 * 10),
        ({"model.family": "mlp", "model.hidden": 7}, 65 * 7 + 8 * 10),
        ({"model.family": "mlp", "model.hidden": 7, "model.depth": 3}, 65 * 7 + 2 * 8 * 7 + 8 * 10),
        ({"model.family": "cnn", "model.channels": 3, "model.hidden": 5}, 10 * 3 + 28 * 6 + (9 * 6 + 1) * 5 + 6 * 10),
    ],
)
def test_networks_have_so_many_parameters(values: dict[str, Any], params: int) -> None:
    task = DIGITS.opened(DIGITS.config().data)
    shapes, _ = jax.eval_shape(lambda: task.functions().init(override(DIGITS.config(), values), jax.random.key(0)))
    assert sum(math.prod(x.shape) for x in jax.tree.leaves(shapes)) == params


def test_patches_and_a_product_are_a_convolution() -> None:
    source = np.random.default_rng(0)
    x, kernel = source.normal(size=(2, 5, 6, 3)), source.normal(size=(3, 3, 3, 4))
    expected = np.zeros((2, 3, 4, 4))
    for row, column in np.ndindex(3, 4):
        expected[:, row, column] = np.einsum("bijc,ijcf->bf", x[:, row : row + 3, column : column + 3], kernel)
    found = patches(jnp.asarray(x, jnp.float32)) @ kernel.reshape(27, 4).astype(np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["logistic", "mlp", "cnn"])
def test_optimizers_rates_and_dropout_share_one_program(family: str) -> None:
    job = prepared(jaxgen.grid(config(model__family=family), LEAVES), DIGITS)
    assert [len(group.trials) for group in job.groups] == [28]


def test_a_cnn_learns() -> None:
    small = config(
        model__family="cnn", model__channels=4, train__steps=200, train__eval_every=200, optimizer__learning_rate=0.01
    )
    results = runs.run(Sweep(small), DIGITS, width=1, chunk=1, devices=1)
    assert results.best_row().metrics["val_accuracy"] > 0.5  # chance is 0.1


# A run. ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    """Every optimizer at two rates, with and without dropout."""
    out = tmp_path_factory.mktemp("digits") / "run"
    return runs.run(jaxgen.grid(config(), LEAVES), DIGITS, out, width=8, chunk=4), out


def test_it_learns_in_one_program(run: tuple[Results, Path]) -> None:
    results, out = run
    assert results.programs == 1
    assert {row.status for row in results.rows} == {"completed"}
    assert results.best_row().metrics["val_accuracy"] > 0.5  # of 40 steps of a small network; chance is 0.1
    head = (out / "results.csv").read_text().splitlines()[0].split(",")
    assert head[-5:] == ["train_loss", "val_loss", "test_loss", "val_accuracy", "test_accuracy"]
    (stands,) = standings(DIGITS, results)
    assert stands.startswith("The floor without a network, ")
    assert "nearest neighbour" in stands
    assert "no network is better on validation" in stands


def test_interrupted_and_resumed_it_is_the_same(run: tuple[Results, Path], tmp_path: Path) -> None:
    results, out = run
    segments = 0

    def count(event: object, results: object) -> None:
        nonlocal segments
        segments += isinstance(event, SegmentDone)

    with pytest.raises(Interrupted):
        runs.run(results.sweep, DIGITS, tmp_path / "run", width=8, chunk=4, listener=count, stop=lambda: segments >= 3)
    runs.run(results.sweep, DIGITS, tmp_path / "run", width=8, chunk=4, resume=True)
    assert same(bytes_of(out), bytes_of(tmp_path / "run"))


def test_what_it_says_of_images_is_what_was_measured(run: tuple[Results, Path], tmp_path: Path) -> None:
    results, out = run
    best = jaxgen.load(jaxgen.export(jaxgen.load(out), tmp_path / "best"))
    images, labels = parts_of(DIGITS, best.config.data).test
    scores = jaxgen.predict(best, images)
    assert scores.shape == (360, 10)
    row = results.best_row()
    assert np.mean(scores.argmax(1) == labels) == pytest.approx(row.metrics["test_accuracy"])
    shares = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    assert -shares[np.arange(360), labels].mean() == pytest.approx(row.test_loss, rel=1e-5)
    assert same_bits(scores, jaxgen.predict(best, images.reshape(-1, 64).astype(float)))
    np.savetxt(tmp_path / "images.csv", images.reshape(-1, 64), "%d", ",")
    assert same_bits(scores, jaxgen.predict(best, best.task.inputs(tmp_path / "images.csv")))
    head, rows = best.task.answers(scores)
    assert list(head) == ["class", *(f"p_{digit}" for digit in range(10))]
    assert [row[0] for row in rows] == scores.argmax(1).tolist()


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (np.zeros((2, 63)), r"\(N, 8, 8\) or \(N, 64\)"),
        (np.zeros((0, 64)), "an image a row"),
        (np.full((1, 8, 8), 17), "0 to 16"),
        (np.full((1, 64), 0.5), "0 to 16"),
        (np.full((1, 64), math.nan), "0 to 16"),
        (np.full((1, 64), "a"), "0 to 16"),
    ],
)
def test_what_is_no_image_is_refused(inputs: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        data.images_of(inputs)


def test_the_report_shows_confusions_and_mistakes(run: tuple[Results, Path]) -> None:
    results, out = run
    page = report(out).read_text(encoding="utf-8")
    wrong = round(360 * (1 - results.best_row().metrics["test_accuracy"]))
    assert f"of the 360 test images: {wrong} are taken for another digit" in page
    assert "Images that the best trial gets wrong" in page
    assert {"confusion.png", "wrong.png"} <= {path.name for path in (out / "plots").iterdir()}


def test_confusions_are_counted() -> None:
    labels, said = np.array([3, 3, 3, 0]), np.array([3, 5, 5, 0])
    found = counted(labels, said)
    assert {(int(i), int(j)): int(found[i, j]) for i, j in np.argwhere(found)} == {(0, 0): 1, (3, 3): 1, (3, 5): 2}
