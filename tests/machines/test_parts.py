"""Parts of a run: they come to the bytes of the run alone, whoever trains them, and what is wrong with one is said."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from conftest import ROOT, SMALL, same_bits
from hypothesis import given
from hypothesis import strategies as st
from processes import Commands

import jaxgen
from jaxgen import runs
from jaxgen.commands.sweep import addressed
from jaxgen.fields import UserError, override
from jaxgen.job import prepared
from jaxgen.machines import merging
from jaxgen.machines import parts as dealing
from jaxgen.machines.merging import merge
from jaxgen.machines.orders import order, train
from jaxgen.machines.parts import Dealt, deal
from jaxgen.runs import Interrupted
from jaxgen.search.sweep import Group, Sweep
from jaxgen.storage.facts import config_text, read_config
from jaxgen.storage.lock import Lock
from jaxgen.tasks import task_of
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus

pytestmark = pytest.mark.usefixtures("compiled_quickly")

CHUNK = 2
AXES: dict[str, Any] = {"regularizer.l2": [0.0, 1e-3], "optimizer.name": ["sgd", "adam"], "seed": range(3)}


def sweep_of(small: Config) -> Sweep:
    """Of one program, in which only some trials use a strength; and of another that is solved and not trained."""
    solved = {"model.family": "ngram", "seed": 7}
    return Sweep(small, (*jaxgen.grid(small, AXES).points, solved))


@pytest.fixture(scope="module")
def alone(small: Config, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that one process makes."""
    out = tmp_path_factory.mktemp("alone") / "run"
    runs.run(sweep_of(small), corpus, out, width=12, chunk=CHUNK)
    return out


