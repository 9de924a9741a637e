"""What the tests share. Two CPU devices, so that sharding is always on; implicit broadcasting of ranks is an error."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shapes  # noqa: F401  (before the package: shapes that stand in its types are checked)
from hypothesis import settings
from processes import Commands, built

from jaxgen import runs
from jaxgen.engine import plan
from jaxgen.engine.lanes import SegmentDone
from jaxgen.engine.programs import programs
from jaxgen.fields import override
from jaxgen.judge.results import Results
from jaxgen.loggers import telling
from jaxgen.reopen import load_results
from jaxgen.report import page
from jaxgen.runs import Interrupted
from jaxgen.storage.cache import keep_programs, private_folder
from jaxgen.tasks.names.config import Config, RegularizerConfig
from jaxgen.tasks.names.data import Corpus, Windows, load_corpus
from jaxgen.tasks.names.loss import next_character
from jaxgen.train.functions import Functions, mean, weighed

jax.config.update("jax_num_cpu_devices", 2)
# Compiles in a third of the time, and runs slowly; the package's programs say for themselves at which level.
SHIPPED: dict[str, Any] = {}
QUICK = ["--xla_backend_optimization_level=0"]
if jax.__version_info__ < (0, 11):  # XLA ends a process at a flag that it does not know
    SHIPPED = {"xla_cpu_use_fusion_emitters": True, "xla_cpu_parallel_codegen_split_count": 32}  # as XLA has it by itself
    QUICK += ["--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *QUICK])

ROOT = Path(__file__).parent.parent
LONGEST = {  # in seconds of one worker, a minute or about as much
    *("test_ablations", "test_commands", "test_docs", "test_engine", "test_examples", "test_faults", "test_known"),
    *("test_optimizers", "test_own_task", "test_runs", "test_strengths", "test_testing"),
}
SMALL = {
    "model.hidden": 16,
    "model.depth": 1,  # more layers take longer to compile
    "model.embedding": 4,
    "train.steps": 40,
    "train.eval_every": 20,
    "train.batch_size": 16,
    "train.names": 0,  # tests of what names are like say how many
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long forms of the fault tests, and every family: over an hour")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked `long` runs with --long alone. The longest files run first: no worker is left with one at the end."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)
    if not config.getoption("--long"):
        later = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if item not in later]
        config.hook.pytest_deselected(items=later)


def pytest_configure(config: pytest.Config) -> None:
    """A cache of compiled programs for this session, its workers and the commands that they start: nothing that an earlier
    session left, and none of the user's. Most of the suite's time would be compiling the same few programs."""
    gc.set_threshold(100_000, 20, 50)  # tracing makes many objects that live on: to look through them all takes a tenth of it
    settings.register_profile("shared", deadline=None)  # speed is asserted nowhere
    settings.load_profile("shared")
    if not hasattr(config, "workerinput"):
        home = tempfile.mkdtemp(prefix="jaxgen-tests-")
        os.environ["XDG_CACHE_HOME"] = home
        config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    folder = private_folder()
    assert folder is not None
    keep_programs(folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """400 of the bundled names."""
    names = (ROOT / "data" / "names.txt").read_text(encoding="utf-8").splitlines()[:400]
    path = tmp_path_factory.mktemp("corpus") / "names.txt"
    path.write_text("\n".join(names) + "\n", encoding="utf-8")
    return load_corpus(path)


@pytest.fixture(scope="session")
def small() -> Config:
    """A config that trains in no time."""
    return override(Config(), SMALL)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """`faults.c`, compiled, where that can be."""
    return built(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def commands(library: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """With the session's cache of programs. One for all: multiprocessing has one server to fork from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_NUM_CPU_DEVICES", "2")
        patch.setenv("COLUMNS", "100")
        if library is not None:
            patch.setenv("LD_PRELOAD", str(library))  # of the server that commands are forked from
        found = Commands(tmp_path_factory.mktemp("commands"))
        assert found.call("sweep", "--help")[0] == 0  # starts the server
        yield found


@contextlib.contextmanager
def compiled_with(options: dict[str, Any]) -> Iterator[None]:
    """The package's programs, with these options."""

    def forget() -> None:
        plan.compiler_options.cache_clear()
        programs.cache_clear()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "CPU_OPTIONS", options)
        forget()
        yield
    forget()


@pytest.fixture(scope="module")
def compiled_quickly() -> Iterator[None]:
    """Programs that run so briefly that compiling them is what takes time; not for tests of last bits."""
    with compiled_with(plan.RARE):
        yield


