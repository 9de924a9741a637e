"""Shows the notebooks as pages of the site: their cells, and what the cells printed when they were stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def fenced(language: str, text: str) -> str:
    """Text as a block of code, whatever it holds."""
    fence = "`" * (3 + (text.count("```") > 0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def shown(cell: dict[str, Any]) -> str:
    """A cell as Markdown."""
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        return source + "\n"
    return "\n".join([fenced("python", source), *map(given, cell["outputs"])])


def given(output: dict[str, Any]) -> str:
    """What a cell gave: a value as it stands, since it may be a table; what was printed in lines that may be broken."""
    if output["output_type"] == "stream":
        return fenced("{ .text .printed }", "".join(output["text"]))
    return fenced("text", "".join(output["data"]["text/plain"]))


def page(path: Path) -> str:
    """A notebook as Markdown; below its title, the notebook itself."""
    first, *others = map(shown, json.loads(path.read_text(encoding="utf-8"))["cells"])
    return "\n".join([first, f"[Download the notebook]({path.name})\n", *others])


def on_files(files: Files, config: MkDocsConfig) -> None:
    for path in sorted(Path(config.docs_dir, "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page(path)))