@pytest.fixture(scope="module")
def whole(small: Config, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same by parts, in another order, all of which have ended; not merged."""
    out = tmp_path_factory.mktemp("whole") / "run"
    run = deal(sweep_of(small), corpus, out, most=5)
    for part in random.Random(0).sample(run.parts, len(run.parts)):
        train(order(run, part, chunk=CHUNK))
    return out


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to do harm to."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def alike(one: Path, other: Path) -> None:
    """The same tables, in whatever order trials were trained, and the same states."""
    assert (one / "results.csv").read_bytes() == (other / "results.csv").read_bytes()
    lines = [sorted((path / "metrics.csv").read_text().splitlines()) for path in (one, other)]
    assert lines[0] == lines[1]
    for row in jaxgen.load_results(other).rows:
        ours, theirs = jaxgen.load(one, row.trial), jaxgen.load(other, row.trial)
        assert same_bits((ours.params, ours.stats), (theirs.params, theirs.stats))


def test_parts_come_to_the_bytes_of_the_whole(alone: Path, copied: Path, small: Config, corpus: Corpus) -> None:
    """And the run that is made of them goes on like any other: with more seeds."""
    found = merge(copied)
    assert (found.ended, found.trials, found.missing, found.notices) == (13, 13, [], [])
    alike(copied, alone)
    more = Sweep(small, (*sweep_of(small).points, *({**point, "seed": 3} for point in jaxgen.grid(small, AXES).points[::3])))
    runs.run(more, corpus, copied, resume=True, width=12, chunk=CHUNK)
    runs.run(more, corpus, alone.parent / "more", width=12, chunk=CHUNK)
    alike(copied, alone.parent / "more")
    with pytest.raises(UserError, match="was gone on with since its parts were merged"):
        merge(copied)


def test_a_part_that_is_stopped_after_each_segment_is_the_same(
    alone: Path, small: Config, corpus: Corpus, tmp_path: Path
) -> None:
    run = deal(sweep_of(small), corpus, tmp_path / "run", most=6)
    for part in run.parts:
        for _ in range(20):
            asked = itertools.count()
            try:
                told = order(run, part, chunk=CHUNK)
                train(told, stop=lambda asked=asked: next(asked) == 1)
            except Interrupted:
                assert not dealing.ended(run.path, part)
                merge(run.path)  # at any moment
                continue
            break
        assert dealing.ended(run.path, part)
    merge(run.path)
    alike(run.path, alone)


def test_what_is_missing_is_named_and_trained_by_the_run_itself(
    alone: Path, copied: Path, small: Config, corpus: Corpus
) -> None:
    shutil.rmtree(dealing.place(copied, 1))
    found = merge(copied)
    assert found.missing == ["part 1 (trials 4-7) is not there"]
    assert found.ended == 9
    assert {row.trial for row in jaxgen.load_results(copied).rows} == {*range(4), *range(8, 13)}
    said: list[str] = []
    runs.run(
        sweep_of(small),
        corpus,
        copied,
        resume=True,
        listener=lambda event, _: said.append(str(event)) if isinstance(event, runs.Notice) else None,
    )
    assert any("their parts were not there when the run was merged; trials 4-7 are trained again" in line for line in said)
    alike(copied, alone)


def test_before_it_is_merged_a_run_is_not_trained_as_a_whole(copied: Path, small: Config, corpus: Corpus) -> None:
    with pytest.raises(UserError, match="is trained by parts"):
        runs.run(sweep_of(small), corpus, copied, resume=True)


def harm_arrays(part: Path) -> None:
    files = (path for path in (part / "checkpoints").glob("trials-*/**/*") if path.is_file())
    file = max(files, key=lambda path: path.stat().st_size)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def other_facts(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def harm(part: Path) -> None:
        facts = read_config(part)
        change(facts)
        (part / "config.json").write_bytes(config_text(facts))

    return harm


HARMS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "arrays": (harm_arrays, "part 0 (trials 0-3) is damaged"),
    "config": (lambda part: (part / "config.json").write_bytes(b"{}"), "is damaged"),
    "table": (lambda part: (part / "metrics.csv").write_bytes(b""), "is damaged"),
    "log": (lambda part: (part / "checkpoints" / "ended.jsonl").write_bytes(b""), "is damaged"),
    "sweep": (other_facts(lambda facts: facts["sweep"]["points"].reverse()), "is of another run"),
    "base": (other_facts(lambda facts: facts["base"].update({"model.hidden": 17})), "is of another run"),
    "rows": (other_facts(lambda facts: facts["task"]["rows"].update(sha256="0" * 64)), "is of another run"),
}


@pytest.mark.parametrize("what", HARMS)
def test_a_part_that_is_damaged_or_of_another_run_is_named_and_left_out(what: str, copied: Path) -> None:
    harm, said = HARMS[what]
    harm(dealing.place(copied, 0))
    found = merge(copied)
    (line,) = found.missing
    assert said in line
    assert line.startswith("part 0 (trials 0-3) ")
    assert found.ended == 9
    assert 0 not in {row.trial for row in jaxgen.load_results(copied).rows}


def test_other_versions_and_chunks_are_named(copied: Path, small: Config, corpus: Corpus) -> None:
    other_facts(lambda facts: facts["versions"].update(jax="0.0.1"))(dealing.place(copied, 2))
    shutil.rmtree(dealing.place(copied, 1))
    run = deal(sweep_of(small), corpus, copied)
    train(order(run, run.parts[1], chunk=1))
    found = merge(copied)
    assert not found.missing
    assert any(line.startswith("part 2 was trained with jax 0.0.1, and the run was begun with ") for line in found.notices)
    assert any(line.startswith("part 1 computed 1 networks at once, and others of its group 2") for line in found.notices)


def test_a_part_that_is_trained_twice_is_compared(copied: Path, small: Config, corpus: Corpus) -> None:
    """A worker that was believed dead, and trained on: the second one has a folder of its own."""
    run = deal(sweep_of(small), corpus, copied)
    (copied / "parts" / "00000" / "lock").write_text("")
    train(order(run, run.parts[0], dealing.place(copied, 0, 2), chunk=CHUNK))
    before = (copied / "results.csv").exists()
    (line,) = merge(copied).notices
    assert not before
    assert line.startswith("part 0 was trained twice, and came to the same bits: 00000 (jax ")
    shutil.rmtree(dealing.place(copied, 0, 2))
    train(order(run, run.parts[0], dealing.place(copied, 0, 2), chunk=1))
    lines = merge(copied).notices
    assert any("was trained twice, and came to other bits, first in trial 0: 00000 (jax " in line for line in lines)


def test_two_workers_are_not_given_one_folder(copied: Path, small: Config, corpus: Corpus) -> None:
    run = deal(sweep_of(small), corpus, copied)
    part = run.parts[1]
    assert dealing.free(copied, part) == dealing.place(copied, 1)
    lock = Lock(dealing.place(copied, 1))
    assert dealing.free(copied, part) == dealing.place(copied, 1, 2)
    with pytest.raises(UserError, match="is being written by"):
        train(order(run, part, chunk=CHUNK))
    lock.release()


def test_all_workers_take_the_chunk_that_the_first_one_measured(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """Parts of four trials on two devices would take chunks of two; the first worker had one device."""
    run = deal(jaxgen.seeds(small, 8), corpus, tmp_path / "run", most=4)
    train(order(run, run.parts[0], devices=1))
    (said,) = (tmp_path / "run" / "parts").glob("chunk-*.json")
    train(order(run, run.parts[1]))
    chunks = {read_config(dealing.place(run.path, part.number))["plan"][0]["lanes"]["chunk"] for part in run.parts}
    assert chunks == {json.loads(said.read_text())}


def test_a_folder_is_dealt_once(small: Config, corpus: Corpus, alone: Path, tmp_path: Path) -> None:
    run = deal(sweep_of(small), corpus, tmp_path / "run", most=5)
    again = deal(sweep_of(small), corpus, tmp_path / "run", most=2)  # as it was dealt
    assert again.parts == run.parts
    with pytest.raises(UserError, match="holds a run of another base"):
        deal(sweep_of(override(small, {"model.hidden": 17})), corpus, tmp_path / "run")
    with pytest.raises(UserError, match="holds a run of 13 trials, and here it is of 4"):
        deal(jaxgen.seeds(small, 4), corpus, tmp_path / "run")
    with pytest.raises(UserError, match="holds a run that is not trained by parts"):
        deal(sweep_of(small), corpus, alone)
    with pytest.raises(UserError, match="nothing to merge"):
        merge(alone)
    with pytest.raises(UserError, match=r"no part of the run in .* has saved anything"):
        merge(tmp_path / "run")
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.endswith(".new")]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    with pytest.raises(UserError, match="holds files but no run"):
        deal(sweep_of(small), corpus, tmp_path / "full")


def test_a_merge_that_was_killed_is_done_again(
    copied: Path, alone: Path, small: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each thing that it writes in the run's folder."""
    for name in ("write", "results_in"):
        for calls in range(4):
            real, left = getattr(merging, name), itertools.count()

            def fails(*args: Any, real: Any = real, left: Any = left, calls: int = calls) -> Any:
                if next(left) == calls:
                    raise KeyboardInterrupt
                return real(*args)

            monkeypatch.setattr(merging, name, fails)
            with contextlib.suppress(KeyboardInterrupt):
                merge(copied)
            monkeypatch.undo()
    merge(copied)
    alike(copied, alone)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 20))
