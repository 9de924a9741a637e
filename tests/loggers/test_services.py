"""MLflow, Weights & Biases and trackio without a network, each read back by its own package beside the run's tables."""

from __future__ import annotations

import importlib
import json
import math
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from test_telling import HOSTILE
from test_tensorboard import Points, metrics, table

import jaxgen
from jaxgen import runs
from jaxgen.engine.lanes import Event, SegmentDone
from jaxgen.engine.plan import Planned
from jaxgen.judge.results import Results
from jaxgen.loggers import telling
from jaxgen.runs import Notice
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus

pytestmark = pytest.mark.usefixtures("compiled_quickly", "promptly")

HEAVY = {"mlflow": "mlflow and SQLAlchemy, some 60 packages", "wandb": "a program of its own, of 100 MB", "trackio": ""}


class Found(NamedTuple):
    """What a service holds of a run, by trial."""

    names: dict[int, str]
    configs: dict[int, dict[str, Any]]
    points: Points
    """(trial, step) -> loss/train, loss/validation; a point that is there twice is an error."""
    ends: dict[int, dict[str, Any]]


def of_mlflow(out: Path) -> Found:
    mlflow = importlib.import_module("mlflow")
    path = str((out / "mlflow" / "mlflow.db").absolute()).replace("%", "%25").replace("?", "%3F")
    client = mlflow.MlflowClient(f"sqlite:///{path}")
    found = Found({}, {}, {}, {})
    runs = client.search_runs([client.get_experiment_by_name(out.name).experiment_id])
    for run in runs:
        trial = int(run.data.tags["jaxgen.trial"])
        assert trial not in found.names
        found.names[trial], found.configs[trial] = run.info.run_name, run.data.params
        train, validation = (client.get_metric_history(run.info.run_id, f"loss/{part}") for part in ("train", "validation"))
        for a, b in zip(train, validation, strict=True):
            assert a.step == b.step
            assert (trial, a.step) not in found.points
            found.points[trial, a.step] = (a.value, b.value)
        if "jaxgen.status" in run.data.tags:
            assert run.info.status == ("FAILED" if run.data.tags["jaxgen.status"].startswith("diverged") else "FINISHED")
            found.ends[trial] = {**run.data.metrics, "status": run.data.tags["jaxgen.status"].partition(",")[0]}
        else:
            assert run.info.status == "KILLED"
    return found


def records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: of LevelDB's log format (blocks of 32 KiB), in W&B's own messages."""
    proto = importlib.import_module("wandb.proto.wandb_internal_pb2")
    content, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # all of it, or the last part
            record = proto.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def whole(path: Path) -> list[Any]:
    """All records of a run that has ended: its file is written to its end by a process of W&B's, a moment later."""
    until = time.monotonic() + 60
    while True:
        found = list(records(path))
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        assert time.monotonic() < until, f"{path} has no end"
        time.sleep(0.05)


