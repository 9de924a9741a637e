"""The commands as people call them: what they print, what they leave, and what they say of wrong input."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, SMALL
from processes import Commands

from jaxgen.commands.sample import in_its_case
from jaxgen.tasks.names.data import Corpus

FLAGS = [part for key, value in (SMALL | {"train.names": 8}).items() for part in (f"--{key}", str(value))]


def call(command: str, *args: str | Path) -> tuple[int, str, str]:
    """The command as a shell starts it; elsewhere `commands` forks it from a process that has everything imported."""
    line = [sys.executable, "-m", f"experiments.{command}", *map(str, args)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300, env={**os.environ, "COLUMNS": "100"})
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def run(corpus: Corpus, commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sweep, made by the command, with its pictures; its corpus lies beside it."""
    out = tmp_path_factory.mktemp("commands") / "run"
    names = out.parent / "names.txt"
    names.write_text("\n".join([*corpus.names, "<script>alert(1)</script>", "a$b$c_d"]) + "\n", encoding="utf-8")
    axes = ("--grid", "optimizer.name=sgd,adam", "--grid", "optimizer.learning_rate=0.001,0.01", "--seeds", "2")
    code, stdout, stderr = commands.call("sweep", "--data", names, "--out", out, "--tensorboard", *axes, *FLAGS, pictures=True)
    assert code == 0, stderr
    assert "8 of 8 trials ended" in stdout
    assert "20 names from trial" in stdout
    assert "1 training program compiled" in stdout
    assert "Split by rows: the floor without a network is" in stdout
    assert str(out / "report.html") in stdout
    assert f"tensorboard --logdir {out / 'tensorboard'}" in stdout
    return out


def test_sweep_leaves_the_runs_folder(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "config.json", "results.csv", "metrics.csv", "checkpoints", "report.html", "plots", "tensorboard",
        "logged.txt",
    }  # fmt: skip
    assert json.loads((run / "config.json").read_text())["programs"] == 1
    assert {path.name for path in (run / "tensorboard").iterdir() if path.is_dir()} == {
        f"{i} {'sgd' if i < 4 else 'adam'} learning_rate={'0.001' if i % 4 < 2 else '0.01'} seed={i % 2}" for i in range(8)
    }
    assert {path.name for path in (run / "plots").iterdir()} >= {
        "curves.png",
        "learning_rate.png",
        "heat.png",
        "embeddings.png",
    }


def test_sample_prints_names_and_nothing_else(run: Path, commands: Commands) -> None:
    how = ("--count", "7", "--prefix", "ma", "--temperature", "0.7", "--top-k", "9", "--top_p", "0.9")
    code, out, err = call("sample", run, *how)
    assert code == 0, err
    names = out.splitlines()
    assert len(names) == 7
    assert all(name.startswith("ma") for name in names)
    assert re.fullmatch(r"7 names: \d new, \d repeated, \d in the corpus\n", err)
    assert commands.call("sample", run, *how)[1] == out


def test_sample_takes_a_prefix_in_small_letters_where_names_have_no_others(run: Path, commands: Commands) -> None:
    code, out, err = commands.call("sample", run, "-n", "3", "--prefix", "Ma", "--temperature", "0")
    assert (code, len({*out.splitlines()})) == (0, 1), err
    assert out.startswith("ma")
    taken, _, equal = err.splitlines()
    assert taken == "--prefix 'Ma' is taken for 'ma': the names have no capitals"
    assert equal == "all are equal: at --temperature 0 each is the likeliest name; try 0.5"


@pytest.mark.parametrize(
    ("text", "characters", "taken"),
    [("Ma", "am", "ma"), ("Ma", "Mam", "Ma"), ("Mx", "am", "Mx"), ("\u0130", "im", "\u0130"), ("", "a", "")],
)
def test_a_text_is_in_small_letters_where_no_other_can_be(text: str, characters: str, taken: str) -> None:
    assert in_its_case(text, characters) == taken


def test_sample_prints_names_of_a_kind(run: Path, commands: Commands) -> None:
    names = (run.parent / "names.txt").read_text(encoding="utf-8").split("\n")
    how = ("--trial", "best-3", "--count", "12", "--unique", "--novel", "--max-length", "5", "--scores")
    code, out, err = commands.call("sample", run, *how)
    assert code == 0, err
    found = dict(line.split("\t") for line in out.splitlines())
    assert len(found) == 12
    assert not {*found} & {*names}
    assert all(len(name) <= 5 and float(chance) < 0 for name, chance in found.items())
    assert commands.call("sample", run, "--trial", "2,0", "--temperature", "0", "--count", "4", "--unique")[2].startswith(
        "only 1 name of 4"
    )