@pytest.fixture(scope="module")
def unillustrated() -> Iterator[None]:
    """Reports without the pictures of every task, which take longer to draw than a small run to train: for tests of what is
    around them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "save", lambda *_: {})
        yield


@pytest.fixture(scope="module")
def compiled_as_shipped() -> Iterator[None]:
    """For tests of last bits, and of what the compiler does: the programs as users have them."""
    with compiled_with(SHIPPED | plan.CPU_OPTIONS):
        yield


@pytest.fixture
def promptly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loggers write after each segment."""
    monkeypatch.setattr(telling, "EVERY", 0.0)
    monkeypatch.setattr(telling, "SHARE", math.inf)


V, B = 11, 24  # vocabulary and batch of `network`


def network(seed: int = 0, away: float = 1.0, **values: Any) -> tuple[Config, Any, Any, Windows]:
    """A small network of these options (`model.KEY`) with a batch: its config, parameters, statistics, windows."""
    small = {"embedding": 5, "hidden": 13, "depth": 2, **values}
    config = override(Config(), {f"model.{key}": value for key, value in small.items()} | {"seed": seed})
    params, stats = next_character(V).init(config, jax.random.key(seed))
    source = np.random.default_rng(seed)
    # `away` from the start, where scales are 1, biases 0 and running statistics 0 and 1: those would hide mistakes.
    params = jax.tree.map(lambda p: p + away * 0.3 * source.normal(size=p.shape).astype(np.float32), params)
    stats = jax.tree.map(lambda s: jnp.abs(s + away * 0.5 * source.normal(size=s.shape).astype(np.float32)) + away * 0.1, stats)
    ids = source.integers(0, V, (B, config.model.context)).astype(np.int32)
    return config, params, stats, Windows(ids, source.integers(0, V, B).astype(np.int32))


def loss_of(task: Functions, config: Config, params: Any, stats: Any, batch: Any, key: Any = None) -> tuple[jax.Array, Any]:
    """A batch's mean loss in training mode, and the new statistics."""
    assert task.loss is not None
    key = jax.random.key(0) if key is None else key
    found, stats = task.loss(config, params, stats, batch, key, jnp.zeros((), jnp.int32))
    return mean(weighed(found)), stats


def losses_of(task: Functions, config: Config, params: Any, stats: Any, rows: Any) -> jax.Array:
    """The loss of each row in evaluation mode."""
    assert task.score is not None
    return weighed(task.score(config, params, stats, rows, None)["loss"]).values


def float64(tree: Any) -> Any:
    """A tree for NumPy to compute with."""
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def only(config: Config, **strengths: Any) -> Config:
    """`config` with these regularizers, and no other in the program."""
    parts: dict[str, Any] = {part.name: strengths.get(part.name) for part in dataclasses.fields(RegularizerConfig)}
    return dataclasses.replace(config, regularizer=RegularizerConfig(**parts))


def same_bits(a: Any, b: Any) -> bool:
    """Whether two trees hold the same bytes."""
    pairs = zip(jax.tree.leaves(jax.device_get(a)), jax.tree.leaves(jax.device_get(b)), strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs)


def final(results: Results, trial: int) -> tuple[Any, Any]:
    """The parameters and statistics that a trial ended with."""
    trained = results.trained(trial)
    return trained.params, trained.stats


def bytes_of(out: Path) -> tuple[bytes, bytes, list[Any]]:
    """The tables of a run's folder, and every trial's arrays."""
    results = load_results(out)
    arrays = [final(results, row.trial) for row in sorted(results.rows, key=lambda row: row.trial)]
    return (out / "results.csv").read_bytes(), (out / "metrics.csv").read_bytes(), arrays


def same(a: tuple[bytes, bytes, list[Any]], b: tuple[bytes, bytes, list[Any]]) -> bool:
    """Whether two runs hold the same bytes."""
    return a[:2] == b[:2] and same_bits(a[2], b[2])


def interrupted(sweep: Any, task: Any, out: Path, stops: Sequence[int], **how: Any) -> Path:
    """A run that is stopped after so many segments in all, again and again, and goes on to its end."""
    segments = 0

    def count(event: object, results: object) -> None:
        nonlocal segments
        segments += isinstance(event, SegmentDone)

    for stop in stops:
        with pytest.raises(Interrupted):
            runs.run(sweep, task, out, resume=True, listener=count, stop=lambda stop=stop: segments >= stop, **how)
    runs.run(sweep, task, out, resume=True, **how)
    return out
