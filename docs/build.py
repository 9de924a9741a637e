"""Writes conclusions.md and pictures/ from finished runs of the ablations.

    python docs/build.py 'Bundled names=runs' 'Indian names, by rows=runs/indian_rows'

Each argument is a title and the folder that holds the runs, by the ablations' names. The pictures are those of
the first folder.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxgen.commands.ablations import ablations
from jaxgen.judge.answers import answer
from jaxgen.reopen import load_results, run_task
from jaxgen.storage.facts import read_config
from jaxgen.tasks import TASKS

DOCS = Path(__file__).parent
ABLATIONS = {name: ablation for task in TASKS for name, ablation in ablations(task).items()}
PICTURES = ("mixture.png", "layers.png", "differences.png", "curves.png")  # the first that a run has

HEAD = """# What came out

Each answer comes from the command above it, run on two CPU cores, with all that the command leaves out at the ablation's own
settings. Losses are mean cross-entropy in nats a character. This page and its pictures are written by `python docs/build.py`.

The Indian names are a CSV file that the project holds no copy of: 14,663 names of men from public records, 8,361 of them
different (the gist mbejda/7f86ca901fe41bc14a63, without the rows that hold more than a name). Split by rows, the same name may
be in training and in validation; split by names, the different names count once each and none is in two parts.
"""


def command(flags: Sequence[str]) -> str:
    """The command with which a run was started, without where it was to lie and whether it went on."""
    where = {place for i, flag in enumerate(flags) if flag == "--out" for place in (i, i + 1)}
    kept = [flag for i, flag in enumerate(flags) if i not in where and flag not in ("--resume", "--overwrite")]
    return f"python -m experiments.sweep {shlex.join(kept)}"


def section(name: str, folders: Mapping[str, Path]) -> str:
    """One ablation: its question, and by corpus the command and what it answered."""
    found = {title: folder / name for title, folder in folders.items() if (folder / name / "config.json").exists()}
    if not found:
        return ""
    parts = [f"## {name}\n\n{ABLATIONS[name].QUESTION.text}\n"]
    for title, run in found.items():
        facts, sentences = read_config(run), answer(load_results(run), run_task(run)).sentences
        parts.append(
            f"**{title}**\n\n```bash\n{command(facts['flags'])}\n```\n\n" + "\n".join(f"- {line}" for line in sentences) + "\n"
        )
    plots = next(iter(found.values())) / "plots"
    picture = next((plots / kind for kind in PICTURES if (plots / kind).exists()), None)
    if picture is not None:
        (DOCS / "pictures").mkdir(exist_ok=True)
        shutil.copyfile(picture, DOCS / "pictures" / f"{name}.png")
        parts.append(f"![{ABLATIONS[name].QUESTION.text}](pictures/{name}.png)\n")
    return "\n".join(parts)


def main() -> None:
    folders = {title: Path(folder) for title, _, folder in (argument.rpartition("=") for argument in sys.argv[1:])}
    if not folders or not all(folders):
        raise SystemExit(__doc__)
    sections = [part for part in (section(name, folders) for name in ABLATIONS) if part]
    (DOCS / "conclusions.md").write_text("\n".join([HEAD, *sections]), encoding="utf-8")


if __name__ == "__main__":
    main()
