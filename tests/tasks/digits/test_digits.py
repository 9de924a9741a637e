"""Digits: parts, floors and layers beside loops and libraries, and a run from its sweep to its report."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from conftest import bytes_of, interrupted, same, same_bits
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxgen
from jaxgen import runs
from jaxgen.config import OPTIMIZERS
from jaxgen.fields import UserError, override
from jaxgen.job import prepared
from jaxgen.judge.floors import standings
from jaxgen.judge.results import Results
from jaxgen.report.page import report
from jaxgen.search.sweep import Sweep
from jaxgen.tasks.digits import data, floors
from jaxgen.tasks.digits.augmentation import augmented
from jaxgen.tasks.digits.images import Images, read
from jaxgen.tasks.digits.model import made, patches, pooled
from jaxgen.tasks.digits.show import counted, saliency, seen, weights
from jaxgen.tasks.digits.task import DIGITS
from jaxgen.tasks.rows import Splits, parts_of
from jaxgen.testing import check

pytestmark = pytest.mark.usefixtures("compiled_quickly")

SMALL = {
    "data.path": "digits8x8",
    "model.hidden": 8,
    "model.channels": 4,
    "train.steps": 40,
    "train.eval_every": 20,
    "train.batch_size": 16,
}
LEAVES = {
    "optimizer.name": list(OPTIMIZERS),
    "optimizer.learning_rate": [1e-3, 1e-2],
    "model.dropout": [0.0, 0.3],
}
CNNS = [
    {},
    {"model.padding": "valid", "model.kernel": 2, "model.pooling": "average", "model.batchnorm": True},
    {"model.stride": 2, "model.pooling": "none", "model.residual": True},
    {"model.dilation": 2, "model.kernel": 2, "model.residual": True, "model.batchnorm": True, "model.blocks": 1},
]


def config(**values: Any) -> Any:
    return override(DIGITS.config(), {**SMALL, **{key.replace("__", "."): value for key, value in values.items()}})


# Parts. ---------------------------------------------------------------------------------------------------------------------


def rows(*parts: Any) -> list[tuple[bytes, int]]:
    return [(image.tobytes(), int(label)) for part in parts for image, label in zip(*part, strict=True)]


@pytest.mark.parametrize("how", ["random", "order"])
def test_every_image_is_in_one_part(how: str) -> None:
    parts = [*parts_of(DIGITS, config(data__split=how).data)][:3]
    assert [len(labels) for _, labels in parts] == [1294, 144, 359]
    known = rows(read("digits8x8").train)
    assert (rows(*parts) == known) == (how == "order")
    assert Counter(rows(*parts)) == Counter(known)
    other = parts_of(DIGITS, config(data__split=how, data__split_seed=1).data)
    assert same_bits(parts[0], other.train) == (how == "order")


def test_images_that_come_with_a_test_part_keep_it() -> None:
    known = read("mnist")
    parts = parts_of(DIGITS, DIGITS.config().data)
    assert known.test is not None
    assert same_bits(tuple(parts.test), tuple(known.test))
    assert [len(parts.train[1]), len(parts.validation[1])] == [9_000, 1_000]
    assert Counter(rows(parts.train, parts.validation)) == Counter(rows(known.train))
    fewer = parts_of(DIGITS, override(DIGITS.config(), {"data.rows": 100}).data)
    assert same_bits(tuple(x[:100] for x in parts.train), fewer.train)
    assert same_bits(parts[1:3], fewer[1:3])


def test_a_source_is_the_other_set() -> None:
    parts = parts_of(DIGITS, override(DIGITS.config(), {"data.source": "fashion"}).data)
    assert same_bits(parts.source, tuple(read("fashion").train))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"data.rows": 9_001}, "there are 9000 images to train on"),
        ({"data.source": "digits8x8"}, "images of the same size"),
        ({"data.validation": 1e-6}, "too few to take a share"),
        ({"data.path": "nothing"}, "there are no images"),
    ],
)
def test_parts_that_cannot_be_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        data.split(override(DIGITS.config(), values).data)


# Floors. --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def few() -> Splits:
    images, labels = read("digits8x8").train
    return Splits(*((images[a:b], labels[a:b]) for a, b in ((0, 150), (150, 190), (190, 230))))


def nearest(train: tuple[Any, Any], image: Any, k: int) -> int:
    """The digit of most of the k nearest images, by a loop; of equals the smallest, as numbers and in the file's order."""
    off = [(int(((a.astype(int) - image.astype(int)) ** 2).sum()), place) for place, a in enumerate(train[0])]
    votes = Counter(int(train[1][place]) for _, place in sorted(off)[:k])
    return min(votes, key=lambda digit: (-votes[digit], digit))