def test_every_trial_is_dealt_once(sizes: list[int], most: int) -> None:
    ends = [0, *itertools.accumulate(sizes)]
    groups = [Group(tuple(range(first, last)), (), lambda config, since: config) for first, last in itertools.pairwise(ends)]
    found = dealing.dealt(groups, most)
    assert [part.number for part in found] == [*range(len(found))]
    assert list(itertools.chain(*(part.trials for part in found))) == [*range(ends[-1])]
    for number, size in enumerate(sizes):
        own = [len(part.trials) for part in found if part.group == number]
        assert len(own) == -(-size // most)
        assert max(own) - min(own) <= 1
        assert max(own) <= most


@given(st.integers(1, 12))
def test_shares_are_all_of_it_from_zero_and_from_one(count: int) -> None:
    def none() -> tuple[int, int]:
        raise AssertionError

    for first in (0, 1):
        found = [dealing.share(f"{number}/{count}", none) for number in range(first, first + count)]
        assert sorted(number for number, _ in found) == [*range(count)]
    assert dealing.share("auto", lambda: (3, 5)) == (3, 5)


def test_ray_by_itself_stands_for_a_cluster_that_is_looked_for() -> None:
    assert addressed([]) == []
    assert addressed(["--ray"]) == ["--ray=auto"]
    assert addressed(["--ray", "pooling", "--seeds", "2"]) == ["--ray=auto", "pooling", "--seeds", "2"]
    for address in ("auto", "local", "ray://head:10001", "10.0.0.1:6379"):
        assert addressed(["--ray", address]) == ["--ray", address]
    assert addressed(["--seeds", "2", "--ray=auto"]) == ["--seeds", "2", "--ray=auto"]


@pytest.mark.parametrize("text", ["", "3", "3/", "/3", "-1/3", "4/3", "1/0", "0/0", "a/b", "1/2/3", "1.0/2"])
def test_what_is_no_share_is_a_line(text: str) -> None:
    with pytest.raises(UserError, match=r"--part is .*, expected K/N, such as 3/8"):
        dealing.share(text, lambda: (0, 1))


def test_a_group_is_shaped_the_same_by_what_stands_beside_a_part(small: Config, corpus: Corpus) -> None:
    """Each part's program is that of its group, to the structure and the values of its lowered configs."""
    sweep = Sweep(
        small,
        (
            *({"seed": seed} for seed in range(3)),
            {"regularizer.l2": 1e-3},
            {"regularizer.dropout": 0.2},
            {"train.steps": 90, "train.eval_every": 60},
            {"optimizer.name": "sgd"},
        ),
    )
    job = prepared(sweep, task_of(corpus))
    run = Dealt(Path("run"), job.sweep, job.task, tuple(dealing.dealt(job.groups, 1)), tuple(job.groups), jaxgen.Question(), ())
    for part in run.parts:
        (group,) = prepared(run.sweep_of(part), run.task).groups
        ours, theirs = group.traced(0), job.groups[part.group].traced(part.trials[0])
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_array_equal(a, b)


FLAGS = [part for key, value in SMALL.items() for part in (f"--{key}", str(value))]


EIGHT = ("--grid", "optimizer.name=sgd,adam", "--seeds", "4", "--chunk", "2", *FLAGS)


@pytest.fixture(scope="module")
def eight(small: Config, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The table of such a sweep, by one process."""
    out = tmp_path_factory.mktemp("eight") / "run"
    runs.run(jaxgen.seeds(jaxgen.grid(small, {"optimizer.name": ["sgd", "adam"]}), 4), corpus, out, chunk=2)
    return (out / "results.csv").read_bytes()


def test_shares_by_the_command(eight: bytes, corpus: Corpus, commands: Commands, tmp_path: Path) -> None:
    """Two processes at the same time, each with its share."""
    out, line = tmp_path / "run", ("--data", corpus.path, *EIGHT)
    both = [commands.start("sweep", *line, "--out", out, "--part", f"{share}/2", "--part-trials", "4") for share in (1, 2)]
    assert [(one.wait(), one.err) for one in both] == [(0, "")] * 2
    code, said, err = commands.call("merge", out)
    assert code == 0, err
    assert "8 of 8 trials ended" in said
    assert "Selected: " in said
    assert (out / "report.html").exists()
    assert (out / "results.csv").read_bytes() == eight


def test_a_disk_that_fills_up_under_one_worker(
    library: Path | None, eight: bytes, corpus: Corpus, commands: Commands, tmp_path: Path
) -> None:
    """It says so in a line; its share goes on by the same command, and the run is as if nothing had been."""
    if library is None:
        pytest.skip("needs Linux and a C compiler")
    shared = ("sweep", "--data", corpus.path, *EIGHT, "--out", tmp_path / "run", "--part-trials", "4", "--part")
    assert commands.call(*shared, "1/2")[0] == 0
    code, _, err = commands.call(*shared, "2/2", fault=(str(tmp_path / "run" / "parts" / "00000"), 40, errno.ENOSPC))
    assert code == 2
    assert "No space left on device" in err
    assert len(err.splitlines()) == 1
    assert merge(tmp_path / "run").ended == 4
    assert commands.call(*shared, "2/2")[0] == 0
    assert (tmp_path / "run" / "results.csv").read_bytes() == eight


@pytest.mark.long
def test_each_host_of_a_cluster_takes_its_share(corpus: Corpus, tmp_path: Path) -> None:
    """Two processes that Open MPI might have started, by what it tells them."""
    line = ("--data", corpus.path, *EIGHT, "--out", str(tmp_path / "run"), "--part-trials", "4", "--part", "auto")
    hosts = []
    for number in range(2):
        own = {"OMPI_MCA_orte_hnp_uri": "315392.0;tcp://127.0.0.1:4000"}
        own |= {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": str(number), "OMPI_COMM_WORLD_LOCAL_RANK": str(number)}
        command = [sys.executable, "-m", "experiments.sweep", *line]
        hosts.append(subprocess.Popen(command, cwd=ROOT, env={**os.environ, **own}, stdout=subprocess.PIPE, text=True))
    said = [host.communicate(timeout=300)[0] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0]
    assert [f"part {number} of 2: " in text for number, text in enumerate(said)] == [True, True]
    assert merge(tmp_path / "run").ended == 8


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["sweep", "--part", "4/3"], "--part is '4/3', expected K/N"),
        (["sweep", "--part", "1/2", "--ray"], "--part and --ray exclude each other"),
        (["sweep", "--part", "1/2", "--overwrite"], "remove its folder"),
        (["sweep", "--part", "1/2", "--tensorboard"], "--log and --tensorboard follow one process"),
        (["sweep", "--part", "1/2", "--part-trials", "0"], "part_trials is 0, expected 1 or more"),
        (["sweep", "--part", "auto"], "JAX finds no cluster that this process is of"),
        (["merge", "nowhere"], "holds no run"),
    ],
)
def test_wrong_input_is_one_line(args: list[str], says: str, commands: Commands, tmp_path: Path) -> None:
    more = ["--out", str(tmp_path / "run"), "--grid", "optimizer.name=sgd"] if args[0] == "sweep" else []
    code, _, err = commands.call(*args, *more)
    assert code == 2
    assert says in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()
