"""A run's `checkpoints/`: arrays by orbax, and a manifest that says which of them count.

The manifest is replaced in one step, after all that it names is on disk, so that a run killed at any moment is as its last
manifest says: arrays that no manifest names are swept away by the next save.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxgen.config import UserError

FORMAT = 2
MANIFEST = "manifest.json"


def write(path: Path, text: str) -> None:
    """Replaces a file in one step, on disk before it counts."""
    new = path.with_name(path.name + ".new")
    with open(new, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def named(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a tree as host arrays, by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(tree))
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


def unnamed(shape: Any, arrays: Mapping[str, Any]) -> Any:
    """The tree of `shape` with the leaves that `named` made of one like it."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: arrays[jax.tree_util.keystr(path, simple=True, separator=".")], shape
    )


class Store:
    """The checkpoints of one run. Two kinds: the lanes (the newest counts) and the trials that ended (all count)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.manifest: dict[str, Any] = {"format": FORMAT, "saves": 0, "lanes": None, "trials": {}}
        self._orbax = ocp.StandardCheckpointer()

    def save(self, lanes: Any, ended: Mapping[int, Any], progress: Mapping[str, Any]) -> None:
        """Saves the lanes' arrays (None: none are running), trials that ended since the last save, and small JSON values.

        The trials are of one group: their arrays have the same names and shapes.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        number = self.manifest["saves"] + 1
        manifest = {
            **self.manifest,
            **progress,
            "saves": number,
            "lanes": None,
            "trials": dict(self.manifest["trials"]),
        }
        if lanes is not None:
            manifest["lanes"] = f"lanes-{number:06d}"
            self._put(manifest["lanes"], named(lanes))
        if ended:
            place = f"trials-{number:06d}"
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *ended.values())  # few arrays are written much faster
            self._put(place, named(stacked))
            manifest["trials"] |= {str(trial): [place, row] for row, trial in enumerate(ended)}
        self._orbax.wait_until_finished()
        write(self.folder / MANIFEST, json.dumps(manifest))
        self.manifest = manifest
        self._sweep()

    def _put(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        self._orbax.save(self.folder / name, dict(arrays), force=True)

    def _sweep(self) -> None:
        live = {MANIFEST, self.manifest["lanes"], *(place for place, _ in self.manifest["trials"].values())}
        for path in self.folder.iterdir():
            if path.name not in live:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def load(self) -> bool:
        """Reads the manifest; false if nothing has been saved.

        Raises:
          UserError: if it is damaged or of another format.
        """
        path = self.folder / MANIFEST
        if not path.exists():
            return False
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            version = manifest["format"]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{str(path)!r} is damaged; start the run again with --overwrite") from None
        if version != FORMAT:
            raise UserError(f"{str(path)!r} has format {version!r}, expected {FORMAT}; use the version of jaxgen that wrote it")
        self.manifest = manifest
        return True

    def orphans(self) -> bool:
        """Whether there are trials without a manifest."""
        return any(self.folder.glob("trials-*"))

    def lanes(self, shape: Any) -> Any:
        """The lanes of the newest save, as host arrays in a tree like `shape`."""
        return unnamed(shape, self._get(self.manifest["lanes"]))

    def trial(self, trial: int, shape: Any) -> Any:
        """The state of a trial that ended, as host arrays in a tree like `shape`.

        Raises:
          UserError: if that trial has not ended, or is not of the run.
        """
        if str(trial) not in self.manifest["trials"]:
            ended = sorted(map(int, self.manifest["trials"]))
            raise UserError(
                f"trial {trial} is not among the ended ones ({brief(ended)}); "
                "give one of those, or finish the run with --resume"
            )
        place, row = self.manifest["trials"][str(trial)]
        return unnamed(shape, {name: x[row] for name, x in self._get(place).items()})

    def _get(self, name: str) -> dict[str, np.ndarray]:
        path = self.folder / name
        try:
            meta: Any = self._orbax.metadata(path).item_metadata
            target = {key: np.zeros(x.shape, x.dtype) for key, x in meta.tree.items()}
            return self._orbax.restore(path, target)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise UserError(
                f"{str(path)!r} is damaged ({str(error).splitlines()[0]}); start the run again with --overwrite"
            ) from None


def brief(numbers: list[int]) -> str:
    """Sorted numbers as text, runs of them as ranges: 0-3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs) or "none"
