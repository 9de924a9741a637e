"""A run's saves taken apart, and put together again signed as jaxgen signs them: changed, or as formats before had them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from jaxgen.storage import files
from jaxgen.storage.facts import config_text

LATER = {  # keys of the config that a format before did not know
    4: ("model.heads", "model.smoothing", "train.names", "model.counts", "train.draw"),
    5: ("model.counts", "train.draw"),
    6: ("train.draw",),
    7: ("train.draw",),
    8: (),
}
OLD_ROW = "trial status seed values params steps best_step train_loss val_loss test_loss flaw dev_loss"


class AtOnce:
    """What writes beside the training, in its place."""

    def submit(self, work: Callable[..., float], *args: Any) -> Future[float]:
        done: Future[float] = Future()
        done.set_result(work(*args))
        return done

    def shutdown(self) -> None:
        pass


def log_of(out: Path) -> Path:
    return out / "checkpoints" / "ended.jsonl"


def manifests(out: Path) -> dict[Path, Any]:
    """What each save says."""
    return {path: files.unsigned(path.read_bytes()) for path in (out / "checkpoints").glob("save-*.json")}


def lines(out: Path) -> list[Any]:
    """What each line of the log of ended trials says."""
    return [json.loads(line.partition(b" ")[2]) for line in log_of(out).read_bytes().splitlines()]


def rewrite(out: Path, said: Sequence[Any]) -> None:
    """Has the log say something else, in as many lines, and each save know it."""
    content = [json.dumps(value).encode() for value in said]
    signed = [hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n" for text in content]
    before = log_of(out).read_bytes()
    log_of(out).write_bytes(b"".join(signed))
    for path, manifest in manifests(out).items():
        known = b"".join(signed[: before[: int(manifest["ended"].split()[0])].count(b"\n")])
        path.write_text(files.signed({**manifest, "ended": f"{len(known)} {hashlib.sha256(known).hexdigest()}"}))


def make_old(out: Path, version: int) -> None:
    """Makes of a run's folder what jaxgen wrote in a format before: rows and sums in each save; and before 8, when there were
    no tasks, a corpus, and losses as a row's fields. It shares no arrays."""
    facts = json.loads((out / "config.json").read_bytes()) | {"format": version}
    for key in LATER[version]:
        del facts["base"][key]
    if version < 8:
        rows = facts.pop("task")["rows"]
        facts |= {"source": rows.pop("source"), "corpus": rows}
    (out / "config.json").write_bytes(config_text(facts))
    log = log_of(out).read_bytes()
    for path, manifest in manifests(out).items():
        known = lines(out)[: log[: int(manifest.pop("ended").split()[0])].count(b"\n")]
        assert not any(line["shared"] for line in known)
        rows = [row for line in known for row in line["rows"]]
        for row in rows if version < 8 else ():
            metrics, measured, _ = row.pop("metrics"), row.pop("measured"), row.pop("score")
            row |= {"dev_loss": None, **metrics} | ({"quality": measured} if version > 4 else {})
            assert row.keys() - {"quality"} == {*OLD_ROW.split()}
        sums = {place: found for line in known for place, found in line["sums"].items()}
        if manifest["lanes"] is not None:
            sums[manifest["lanes"]] = manifest["sums"]
        trials = {line["place"]: [row["trial"] for row in line["rows"]] for line in known}
        old = {**manifest, "format": version, "trials": trials, "sums": sums, "rows": rows}
        path.write_text(files.signed(old))
    log_of(out).unlink()
