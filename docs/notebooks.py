"""Runs the notebooks, and stores what their cells print.

    python docs/notebooks.py

Pictures, and what tells one run from another (times, counts of executions), are left out of what is stored: a notebook is read
in a diff. The site shows what is stored (`hooks.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent / "notebooks").glob("*.ipynb"))
TEXT = "text/plain"


def executed(path: Path, folder: Path) -> Any:
    """A notebook after all its cells have run, with `folder` as the current one.

    Raises:
      CellExecutionError: where a cell fails.
    """
    book = nbformat.read(path, as_version=4)  # pyright: ignore[reportUnknownMemberType]
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return book


def plain(book: Any) -> Any:
    """The notebook with no more than the text that its cells gave."""
    for cell in book.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [kept for output in cell.outputs if (kept := text_of(output)) is not None]
    book.metadata = {name: book.metadata[name] for name in ("kernelspec",) if name in book.metadata}
    return book


def text_of(output: Any) -> Any:
    """An output as text alone; None for a picture, and for what is said on stderr."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    if "image/png" in output.data:
        return None
    output.data, output.metadata = {TEXT: output.data[TEXT]}, {}
    if output.output_type == "execute_result":
        output.execution_count = None
    return output


if __name__ == "__main__":
    for notebook in NOTEBOOKS:
        nbformat.write(plain(executed(notebook, notebook.parent)), notebook)  # pyright: ignore[reportUnknownMemberType]