def test_floors_are_counted_as_a_loop_counts_them(few: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "AT_A_TIME", 7)
    train, *others = few[:3]
    found = floors.floors(few, 10, 16)
    most = min(range(10), key=lambda digit: (-int((train[1] == digit).sum()), digit))
    right = {
        (name, k): np.mean([nearest(train, image, k) == label for image, label in zip(*part, strict=True)])
        for name, part in zip(("val", "test"), others, strict=True)
        for k in floors.NEIGHBOURS
    }
    best = max(floors.NEIGHBOURS, key=lambda k: (right["val", k], -k))
    (first, shares), (name, near), _ = found.items()
    assert first == "the most frequent class"
    assert shares == {"val_accuracy": np.mean(others[0][1] == most), "test_accuracy": np.mean(others[1][1] == most)}
    assert name == (f"{best} nearest neighbours" if best > 1 else "the nearest neighbour")
    assert near == {"val_accuracy": right["val", best], "test_accuracy": right["test", best]}


def test_logistic_regression_is_scikit_learns(few: Splits) -> None:
    from sklearn.linear_model import LogisticRegression

    x, held = (part[0].reshape(-1, 64) / 16 for part in (few.train, few.validation))
    labels, l2 = few.train[1], 1e-2
    solved = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-8, max_iter=2000).fit(x, labels)
    weights, bias = floors.softmax_regression(x, labels, 10, l2)
    scores = held @ weights + bias
    shares = np.exp(scores - scores.max(1, keepdims=True))
    np.testing.assert_allclose(shares / shares.sum(1, keepdims=True), solved.predict_proba(held), atol=2e-3)


