"""Whether a folder may be written to: what a run's folder holds, and what is refused."""

from __future__ import annotations

from pathlib import Path

from jaxgen.fields import UserError
from jaxgen.storage.facts import CONFIG, check_ours
from jaxgen.storage.files import finished, remove, writing
from jaxgen.storage.lock import LOCK
from jaxgen.storage.logs import KINDS

RESULTS, CHECKPOINTS = "results.csv", "checkpoints"
PARTS = "parts"  # of a run that is trained by several processes, a run each
LOGGED = {"logged.txt", "tensorboard", "mlflow", "wandb"}
FILES = {CONFIG, *KINDS, RESULTS, CHECKPOINTS, PARTS, "report.html", "plots", *LOGGED}  # all that a run's folder holds


def check_out(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuses a folder that may not be written to.

    Raises:
      UserError: if it holds a run without `resume` or `overwrite`, or is none of ours.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{str(path)!r} is not a folder; give another one with --out")
    if path.is_symlink() and overwrite:
        raise UserError(f"{str(path)!r} is a symbolic link, which --overwrite does not follow; give the folder itself")
    names = {finished(item.name) for item in path.iterdir()} - {LOCK} if path.exists() else set()
    holds_run = CONFIG in names
    if names and not holds_run:
        raise UserError(f"{str(path)!r} holds files but no run; give an empty folder with --out")
    if holds_run and not resume and not overwrite:
        raise UserError(
            f"{str(path)!r} holds a run; give --resume to go on with it, --overwrite to replace it, or another --out"
        )
    if holds_run and overwrite:
        if (path / CONFIG).exists():  # deletes a run, of any format, and nothing else that happens to have a config.json
            check_ours(path)
        strange = sorted(names - FILES)
        if strange:
            raise UserError(f"{str(path)!r} holds {strange[0]!r}, which is not of a run; move it away, or give another --out")
    if resume and overwrite:
        raise UserError("--resume and --overwrite exclude each other; give one of them")


def clear(path: Path) -> None:
    """Removes a run, its `config.json` last: until then the folder is known to hold one."""
    with writing(path):
        for item in sorted(path.iterdir(), key=lambda item: item.name == CONFIG):
            if item.name != LOCK:
                remove(item)
