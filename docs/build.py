"""Writes conclusions.md: answers.json as a page, after a table of all questions.

    python docs/build.py
    python docs/build.py 'Bundled names=runs' 'Indian names, by rows=runs/indian_rows'

Each argument is a title and the folder that holds finished runs, by the ablations' names: what they answer goes into
answers.json first, in place of what stood there, and the pictures of the first folder's into pictures/.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgen.commands.ablations import ablations
from jaxgen.judge.answers import answer
from jaxgen.reopen import load_results, run_task
from jaxgen.report.page import BEGUN
from jaxgen.storage.facts import read_config
from jaxgen.tasks import TASKS

DOCS = Path(__file__).parent
ABLATIONS = {name: ablation for task in TASKS for name, ablation in ablations(task).items()}
PICTURES = ("mixture.png", "layers.png", "differences.png", "curves.png")  # the first that a run has

HEAD = """# What came out

Each answer comes from the command above it, run on two CPU cores, with all that the command leaves out at the ablation's own
settings. Losses are mean cross-entropy in nats a character, or an image; of points, arms are told apart by accuracy. This page
is written by `python docs/build.py`.

On the bundled names, what is resolved follows the [rule of today](verdicts.md). The answers on Indian names were found with
intervals by a bootstrap over seeds, and by a paired t-test of each pair of arms corrected for all pairs, which tells fewer
arms apart.

The Indian names are a CSV file that the project holds no copy of: 14,663 names of men from public records, 8,361 of them
different (the gist mbejda/7f86ca901fe41bc14a63, without the rows that hold more than a name). Split by rows, the same name may
be in training and in validation; split by names, the different names count once each and none is in two parts.
"""

OWN = "Data of its own"  # the title of answers of other tasks than names

TABLE = """{head}

{title}: the best arm, the next one, by {what} it leads, and whether that is resolved (more than chance). Minutes
were measured on two CPU cores of a shared machine: take them as an estimate.

| question | minutes | best | next | margin | resolved |
| --- | ---: | --- | --- | ---: | --- |
"""

# What the sentences of verdicts say, in the order in which they are looked for.
LEAD = re.compile(
    r"(?:(?P<part>split by \w+): )?(?P<open>not resolved: )?(?P<best>.+?) (?:leads|beats) (?P<next>.+?) by (?P<by>[\d.]+)"
    r" (?P<unit>nats|accuracy|rmse|loss)"
)
EQUAL = re.compile(r"(?P<open>not resolved: )(?P<best>.+?) and (?P<next>.+?) come to the same loss(?P<by>)")
SEARCH = re.compile(
    r"(?P<best>.+?) finds the better setting than (?P<next>.+?) in (?P<plays>\d+%) of .* and (?P<by>[\d.]+) nats lower"
)
MINUTES = re.compile(r"(?:(\d+) min )?(?:(\d+) s )?on 2 cores")


def minutes(name: str) -> str:
    """How long an ablation took, as its module says: minutes and seconds, 1:17."""
    found = MINUTES.search(" ".join((ABLATIONS[name].__doc__ or "").split()))
    return f"{int(found[1] or 0)}:{int(found[2] or 0):02d}" if found else ""


def standing(sentences: Sequence[str]) -> tuple[str, str, str, str]:
    """What the first sentence that compares two says: the best, the next, by how much, and whether it is resolved."""
    found = next((hit for line in sentences for kind in (LEAD, EQUAL, SEARCH) if (hit := kind.match(line))), None)
    if found is None:
        return sentences[0], "", "", ""
    said = found.groupdict()
    resolved = f"in {said['plays']} of plays" if "plays" in said else "no" if said["open"] else "yes"
    by = said["by"] or "0"
    margin = f"{by} of {said['unit']}" if said.get("unit") in ("accuracy", "rmse") else by
    return said["best"] + (f" ({said['part']})" if said.get("part") else ""), said["next"], margin, resolved


def table(head: str, title: str, answers: Mapping[str, Mapping[str, Any]]) -> str:
    """A row a question that has an answer on one corpus."""
    rows = []
    for name, found in answers.items():
        if title in found:
            question = f"[{name}](#{name}): {ABLATIONS[name].QUESTION.text}"
            rows.append(f"| {' | '.join([question, minutes(name), *standing(found[title]['sentences'])])} |")
    where = "On data of their own" if title == OWN else f"On the {title[0].lower() + title[1:]}"
    what = "how many nats, or how much accuracy," if title == OWN else "how many nats"
    return TABLE.format(head=head, title=where, what=what) + "\n".join(rows) + "\n" if rows else ""


def asked(flags: Sequence[str]) -> list[str]:
    """The flags with which a run was started, without where it was to lie and whether it went on."""
    where = {place for i, flag in enumerate(flags) if flag == "--out" for place in (i, i + 1)}
    return [flag for i, flag in enumerate(flags) if i not in where and flag not in BEGUN]


def section(name: str, found: Mapping[str, Any]) -> str:
    """One ablation: its question, and by corpus the command and what it answered."""
    text = ABLATIONS[name].QUESTION.text
    parts = [f"## {name}\n\n{text}\n"]
    for title, said in found.items():
        lines = "\n".join(f"- {line}" for line in said["sentences"])
        parts.append(f"**{title}**\n\n```bash\njaxgen sweep {shlex.join(said['flags'])}\n```\n\n{lines}\n")
    if (DOCS / "pictures" / f"{name}.png").exists():
        parts.append(f"![{text}](pictures/{name}.png)\n")
    return "\n".join(parts)


def page(answers: Mapping[str, Mapping[str, Any]]) -> str:
    """conclusions.md; its tables are of the corpus that comes first, and of other tasks than names."""
    ordered = {name: answers[name] for name in ABLATIONS if name in answers}
    title = next(iter(next(iter(ordered.values()))))
    tables = [table("## All questions", title, ordered), table("### Other tasks", OWN, ordered)]
    return "\n".join([HEAD, *tables, *(section(name, found) for name, found in ordered.items())])


def read(folders: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Ablation -> corpus -> the flags and the answer of a finished run, for all that lie in these folders."""
    runs = {name: {title: folder / name for title, folder in folders.items()} for name in ABLATIONS}

    def answered(name: str, run: Path) -> Sequence[str]:  # in which arms are called what they are called today
        results = dataclasses.replace(load_results(run), question=ABLATIONS[name].QUESTION)
        return answer(results, run_task(run)).sentences

    return {
        name: {
            title: {"flags": asked(read_config(run)["flags"]), "sentences": answered(name, run)}
            for title, run in found.items()
            if (run / "config.json").exists()
        }
        for name, found in runs.items()
    }


def take_pictures(folder: Path) -> None:
    """Copies each run's picture."""
    for name in ABLATIONS:
        picture = next((plot for kind in PICTURES if (plot := folder / name / "plots" / kind).exists()), None)
        if picture is not None:
            shutil.copyfile(picture, DOCS / "pictures" / f"{name}.png")


def main() -> None:
    folders = {title: Path(folder) for title, _, folder in (argument.rpartition("=") for argument in sys.argv[1:])}
    if not all(folders):
        raise SystemExit(__doc__)
    answers = json.loads((DOCS / "answers.json").read_text(encoding="utf-8"))
    for name, found in read(folders).items():
        answers[name] = answers.get(name, {}) | found
    if folders:
        take_pictures(next(iter(folders.values())))
    answers = {name: found for name, found in answers.items() if found}
    (DOCS / "answers.json").write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (DOCS / "conclusions.md").write_text(page(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
