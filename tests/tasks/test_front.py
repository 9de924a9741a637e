"""The front door: networks of several libraries, data of several shapes, and what does not fit, said in a line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same_bits
from flax import linen as nn
from flax import nnx
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, mean_squared_error

import jaxgen
from jaxgen import runs
from jaxgen.engine import plan
from jaxgen.engine.plan import Planned
from jaxgen.job import prepared
from jaxgen.judge.results import Results
from jaxgen.runs import Interrupted, Notice
from jaxgen.tasks.front import Supervised
from jaxgen.tasks.rows import cut

pytestmark = pytest.mark.usefixtures("compiled_quickly")

SOURCE = np.random.default_rng(0)
X = SOURCE.normal(size=(300, 3))
Y = X @ np.array([1.0, -2.0, 0.5])
PLACES = {"width": 2, "chunk": 2, "devices": 1}
SMALL = {"train__steps": 20, "train__eval_every": 10, "train__batch_size": 8}


class Linear(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        return nn.Dense(1)(x)[:, 0]


class Column(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        return nn.Dense(1)(x)


class Noisy(nn.Module):
    width: int = 4
    rate: float = 0.1

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(self.width)(x))
        return nn.Dense(1)(jaxgen.nn.Dropout(self.rate)(x, train))[:, 0]


class Branching(nn.Module):
    depth: int = 1
    rate: float = 0.1
    other: float = 0.5

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        return self.other * nn.Dense(1)(nn.Dropout(self.rate, deterministic=not train)(x))[:, 0]


class Structured(nn.Module):
    rate: jaxgen.Static[float] = 0.1

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        return nn.Dense(1)(nn.Dropout(self.rate, deterministic=not train)(x))[:, 0]


class OfNNX(nnx.Module):
    def __init__(self, width: int = 8, *, rngs: nnx.Rngs) -> None:
        self.first, self.norm = nnx.Linear(3, width, rngs=rngs), nnx.BatchNorm(width, rngs=rngs)
        self.drop, self.last = nnx.Dropout(0.1, rngs=rngs), nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.last(self.drop(nnx.relu(self.norm(self.first(x)))))[:, 0]


class OfEquinox(eqx.Module):
    first: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    last: eqx.nn.Linear

    def __init__(self, width: int = 8, *, key: jax.Array) -> None:
        one, two = jax.random.split(key)
        self.first, self.last = eqx.nn.Linear(3, width, key=one), eqx.nn.Linear(width, "scalar", key=two)
        self.norm = eqx.nn.BatchNorm(width, "batch", mode="batch")

    def __call__(self, x: Any, state: Any) -> Any:
        x, state = self.norm(self.first(x), state)
        return self.last(jax.nn.relu(x)), state


@dataclass(frozen=True)
class Model:
    scale: float = 1.0


def init(model: Model, key: Any, x: Any) -> Any:
    return {"w": model.scale * jax.random.normal(key, x.shape[1:])}, {"steps": jnp.zeros(())}


def apply(model: Model, params: Any, stats: Any, x: Any, train: bool, key: Any) -> Any:
    return x @ params["w"], {"steps": stats["steps"] + 1} if train else stats


def task_of(network: Any, data: Any = (X, Y), loss: Any = "squared_error", **more: Any) -> Supervised:
    return jaxgen.supervised(network, data, loss=loss, name="own", **more)


def run(task: Supervised, axes: Any = None, out: Path | None = None, **more: Any) -> Results:
    values = {key: more.pop(key) for key in list(more) if "__" in key}
    return runs.run(jaxgen.grid(task.config(**(SMALL | values)), axes or {"seed": [0, 1]}), task, out, **PLACES, **more)


NETWORKS = {"linen": Noisy, "nnx": OfNNX, "equinox": OfEquinox, "pair": (init, apply)}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_networks_of_every_kind_train_go_on_export_and_predict(network: Any, tmp_path: Path) -> None:
    task, segments = task_of(network, metrics=("absolute_error",)), iter([False, True])
    whole = run(task, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(task, out=tmp_path / "cut", stop=lambda: next(segments, True))
    again = run(task, out=tmp_path / "cut", resume=True)
    for name in ("results.csv", "metrics.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    assert same_bits((whole.trained(1).params, whole.trained(1).stats), (again.trained(1).params, again.trained(1).stats))

    best = jaxgen.load(jaxgen.export(jaxgen.load(tmp_path / "whole", task=task), tmp_path / "trial"), task=task)
    assert same_bits((best.params, best.stats), (whole.best().params, whole.best().stats))
    test = cut((X, Y), 42).test
    found, row = jaxgen.predict(best, test[0]), whole.best_row()
    assert row.metrics["test_loss"] == pytest.approx(mean_squared_error(test[1], found), rel=1e-5)
    assert row.metrics["test_absolute_error"] == pytest.approx(mean_absolute_error(test[1], found), rel=1e-5)


def test_several_trials_predict_together() -> None:
    """The mean of what they say; of classes that of their probabilities."""
    source = np.random.default_rng(0)
    numbers, scores = source.normal(size=(3, 5)), source.normal(size=(3, 5, 4))

    def of(loss: Any) -> Supervised:
        return jaxgen.supervised(Noisy, (X, Y), loss=loss, name=loss)

    np.testing.assert_allclose(of("squared_error").mixed([*numbers]), numbers.mean(0))
    shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(of("cross_entropy").mixed([*scores]), np.log(shares.mean(0)))
    share = (1 / (1 + np.exp(-numbers))).mean(0)
    np.testing.assert_allclose(of("binary_cross_entropy").mixed([*numbers]), np.log(share / (1 - share)))
    with pytest.raises(jaxgen.UserError, match="has no mixture"):
        of("squared_error").mixed([{"a": numbers}, {"a": numbers}])


def test_floats_are_leaves_and_the_rest_selects_the_program() -> None:
    axes = {
        "model.width": [4, 8],
        "model.rate": [0.0, 0.5],
        "optimizer.name": ["sgd", "adam"],
        "optimizer.learning_rate": [1e-3, 1e-2],
    }

    def programs(task: Supervised, axes: Any) -> int:
        return prepared(jaxgen.grid(task.config(), axes), task).programs

    assert programs(task_of(Noisy), axes) == 2
    assert programs(task_of(Structured), {"model.rate": [0.1, 0.2]}) == 2
    assert programs(task_of({"linear": Linear, "noisy": Noisy}), {"model.family": ["linear", "noisy"]}) == 2


@dataclass(frozen=True)
class Section:
    noise: float = 0.1
    split_seed: int = 1


def read(data: Section) -> tuple[Any, Any]:
    return X, Y + data.noise * SOURCE.normal(size=len(Y))


def test_the_data_section_selects_no_program() -> None:
    found = run(task_of(Linear, read), {"data.noise": [0.0, 5.0], "data.split_seed": [1, 2]})
    assert found.programs == 1
    assert found.rows[0].val_loss < found.rows[2].val_loss
    assert len({row.val_loss for row in found.rows}) == 4


def test_classification_measures_what_scikit_learn_does() -> None:
    labels = (Y > 0).astype(np.int64) + (Y > 1)
    classes = nn.Dense(3)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any, train: bool) -> Any:
            return classes.copy()(x)

    task = task_of(Net, (X, labels), "cross_entropy", metrics=("accuracy",), select="accuracy")
    found = run(task, train__steps=100, train__eval_every=50)
    test = cut((X, labels), 42).test
    logits = jaxgen.predict(found.best(), test[0]).astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    row = found.best_row()
    assert row.metrics["test_accuracy"] == pytest.approx(accuracy_score(test[1], logits.argmax(1)))
    assert row.metrics["test_loss"] == pytest.approx(log_loss(test[1], shares, labels=[0, 1, 2]), rel=1e-5)
    assert row.metrics["val_accuracy"] == max(one.metrics["val_accuracy"] for one in found.rows)
    assert row.score == -row.metrics["val_accuracy"]
    assert found.columns[:3] == ("train_loss", "val_loss", "test_loss")


def test_a_binary_target_is_one_number() -> None:
    labels = (Y > 0).astype(np.int64)
    found = run(task_of(Linear, (X, labels), "binary_cross_entropy", metrics=("accuracy",)))
    test = cut((X, labels), 42).test
    signs = jaxgen.predict(found.best(), test[0]) > 0
    assert found.best_row().metrics["test_accuracy"] == pytest.approx(accuracy_score(test[1], signs))


def test_weights_of_zero_are_as_rows_that_are_not_there() -> None:
    half = np.arange(300) % 2
    odd = np.where(half, Y, 1e6)  # what has no weight may be anything
    splits = jaxgen.Splits((X, odd, half), (X, odd, half))
    few = jaxgen.Splits((X[half == 1], Y[half == 1]), (X[half == 1], Y[half == 1]))
    task = task_of(Linear, splits)
    found = run(task)
    assert np.isfinite(found.rows[0].val_loss)
    weights = (
        np.asarray(found.trained(0).params["Dense_0"]["kernel"])[:, 0],
        np.asarray(found.trained(0).params["Dense_0"]["bias"]),
    )
    assert found.rows[0].val_loss == pytest.approx(
        np.mean((few.train[0] @ weights[0] + weights[1] - few.train[1]) ** 2), rel=1e-5
    )


def test_inputs_are_trees_and_parts_may_lack() -> None:
    class Tree(nn.Module):
        @nn.compact
        def __call__(self, x: Any, train: bool) -> Any:
            return nn.Dense(1)(jnp.concatenate([x["a"], nn.Embed(4, 2)(x["b"])], -1))[:, 0]

    rows = {"a": X, "b": SOURCE.integers(0, 4, 300)}
    found = run(
        task_of(
            Tree,
            jaxgen.Splits(({k: v[:250] for k, v in rows.items()}, Y[:250]), ({k: v[250:] for k, v in rows.items()}, Y[250:])),
        )
    )
    assert np.isnan(found.rows[0].test_loss)
    assert jaxgen.predict(found.best(), rows).shape == (300,)


def scalar(outputs: Any, targets: Any) -> Any:
    return jnp.square(outputs - targets).mean()


class Bare(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        return x


class Raising(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        raise ZeroDivisionError("boom")


# What is done wrong: what does it, and what is said.
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "a column against a row": (
        lambda: run(task_of(Column)),
        r"outputs are of shape \(8, 1\) and targets of \(8,\); expected outputs of \(8,\)",
    ),
    "a loss that is one number": (
        lambda: run(task_of(Linear, loss=scalar)),
        r"scalar gives numbers of shape \(\) for 8 rows, expected \(8,\): a number of each row, not their mean",
    ),
    "a leaf that is asked": (
        lambda: run(task_of(Branching)),
        r"^model.rate is asked for its value at .*test_front.py:\d+ .*jaxgen.Static\[float\]",
    ),
    "a field without default": (lambda: task_of(Bare), "Bare.width has no default; give it one"),
    "a network that raises": (
        lambda: run(task_of(Raising)),
        r"cannot be traced: ZeroDivisionError: boom at .*test_front.py:\d+",
    ),
    "no network": (lambda: task_of(3), "the network is 3; expected a class of flax.linen"),
    "an unknown loss": (lambda: task_of(Linear, loss="mse"), "the loss is 'mse', expected one of cross_entropy"),
    "an unknown metric": (lambda: task_of(Linear, metrics=["f1"]), "a metric is 'f1', expected one of"),
    "nothing to select by": (lambda: task_of(Linear, select="accuracy"), "select is 'accuracy', expected one of loss"),
    "ids of 64 bits": (
        lambda: run(task_of(Linear, (X, np.arange(300) + 2**40))),
        "which does not fit 32 bits; number them anew",
    ),
    "texts": (lambda: run(task_of(Linear, (X, np.array(["a"] * 300)))), "expected arrays of numbers"),
    "other lengths": (lambda: run(task_of(Linear, (X, Y[:9]))), "first axes of 9, 300; expected one length"),
    "too few rows": (lambda: run(task_of(Linear, (X[:5], Y[:5]))), "5 rows are too few to be cut 80/10/10"),
    "inputs alone": (lambda: run(task_of(Linear, X)), "the data of the task 'own' are a ndarray"),
    "another task's configs": (
        lambda: runs.run([jaxgen.Config()], task_of(Linear)),
        "configs of another task than 'own'",
    ),
    "no task": (
        lambda: runs.run([jaxgen.Config()], 3),
        "a int was given for a task; expected one from jaxgen.supervised",
    ),
    "a key that is not there": (
        lambda: task_of(Linear).config(model__width=3),
        "there is no config key 'model.width'",
    ),
    "no number": (
        lambda: run(task_of(Noisy), {"model.rate": [float("nan")]}),
        "model.rate is nan, expected a finite number",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_said_in_a_line(what: str) -> None:
    make, says = WRONG[what]
    with pytest.raises(jaxgen.UserError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_nothing_is_written_of_what_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(jaxgen.UserError):
        run(task_of(Column), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("network", [Noisy, OfNNX], ids=["linen", "nnx"])
def test_a_batchnorm_that_sees_a_batch_of_one_says_so(network: Any) -> None:
    said: list[str] = []

    class Planning(Exception):
        pass

    def listen(event: Any, results: Any) -> None:
        said.extend([str(event)] if isinstance(event, Notice) else [])
        if isinstance(event, Planned):  # before it compiles
            raise Planning

    with pytest.raises(Planning):
        run(task_of(network), train__batch_size=1, listener=listen)
    assert any("BatchNorm sees one row" in line for line in said)


def test_rows_that_do_not_fit_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_memory", lambda: 10_000.0)  # a machine of 10 kB: 300 rows of 16 bytes, several times over
    with pytest.raises(jaxgen.UserError, match="lie 4 times in memory"):
        run(task_of(Linear))


def test_an_edited_loss_is_said_at_resume(tmp_path: Path) -> None:
    run(task_of(Linear), out=tmp_path / "run")
    said: list[str] = []
    edited = task_of(Linear, loss=lambda outputs, targets: 2 * (outputs - targets) ** 2)
    run(edited, out=tmp_path / "run", resume=True, listener=lambda event, results: said.append(str(event)))
    assert any("computes something else than when the run began" in line for line in said)
    with pytest.raises(jaxgen.UserError, match="on other rows: 'own' has changed since"):
        run(task_of(Linear, (X, Y + 1)), out=tmp_path / "run", resume=True)


class Split(jaxgen.Task):
    """Measures whole splits alone, and is not defined where these have one kind of row."""

    name = "split"
    metrics = (jaxgen.Metric("auc", higher_is_better=True),)

    def splits(self, data: Any) -> Any:
        kinds = np.arange(300) % 2
        return jaxgen.Splits((X, kinds), (X[:50], kinds[:50]), (X[50:], np.ones(250, int)))

    def init(self, config: Any, key: Any) -> Any:
        return {"w": jax.random.normal(key, (3,))}, {}

    def loss(self, config: Any, params: Any, stats: Any, batch: Any, key: Any, step: Any) -> Any:
        return (batch[0] @ params["w"] - batch[1]) ** 2, stats

    def evaluate(self, config: Any, params: Any, stats: Any, split: Any, key: Any) -> Any:
        scores, ones = split[0] @ params["w"], split[1] == 1
        wins = (scores[:, None] > scores[None]) & ones[:, None] & ~ones[None]
        return {"auc": wins.sum() / (ones.sum() * (~ones).sum())}


def test_a_metric_that_a_part_does_not_define_is_refused(tmp_path: Path) -> None:
    task = Split()
    with pytest.raises(jaxgen.UserError, match="the metric 'auc' is not a number on the test part"):
        runs.run([task.config(**SMALL)], task, tmp_path / "run", width=2, chunk=2, devices=1)
    assert not (tmp_path / "run").exists()


def test_classes_that_the_network_has_no_outputs_for_are_refused() -> None:
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x: Any, train: bool) -> Any:
            return nn.Dense(2)(x)

    with pytest.raises(jaxgen.UserError, match="targets go from 0 to 2, and the network has outputs for the classes 0 to 1"):
        run(task_of(Two, (X, np.arange(300) % 3), "cross_entropy"))
    with pytest.raises(jaxgen.UserError, match="targets are of type float32; cross_entropy wants whole numbers"):
        run(task_of(Two, (X, Y), "cross_entropy"))


def squares(outputs: Any, targets: Any) -> Any:
    return (outputs - targets) ** 2


def places(outputs: Any, targets: Any) -> Any:
    return (outputs - targets[:, None]) ** 2, jnp.ones(outputs.shape)


def test_a_loss_of_ones_own_is_of_rows_or_of_places_with_weights() -> None:
    with pytest.raises(jaxgen.UserError, match=r"squares gives numbers of shape \(8, 8\) for 8 rows, expected \(8,\)"):
        run(task_of(Column, loss=squares))
    weights = np.arange(300) % 3
    (found,) = run(task_of(Column, (X, Y, weights), loss=places), {"seed": [0]}).rows
    assert np.isfinite(found.val_loss)


def test_inputs_stay_bytes_and_are_not_cut_to_the_type_of_training() -> None:
    picture = SOURCE.integers(0, 256, (300, 3)).astype(np.uint8)
    seen: list[Any] = []

    def inputs(x: Any) -> Any:
        seen.append(x.dtype)
        return x / 255

    best = run(task_of(Linear, (picture, Y), inputs=inputs)).best()
    assert set(map(str, seen)) == {"uint8"}
    with pytest.raises(jaxgen.UserError, match=r"inputs hold 0.5, and were uint8 in training"):
        jaxgen.predict(best, np.full((2, 3), 0.5))
    assert jaxgen.predict(best, picture[:2].astype(float)).shape == (2,)


def test_parts_hold_rows_of_one_kind() -> None:
    with pytest.raises(jaxgen.UserError, match=r"a row of test is .* and of train .*; give rows of one kind"):
        run(task_of(Linear, jaxgen.Splits((X, Y), (X, Y), (X[:, :2], Y))))


def test_a_task_that_is_read_again_shares_its_programs() -> None:
    task = task_of(Linear)
    assert task.opened(task.config().data).functions() == task.opened(task.config().data).functions()


def test_what_a_task_lacks_is_said() -> None:
    class Bare(jaxgen.Task):
        name = "bare"

        def splits(self, data: Any) -> Any:
            return X

    with pytest.raises(jaxgen.UserError, match="the task 'bare' has no init; give it one"):
        runs.run([Bare().config()], Bare())


class Weightless(Split):
    """A metric whose rows weigh nothing in a part."""

    metrics = (jaxgen.Metric("loss"),)
    evaluate = None  # pyright: ignore[reportAssignmentType]

    def functions(self) -> Any:
        return super().functions()._replace(evaluate=None)

    def score(self, config: Any, params: Any, stats: Any, rows: Any, keys: Any) -> Any:
        return {"loss": ((rows[0] @ params["w"]) ** 2, rows[1] == 0)}


def test_a_part_without_weights_is_refused() -> None:
    with pytest.raises(jaxgen.UserError, match="the metric 'loss' is not a number on the test part"):
        runs.run([Weightless().config(**SMALL)], Weightless())