def test_score_says_how_surprising_names_are(run: Path, commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text("maria\nzzzzqqxx\nm?\n", encoding="utf-8")
    code, out, err = commands.call("score", run, "--names", tmp_path / "some.txt")
    assert code == 0, err
    head, *rows = (line.split(",") for line in out.splitlines())
    assert head == ["name", "nats", "bits_a_character"]
    assert [row[0] for row in rows] == ["m?", "zzzzqqxx", "maria"]
    assert rows[0][1] == "inf"
    nats, bits = map(float, rows[1][1:])
    assert bits == pytest.approx(nats / 9 / math.log(2), abs=1e-3)
    assert re.fullmatch(r"3 names, \d\.\d+ nats a character; 1 with a character that the corpus has not\n", err)


def test_score_takes_names_and_files_as_they_come(run: Path, commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "some").write_text("maria\nanna\n", encoding="utf-8")
    (tmp_path / "people.csv").write_text("id;name\n1;anna\n2;maria\n", encoding="utf-8")
    given = (("maria", "anna"), (tmp_path / "some",), (tmp_path / "people.csv", "--column", "2"))
    found = [commands.call("score", run, *names) for names in given]
    assert found[0][0] == 0, found[0][2]
    assert {line.split(",")[0] for line in found[0][1].splitlines()} == {"name", "maria", "anna"}
    assert {out for _, out, _ in found} == {found[0][1]}
    assert commands.call("score", run, "anna")[2].startswith("1 name, ")


def test_an_exported_trial_makes_the_names_of_the_run(run: Path, commands: Commands, tmp_path: Path) -> None:
    code, out, err = commands.call("export", run, tmp_path / "trial", "--trial", "5")
    assert code == 0, err
    assert out.strip() == str(tmp_path / "trial")
    names, again = (commands.call("sample", *which)[1] for which in ((run, "--trial", "5"), (tmp_path / "trial",)))
    assert names == again
    code, _, err = commands.call("sample", tmp_path / "trial", "--novel")
    assert code == 2
    assert "--novel needs the names that were learnt from: an export does not hold" in err
    assert commands.call("sample", tmp_path / "trial", "-n", "2")[2].startswith(
        "2 names; how many are new is not known: an export"
    )


def test_report_is_written_again_from_the_run_and_two_at_once_are_each_whole(run: Path, commands: Commands) -> None:
    page, table = run / "report.html", (run / "results.csv").read_bytes()
    before = page.read_text(encoding="utf-8")
    page.unlink()
    both = [commands.start("report", run) for _ in range(2)]
    assert [(one.wait(), one.err) for one in both] == [(0, "")] * 2
    for one in both:
        assert str(page) in one.out
        assert "Split by rows: the floor without a network is" in one.out
        assert "\nSelected: " in one.out  # the verdict
    assert (run / "results.csv").read_bytes() == table
    assert not [path for path in run.rglob("*") if path.suffix == ".new"]
    assert "Split by rows: the floor without a network is" in before
    assert "How good names are" in before
    assert page.read_text(encoding="utf-8") == before
    assert before.count("<script") == 3  # the page's own, its charts and what draws them; nothing of the names'
    beside = r"results\.csv|metrics\.csv|config\.json|plots/"
    assert not re.search(rf"(src|href|srcset)=\"(?!data:|#|{beside})", before)  # nothing from the network
    assert len(before) < 5_000_000


@pytest.mark.parametrize("command", ["sweep", "train", "sample", "score", "export", "merge", "report"])
def test_help(command: str, commands: Commands) -> None:
    code, out, _ = (call if command == "sweep" else commands.call)(command, "--help")
    assert code == 0
    assert f"python -m experiments.{command}" in out


def test_list_shows_the_ablations(commands: Commands) -> None:
    code, out, _ = commands.call("sweep", "--list")
    assert code == 0
    assert out.split()[:4] == ["ablation", "question", "trials", "steps"]
    (line,) = (line for line in out.splitlines() if line.split()[:1] == ["optimizers"])
    assert "Which of the seven classic optimizers" in line
    assert line.split()[-3:] == ["126", "2,000", "1.3"]  # seven optimizers, three rates, six seeds
    heads = [line.strip() for line in out.splitlines()]
    places = [
        heads.index(head)
        for head in ("Optimizers", "Vanishing gradients", "More than one network", "Points", "Curves", "Ratings")
    ]
    assert places == sorted(places)
    assert "minutes: about, as measured once on two CPU cores" in out


WRONG = [
    (["sweep", "--data", "nowhere.txt"], "nowhere.txt"),
    (["sweep", "--data", "EMPTY"], "no names"),
    (["sweep", "--data", "LATIN1"], "not UTF-8"),
    (["sweep", "--data", "TINY"], "too few to cut"),
    (["sweep", "--data", "CSV", "--column", "nam"], "name, sex"),
    (["sweep", "--data", "CSV"], "name, sex"),
    (["sweep", "nothing"], "optimizers"),
    (["sweep", "--optimizer.nam", "adam"], "--optimizer.nam"),
    (["sweep", "--train.steps", "many"], "many"),
    (["sweep", "--seeds", "0"], "0 trials"),
    (["sweep", "--optimizer.learning_rate", "0.1"], "varies optimizer.learning_rate"),
    (["sweep", "--grid", "optimizer.name=adm"], "sgd"),
    (["sweep", "--grid", "optimizer.nam=adam"], "optimizer.name"),
    (["sweep", "--grid", "optimizer.learning_rate=-1"], "-1"),
    (["sweep", "--grid", "seed=1,2", "--seeds", "3"], "--seeds"),
    (["sweep", "--random", "optimizer.learning_rate=1:0"], "LOW <= HIGH"),
    (["sweep", "--grid", "seed=1", "--trials", "x"], "--trials"),
    (["sweep", "--trials", "5"], "--random"),
    (["sweep", "--seed", "5", "--grid", "seed=1,2"], "varies seed"),
    (["sweep", "--data", "TINY", "--data.path", "other"], "long form"),
    (["sweep", "optimizers", "--grid", "optimizer.name=sgd"], "varied twice"),
    (["sweep", "--width", "0", "--grid", "seed=1"], "width"),
    (["train", "--optimizer.learning_rate", "-0.1"], "learning_rate"),
    (["train", "--optimizer.learning_rate", "nan"], "learning_rate"),
    (["train", "--optimizer.name", "optax.polyak_sgd"], "optax.lion"),
    (["train", "--model.activation", "swish"], "gelu"),
    (["train", "--out", "FILE"], "not a folder"),
    (["train", "--model.context", "0"], "only an ngram"),
    (["train", "--out", ""], "--out is empty"),
    (["sweep", "--out", "", "--grid", "seed=1"], "--out is empty"),
    (["sweep", "--grid", f"model.hidden={','.join(map(str, range(1, 22)))}", "--seeds", "100000"], "would have 2100000 trials"),
    (["train", "--model.hidden", "9" * 400], "is a number of many digits, expected a value in [1, 65536]"),
    (["export", "RUN", "."], "no name of a folder"),
    (["train", "--model.family", "grue"], "gru"),
    (["score", "nowhere", "--names", "TINY"], "holds no run"),
    (["score", "RUN", "--names", "nowhere.txt"], "nowhere.txt"),
    (["score", "RUN"], "names"),
    (["export", "RUN", "FILE"], "there already"),
    (["sample", "RUN", "--trial", "best-0"], "best-5"),
    (["sample", "RUN", "--trial", "best-99"], "give fewer"),
    (["sample", "RUN", "--max-length", "0"], "max_length"),
    (["sample", "nowhere"], "holds no run"),
    (["sample", "RUNS"], "give one of those in it: 'RUN'"),
    (["sample", "CSV"], "is a file, and a run is a folder"),
    (["sample", "RUN", "--trial", "best5"], "expected a number, best, best-5 for the mixture of the best five, or 3,5,8"),
    (["train", "--data", "https://example.com/names.txt"], "'https://example.com/names.txt' is an address"),
    (["train", "--data", "TINY", "--column", "name"], "leave --column out"),
    (["train", "--lr", "0.1"], "did you mean --optimizer.learning_rate?"),
    (["sweep", "optimisers"], "did you mean optimizers?"),
    (["sweep", "Optimizers"], "did you mean optimizers?"),
    (["sweep", "curve_fit"], "did you mean curve_fits?"),
    (["sweep", "--grid", "optimizer.name=sgd", "adam"], "--grid optimizer.name=sgd,adam"),
    (["sweep", "--random", "optimizer.name=sgd:adam"], "draw from: optimizer.name=sgd,adam"),
    (["score", "RUN", "nowhere.txt"], "nowhere.txt"),
    (["score", "RUN", "maria", "--names", "TINY"], "two sets of names are given"),
    (["score", "RUN", "maria", "--column", "2"], "--column is '2', but the names are given one by one"),
    (["report", "nowhere"], "holds no run"),
    (["sample"], "run"),
]


@pytest.mark.parametrize(("args", "says"), WRONG, ids=[" ".join(args) for args, _ in WRONG])
def test_wrong_input_is_one_helpful_line(args: list[str], says: str, run: Path, commands: Commands, tmp_path: Path) -> None:
    files = {"EMPTY": b"", "LATIN1": "anna\njosé\n".encode("latin-1"), "TINY": b"anna\nbob\n", "FILE": b"x"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "people.csv").write_text("name,sex\nanna,f\n")
    places = {**{name: tmp_path / name for name in files}, "CSV": tmp_path / "people.csv", "RUN": run, "RUNS": run.parent}
    says = says.replace("'RUN'", repr(str(run)))
    args = [str(places.get(arg, arg)) for arg in args]
    if args[0] in ("sweep", "train") and "--out" not in args:
        args += ["--out", str(tmp_path / "out")]
    code, _, err = commands.call(args[0], *args[1:])
    assert code == 2, err
    assert says in err
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_a_run_in_the_way_is_refused_and_kept(run: Path, commands: Commands) -> None:
    before = (run / "results.csv").read_bytes()
    code, _, err = commands.call("train", "--out", run)
    assert code == 2
    assert "--overwrite" in err
    assert (run / "results.csv").read_bytes() == before


def test_strange_prefix_and_trial(run: Path, commands: Commands) -> None:
    for args, says in (
        (("--prefix", "ma€"), "€"),
        (("--trial", "99"), "trial 99"),
        (("--trial", "x"), "best"),
        (("--top-k", "0"), "top_k"),
    ):
        code, out, err = commands.call("sample", run, *args)
        assert code == 2
        assert not out
        assert says in err
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.long)])
def test_a_signal_saves_and_the_run_resumes(number: int, code: int, run: Path, commands: Commands, tmp_path: Path) -> None:
    flags = [*FLAGS, "--train.steps", "200000", "--train.eval_every", "500", "--seed", "3"]
    line = ("train", "--data", run.parent / "names.txt", "--out", tmp_path / "run", *flags)
    metrics = tmp_path / "run" / "metrics.csv"
    running = commands.start(*line, "--precision", "default")
    running.until(lambda: metrics.exists() and metrics.read_text().count("\n") > 1)
    running.send(number)
    assert running.wait(60) == code, running.err
    assert "--resume" in running.out
    newest = max((tmp_path / "run" / "checkpoints").glob("save-*.json"))
    manifest = json.loads(newest.read_text().splitlines()[1])
    rows = metrics.read_text().count("\n")
    assert int(manifest["logs"]["metrics.csv"].split()[0]) == metrics.stat().st_size
    running = commands.start(*line, "--resume")
    running.until(lambda: metrics.read_text().count("\n") > rows)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["precision"] == "default"
    assert "the run began with precision default, and this is highest" in " ".join(running.out.split())
    running.send(signal.SIGKILL)
    running.wait()
    steps = [int(line.split(",")[1]) for line in metrics.read_text().splitlines()[1:]]
    assert steps == [500 * (i + 1) for i in range(len(steps))]
    assert len(steps) >= rows


@pytest.mark.parametrize(("signals", "within"), [pytest.param(1, 10.0, marks=pytest.mark.long), (2, 3.0)])
def test_a_signal_in_a_segment_without_end(signals: int, within: float, run: Path, commands: Commands, tmp_path: Path) -> None:
    """One signal waits for a segment's end, but not for long; a second one does not wait."""
    flags = [*FLAGS, "--train.steps", "10000000", "--train.eval_every", "10000000"]
    running = commands.start("train", "--data", run.parent / "names.txt", "--out", tmp_path / "run", *flags)
    running.until(lambda: " at a time on " in running.out)
    time.sleep(1)
    running.send(signal.SIGTERM)
    running.until(lambda: "again to stop at once" in running.err)
    sent = time.monotonic()
    if signals == 2:
        running.send(signal.SIGTERM)
    assert running.wait(60) == 143
    assert time.monotonic() - sent < within
