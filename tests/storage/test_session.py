"""When and where a run was trained, and the values that no one gave: what `config.json` says of both."""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest

import jaxgen
from jaxgen import runs
from jaxgen.config import OPTIMIZERS, resolve
from jaxgen.fields import flatten, override
from jaxgen.runs import Interrupted
from jaxgen.search.sweep import Sweep
from jaxgen.storage import session
from jaxgen.storage.facts import filled_in
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus


def facts(out: Path) -> dict[str, Any]:
    return json.loads((out / "config.json").read_text())


@pytest.mark.usefixtures("compiled_quickly")
def test_each_time_that_a_run_trains_is_a_session(
    small: Config, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, out = tmp_path / "repository", tmp_path / "run"
    repository.mkdir()
    for line in ("init -q", "-c user.name=a -c user.email=a@b commit -q --allow-empty -m x"):
        subprocess.run(["git", *line.split()], cwd=repository, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True)
    monkeypatch.chdir(repository)
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    with pytest.raises(Interrupted):
        runs.run(small, corpus, out, stop=lambda: True, width=2, chunk=1)
    monkeypatch.chdir(tmp_path)
    runs.run(small, corpus, out, resume=True, width=2, chunk=1)
    runs.run(small, corpus, out, resume=True, width=2, chunk=1)  # it has ended, and trains nothing
    first, second = facts(out)["sessions"]
    times = [datetime.datetime.fromisoformat(one[key]) for one in (first, second) for key in ("started", "ended")]
    assert [before, *times] == sorted([before, *times])
    assert (first["python"], first["commit"], second["commit"]) == (platform.python_version(), commit.stdout.strip(), None)
    jaxgen.load_results(out)  # the sum of the file is as it says


def test_what_is_said_of_sessions() -> None:
    one: session.Session = {
        "started": "2026-01-02T10:00:00+00:00",
        "ended": "2026-01-02T10:06:00+00:00",
        "python": "3.11.7",
        "machine": "Linux x86_64, 2 cores",
        "commit": "0123456789abcdef",
    }
    killed: session.Session = {**one, "ended": None}
    later: session.Session = {**one, "started": "2026-01-03T00:00:00+00:00", "ended": "2026-01-03T00:03:00+00:00"}
    (alone,) = session.told({"sessions": [one]})
    assert alone == (
        "2026-01-02 10:00 to 2026-01-02 10:06 UTC, 6.0 minutes; Linux x86_64, 2 cores, Python 3.11.7, commit 0123456789ab"
    )
    assert "to 2026-01-03 00:03 UTC, 9.0 minutes in 2 sessions" in session.told({"sessions": [one, later]})[0]
    assert "of unknown length, as it was killed once" in session.told({"sessions": [killed, later]})[0]
    assert session.told({}) == []
    strange: session.Session = {**one, "started": "<b>yesterday</b>", "commit": None}  # a file may say anything
    assert session.told({"sessions": [strange]}) == [
        "of unknown length, as it was killed once; Linux x86_64, 2 cores, Python 3.11.7"
    ]


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "optax.lion"])
def test_what_no_one_gave_stands_there(optimizer: str) -> None:
    """Together with what was given it is what the trial was trained with."""
    base = override(Config(), {"optimizer.name": optimizer, "optimizer.weight_decay": None})
    found = filled_in(Sweep(base))[optimizer]
    used = {key: value for key, value in flatten(resolve(base)).items() if key.startswith("optimizer.")}
    assert {**{key: flatten(base)[key] for key in used}, **found} == {
        key: (None if value is None and key not in found else value) for key, value in used.items()
    }
    varied = filled_in(jaxgen.grid(base, {"optimizer.learning_rate": [0.1, 0.2]}))[optimizer]
    assert varied == {key: value for key, value in found.items() if key != "optimizer.learning_rate"}


def test_of_each_optimizer_of_a_sweep() -> None:
    sweep = jaxgen.grid(Config(), {"optimizer.name": ["adam", "sgd"], "seed": range(3)})
    assert {name: values["optimizer.learning_rate"] for name, values in filled_in(sweep).items()} == {
        name: OPTIMIZERS[name]["learning_rate"] for name in ("adam", "sgd")
    }