def of_wandb(out: Path) -> Found:
    found = Found({}, {}, {}, {})
    for path in (out / "wandb").glob("offline-run-*/run-*.wandb"):
        summary: dict[str, Any] = {}
        trial = int(path.stem.rpartition("-")[2])
        assert trial not in found.names
        for record in whole(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                found.names[trial] = record.run.display_name
                found.configs[trial] = {one.key: json.loads(one.value_json) for one in record.run.config.update}
            elif kind == "history":
                values = {one.key or ".".join(one.nested_key): json.loads(one.value_json) for one in record.history.item}
                place = (trial, int(values["_step"]))
                assert place not in found.points
                found.points[place] = (float(values["loss/train"]), float(values["loss/validation"]))
            elif kind == "summary":
                summary |= {one.key or ".".join(one.nested_key): json.loads(one.value_json) for one in record.summary.update}
        if "status" in summary:
            found.ends[trial] = summary
    return found


def of_trackio(out: Path) -> Found:
    storage = importlib.import_module("trackio.sqlite_storage").SQLiteStorage
    found = Found({}, {}, {}, {})
    for run in storage.get_run_records(out.name):
        trial = int(run["id"].rpartition("-")[2])
        assert trial not in found.names
        found.names[trial] = run["name"]
        found.configs[trial] = storage.get_run_config(out.name, run_id=run["id"])
        for log in storage.get_logs(out.name, run_id=run["id"]):
            if "loss/train" in log:
                assert (trial, log["step"]) not in found.points
                found.points[trial, log["step"]] = (float(log["loss/train"]), float(log["loss/validation"]))
            else:
                assert trial not in found.ends or found.ends[trial]["steps"] < log["summary/steps"]  # it was given more
                end = {name.removeprefix("summary/"): value for name, value in log.items()}
                found.ends[trial] = {**end, "status": found.configs[trial]["status"]}
    return found


READ: dict[str, Callable[[Path], Found]] = {"mlflow": of_mlflow, "wandb": of_wandb, "trackio": of_trackio}


@pytest.fixture(autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("services")
    monkeypatch.setattr(telling, "PATIENCE", 60.0)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(home))
    monkeypatch.setenv("HF_HOME", str(home))
    if "trackio" in sys.modules:
        monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", home)
    else:
        monkeypatch.setenv("TRACKIO_DIR", str(home))


@pytest.fixture(params=READ)
def service(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param, reason=f"{request.param} is not installed; {HEAVY[request.param]}")
    if request.param == "mlflow":
        pytest.importorskip("sqlalchemy", reason="mlflow-skinny has no store of its own")
    return request.param


def agrees(found: Found, out: Path) -> None:
    """That a service holds what the tables of the run's folder do."""
    expected, points = metrics(out), {key: tuple(map(np.float32, values)) for key, values in found.points.items()}
    assert points.keys() == expected.keys()
    assert np.array_equal([points[key] for key in expected], [*expected.values()], equal_nan=True)
    for row in table(out / "results.csv"):
        end = found.ends[int(row["trial"])]
        assert row["status"] == end["status"]
        for key in ("val_loss", "test_loss", "train_loss", "steps", "best_step", "params"):
            assert float(end[key]) == pytest.approx(float(row[key]), rel=1e-12, nan_ok=True)


def test_a_service_holds_what_the_tables_do(service: str, small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """In a folder of a strange name, with a trial that diverges."""
    out = tmp_path / "a b%41?#é"
    sweep = jaxgen.grid(small, {"optimizer.name": ["sgd"], "optimizer.learning_rate": [0.1, 1e30]})
    said: list[str] = []
    with jaxgen.log_to(service, say=said.append) as listener:
        runs.run(sweep, corpus, out, width=2, chunk=1, listener=listener)
    assert said == []
    found = READ[service](out)
    agrees(found, out)
    assert found.names == {0: "0 sgd learning_rate=0.1", 1: "1 sgd learning_rate=1e+30"}
    assert {found.ends[trial]["status"] for trial in (0, 1)} == {"completed", "diverged"}
    for trial, rate in ((0, 0.1), (1, 1e30)):
        config = found.configs[trial]
        assert config["optimizer.name"] == "sgd"
        assert float(config["optimizer.learning_rate"]) == rate
        assert int(config["model.hidden"]) == 16


def test_going_on_doubles_nothing(service: str, small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """After a crash that had logged more than was saved, and once more where nothing is left to do."""
    out, sweep, segments = tmp_path / "run", jaxgen.grid(small, {"seed": range(6)}), 0

    def crash(event: Event | Planned | Notice, results: Results) -> None:
        nonlocal segments
        listener(event, results)
        segments += isinstance(event, SegmentDone)
        if segments == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), jaxgen.log_to(service) as listener:
        runs.run(sweep, corpus, out, width=2, chunk=1, listener=crash)
    first = READ[service](out)
    assert first.points
    for _ in range(2):
        with jaxgen.log_to(service) as listener:
            listener.begin(runs.run(sweep, corpus, out, width=2, chunk=1, resume=True, listener=listener))
        found = READ[service](out)
        agrees(found, out)
        assert found.points.keys() >= first.points.keys()


def test_more_steps_are_added(service: str, small: Config, corpus: Corpus, tmp_path: Path) -> None:
    """To trials that had ended, and been logged to their end; of one that diverged there is nothing more to log."""
    out, axes = tmp_path / "run", {"optimizer.name": ["sgd"], "optimizer.learning_rate": [0.1, 1e30, 0.2]}
    for steps in (40, 80, 80):
        sweep = jaxgen.grid(jaxgen.override(small, {"train.steps": steps}), axes)
        with jaxgen.log_to(service) as listener:
            listener.begin(runs.run(sweep, corpus, out, width=2, chunk=1, resume=True, listener=listener))
        agrees(READ[service](out), out)
    assert {int(row["steps"]) for row in table(out / "results.csv")} >= {80}


def test_hostile_texts_stay_text(service: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    results = Results(jaxgen.grid(Config(), {"data.path": [HOSTILE]}), out=str(out))
    results.rows.append(results.row(0, "diverged", 9, 30, 20, {"val_loss": math.nan, "val_my <b>\n": 1.0}, flaw=HOSTILE))
    said: list[str] = []
    with jaxgen.log_to(service, say=said.append) as listener:
        listener.begin(results)
    assert said == []
    found = READ[service](out)
    shown = "<script>\\x1b[31m\\n../../etc\\ud800"
    assert found.names == {0: f"0 {shown}"}
    assert found.configs[0]["data.path"] == shown
    assert found.ends[0]["status"] == "diverged"


def test_mlflow_is_asked_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason=HEAVY["mlflow"])
    from jaxgen.loggers.to_mlflow import MLflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert MLflow().look("run", tmp_path) == "http://127.0.0.1:9"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert MLflow().look("run", tmp_path) == f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow/mlflow.db"


def test_wandb_without_an_account_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason=HEAVY["wandb"])
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(jaxgen.UserError, match="needs an account; `wandb login`, or WANDB_MODE=offline"):
        jaxgen.log_to("wandb")