# Networks. ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "params"),
    [
        ({"model.family": "logistic"}, 65 * 10),
        ({"model.family": "mlp", "model.hidden": 7}, 65 * 7 + 8 * 10),
        ({"model.family": "mlp", "model.hidden": 7, "model.depth": 3}, 65 * 7 + 2 * 8 * 7 + 8 * 10),
        ({"model.family": "mlp", "model.hidden": 7, "model.batchnorm": True}, 65 * 7 + 2 * 7 + 8 * 10),
        ({"model.family": "cnn", "model.channels": 3, "model.hidden": 5}, 10 * 3 + 28 * 6 + (4 * 6 + 1) * 5 + 6 * 10),
        (
            {"model.family": "cnn", "model.channels": 3, "model.hidden": 5, "model.blocks": 1, "model.residual": True},
            10 * 3 + 28 * 3 + (16 * 3 + 1) * 5 + 6 * 10,
        ),
    ],
)
def test_networks_have_so_many_parameters(values: dict[str, Any], params: int) -> None:
    task = DIGITS.opened(config().data)
    shapes, _ = jax.eval_shape(lambda: task.functions().init(override(config(), values), jax.random.key(0)))
    assert sum(math.prod(x.shape) for x in jax.tree.leaves(shapes)) == params


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    same=st.booleans(),
)
def test_patches_and_a_product_are_scipys_correlation(
    size: tuple[int, int], kernel: int, stride: int, dilation: int, same: bool
) -> None:
    """At each place of a stride, the correlation with a kernel that is spread by the dilation, in float64."""
    source = np.random.default_rng(0)
    x, weights = source.normal(size=(2, *size, 3)), source.normal(size=(kernel, kernel, 3, 2))
    span = dilation * (kernel - 1) + 1
    if not same and span > min(size):
        with pytest.raises(UserError, match="a convolution that sees"):
            patches(jnp.asarray(x, jnp.float32), kernel, stride, dilation, same)
        return
    spread = np.zeros((span, span, 3, 2))
    spread[::dilation, ::dilation] = weights
    missing = [max((-(-n // stride) - 1) * stride + span - n, 0) if same else 0 for n in size]
    framed = np.pad(x, ((0, 0), *((more // 2, more - more // 2) for more in missing), (0, 0)))
    found = patches(jnp.asarray(x, jnp.float32), kernel, stride, dilation, same) @ weights.reshape(-1, 2).astype(np.float32)
    for image, filter in np.ndindex(2, 2):
        each = [scipy.signal.correlate(framed[image, ..., c], spread[..., c, filter], "valid") for c in range(3)]
        np.testing.assert_allclose(found[image, ..., filter], np.sum(each, 0)[::stride, ::stride], rtol=1e-4, atol=1e-4)


def test_the_gradient_of_patches_is_that_of_a_convolution() -> None:
    source = np.random.default_rng(0)
    x, kernel = (jnp.asarray(source.normal(size=shape), jnp.float32) for shape in ((2, 7, 6, 3), (3, 3, 3, 4)))

    def ours(x: Any, kernel: Any) -> Any:
        return (patches(x, 3, 2, same=True) @ kernel.reshape(27, 4)) ** 2

    def theirs(x: Any, kernel: Any) -> Any:
        return jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) ** 2

    for mine, other in zip(*(jax.grad(lambda *a, f=f: f(*a).sum(), (0, 1))(x, kernel) for f in (ours, theirs)), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("how", "flax"), [("max", nn.max_pool), ("average", nn.avg_pool)])
def test_poolings_are_flaxs(how: str, flax: Any) -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 7, 6, 3)), jnp.float32)
    np.testing.assert_allclose(pooled(x, how), flax(x, (2, 2), (2, 2)), rtol=1e-6)
    with pytest.raises(UserError, match=r"fewer model\.blocks"):
        pooled(x[:, :1], how)


@pytest.mark.parametrize("values", CNNS)
def test_a_cnn_is_what_flax_convolutions_make(values: dict[str, Any]) -> None:
    """The whole network, with `nn.Conv` and flax's poolings in place of ours, on the same parameters."""
    model = override(config(model__family="cnn"), values).model
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 8, 8)), jnp.float32)
    module: Any = made(model, 10)
    variables: Any = module.init(jax.random.key(0), x, train=False)
    params, stats = variables["params"], variables.get("batch_stats", {})

    def conv(x: Any, weights: Any, stride: int, padding: str) -> Any:
        kernel = weights["kernel"].reshape(model.kernel, model.kernel, x.shape[-1], -1)
        how = {"window_strides": (stride, stride), "padding": padding.upper(), "rhs_dilation": (model.dilation,) * 2}
        return jax.lax.conv_general_dilated(x, kernel, **how, dimension_numbers=("NHWC", "HWIO", "NHWC")) + weights["bias"]

    def norm(x: Any, place: str, name: str) -> Any:
        if not model.batchnorm:
            return x
        mean, var = stats[place][name]["mean"], stats[place][name]["var"]
        return (x - mean) / jnp.sqrt(var + 1e-5) * params[place][name]["scale"] + params[place][name]["bias"]

    y = x[..., None]
    for block in range(model.blocks):
        place = f"block_{block}"
        y = nn.relu(norm(conv(y, params[place]["conv"], model.stride, model.padding), place, "norm"))
        if model.residual:
            y = nn.relu(y + norm(conv(y, params[place]["further"], 1, "same"), place, "further_norm"))
        if model.pooling != "none":
            y = (nn.max_pool if model.pooling == "max" else nn.avg_pool)(y, (2, 2), (2, 2))
    y = y.reshape(3, -1) @ params["dense_0"]["kernel"] + params["dense_0"]["bias"]
    if model.batchnorm:
        mean, var = stats["dense_0_norm"]["mean"], stats["dense_0_norm"]["var"]
        y = (y - mean) / jnp.sqrt(var + 1e-5) * params["dense_0_norm"]["scale"] + params["dense_0_norm"]["bias"]
    expected = nn.relu(y) @ params["dense_1"]["kernel"] + params["dense_1"]["bias"]
    np.testing.assert_allclose(module.apply(variables, x, train=False), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["logistic", "mlp", "cnn"])
def test_optimizers_rates_dropout_and_augmentation_share_one_program(family: str) -> None:
    axes = LEAVES | {"regularizer.shift": [0.0, 1.0]}
    job = prepared(jaxgen.grid(config(model__family=family), axes), DIGITS)
    assert [len(group.trials) for group in job.groups] == [56]


def test_layers_are_in_the_order_in_which_images_go_through_them() -> None:
    given = dict.fromkeys(["dense_1", "dense_10", "dense_0_norm", "dense_0", "dense_2"])
    assert DIGITS.layers(given) == ["dense_0", "dense_0_norm", "dense_1", "dense_2", "dense_10"]
    assert DIGITS.layers(dict.fromkeys(["dense_0", "block_1", "block_0"])) == ["block_0", "block_1", "dense_0"]


def test_a_cnn_keeps_what_it_has_of_its_own() -> None:
    """The others are those of the MLP, which is asked all."""
    whole = config(model__family="cnn", model__channels=2, model__blocks=1, regularizer__shift=1.0, regularizer__rotation=10.0)
    asked = ["stats", "leaves", "lanes", "rows", "gradients"]
    assert check(DIGITS, override(whole, {"regularizer.zoom": 0.1, "model.batchnorm": True}), promises=asked)


@pytest.mark.long
def test_a_cnn_learns() -> None:
    small = config(model__family="cnn", train__steps=200, train__eval_every=200, optimizer__learning_rate=0.01)
    results = runs.run(Sweep(small), DIGITS, width=1, chunk=1, devices=1)
    assert results.best_row().metrics["val_accuracy"] > 0.5  # chance is 0.1


# Augmentation. --------------------------------------------------------------------------------------------------------------


def strengths(**values: float) -> SimpleNamespace:
    """As a program has them."""
    return SimpleNamespace(**{"shift": None, "rotation": None, "zoom": None} | values)


@pytest.mark.parametrize(
    "values", [{"shift": 3.0}, {"rotation": 40.0}, {"zoom": 0.4}, {"shift": 2.0, "rotation": 90.0, "zoom": 0.2}]
)
def test_augmentation_is_scipys_affine_transform(values: dict[str, float]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 9, 8)).astype(np.uint8)
    key = jax.random.key(1)
    found = np.asarray(augmented(strengths(**values), jnp.asarray(images), key))
    down, across, turn, zoom = np.asarray(jax.random.uniform(key, (4, 5), minval=-1.0, maxval=1.0), float)
    for place, image in enumerate(images):
        angle = math.radians((values.get("rotation") or 0.0) * turn[place])
        scale = 1 / (1 + (values.get("zoom") or 0.0) * zoom[place])
        matrix = scale * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        middle = np.array([4.0, 3.5])
        moved = (values.get("shift") or 0.0) * np.array([down[place], across[place]])
        expected = scipy.ndimage.affine_transform(
            image.astype(float), matrix, middle - matrix @ (middle + moved), order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(found[place], expected, atol=0.05)  # float32 places of values up to 255


def test_without_strengths_images_stay_as_they_are() -> None:
    images = jnp.zeros((2, 3, 3), jnp.uint8)
    assert augmented(strengths(), images, jax.random.key(0)) is images


def test_colours_move_together() -> None:
    grey = jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, 6, 6)).astype(np.uint8))
    how, key = strengths(shift=2.0, rotation=20.0), jax.random.key(0)
    found = augmented(how, jnp.repeat(grey[..., None], 3, -1), key)
    for colour in range(3):
        np.testing.assert_allclose(found[..., colour], augmented(how, grey, key), atol=1e-3)


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
    assert stands.startswith("The floor without a network, logistic regression by L-BFGS, ")
    assert "no network is better on validation" in stands


def test_interrupted_and_resumed_it_is_the_same(run: tuple[Results, Path], tmp_path: Path) -> None:
    results, out = run
    assert same(bytes_of(out), bytes_of(interrupted(results.sweep, DIGITS, tmp_path / "run", [3], width=8, chunk=4)))


def test_what_it_says_of_images_is_what_was_measured(run: tuple[Results, Path], tmp_path: Path) -> None:
    results, out = run
    best = jaxgen.load(jaxgen.export(jaxgen.load(out), tmp_path / "best"))
    images, labels = parts_of(DIGITS, best.config.data).test
    scores = jaxgen.predict(best, images)
    assert scores.shape == (359, 10)
    row = results.best_row()
    assert np.mean(scores.argmax(1) == labels) == pytest.approx(row.metrics["test_accuracy"])
    shares = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    assert -shares[np.arange(359), labels].mean() == pytest.approx(row.test_loss, rel=1e-5)
    assert same_bits(scores, jaxgen.predict(best, images.reshape(-1, 64).astype(float)))
    np.savetxt(tmp_path / "images.csv", images.reshape(-1, 64), "%d", ",")
    assert same_bits(scores, jaxgen.predict(best, best.task.inputs(tmp_path / "images.csv")))
    head, rows = best.task.answers(scores)
    assert list(head) == ["class", *(f"p_{digit}" for digit in range(10))]
    assert [row[0] for row in rows] == [str(digit) for digit in scores.argmax(1)]


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
        data.images_of(inputs, (8, 8), 16)


def test_the_report_shows_confusions_and_mistakes(run: tuple[Results, Path]) -> None:
    results, out = run
    page = report(out).read_text(encoding="utf-8")
    wrong = round(359 * (1 - results.best_row().metrics["test_accuracy"]))
    assert f"of the 359 test images: {wrong} are taken for another class" in page
    assert "Images that the best trial gets wrong" in page
    shown = {"confusion.png", "wrong.png", "filters.png", "saliency.png"}
    assert shown <= {path.name for path in (out / "plots").iterdir()}


def test_confusions_are_counted() -> None:
    labels, said = np.array([3, 3, 3, 0]), np.array([3, 5, 5, 0])
    found = counted(labels, said, 10)
    assert {(int(i), int(j)): int(found[i, j]) for i, j in np.argwhere(found)} == {(0, 0): 1, (3, 3): 1, (3, 5): 2}


@pytest.fixture(scope="module")
def cnn() -> Any:
    """A CNN as it begins, as a trial that has ended."""
    results = runs.run(Sweep(config(model__family="cnn", train__steps=20)), DIGITS, width=1, chunk=1, devices=1)
    return results.best()


def test_what_networks_look_at_is_what_they_compute(cnn: Any) -> None:
    images, labels = (x[:2] for x in parts_of(DIGITS, cnn.config.data).test)
    task = cnn.task
    found = saliency(task, cnn, Images(images, labels))
    assert found.shape == (2, 8, 8)
    base = jaxgen.predict(cnn, images)
    bumped = images.astype(int)
    place = np.unravel_index(found[0].argmax(), (8, 8))
    bumped[0][place] += 1 if bumped[0][place] < 16 else -1
    change = (jaxgen.predict(cnn, bumped) - base)[0, labels[0]]
    assert abs(change) == pytest.approx(found[0].max(), rel=0.2)  # a step of a sixteenth, in a network of bends
    first, second = seen(task, cnn, images)
    assert (first.shape, second.shape) == ((2, 8, 8, 4), (2, 4, 4, 8))
    kernel = weights(task, cnn)
    assert kernel.shape == (4, 3, 3)
    padded = np.pad(images[0] / 16, 1)
    bias = cnn.params["block_0"]["conv"]["bias"]
    for unit in range(4):
        expected = np.maximum(scipy.signal.correlate(padded, kernel[unit].astype(float), "valid") + bias[unit], 0)
        np.testing.assert_allclose(first[0, :, :, unit], expected, atol=1e-5)
