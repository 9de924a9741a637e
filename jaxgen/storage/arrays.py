"""Trees of arrays as folders of files, by orbax: written with the SHA-256 of every file, read without trust."""

from __future__ import annotations

import functools
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxgen.fields import UserError
from jaxgen.storage.files import cannot_write, sums

PLAIN = re.compile(r"[\w./ +,=@-]*")  # paths in which no library sees anything but folders
Shapes = Mapping[str, tuple[tuple[int, ...], np.dtype]]


def named(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a tree as host arrays, by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(tree))
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


def unnamed(shape: Any, arrays: Mapping[str, Any]) -> Any:
    """The tree of `shape` with the leaves that `named` made of one like it."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: arrays[jax.tree_util.keystr(path, simple=True, separator=".")], shape
    )


def nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """What `named` made of dictionaries and tuples, as dictionaries; a tuple's keys are "0", "1" and so on.

    Raises:
      UserError: where one array's path goes through another's, which no tree has.
    """
    tree: dict[str, Any] = {}
    for path, array in sorted(arrays.items()):  # what another lies in comes before it
        *inner, name = path.split(".")
        place = tree
        for key in inner:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise UserError(f"the array {path!r} lies in another one, so it was not written by jaxgen")
        place[name] = array
    return tree


def named_shapes(tree: Any) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of the leaves of a tree by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): (x.shape, np.dtype(x.dtype)) for path, x in leaves}


class Arrays:
    """The arrays below a folder, in places with names of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._alias: tempfile.TemporaryDirectory[str] | None = None

    @functools.cached_property
    def _orbax(self) -> ocp.StandardCheckpointer:
        """Made when it is first used: to ask JAX which process this is begins it."""
        here = jax.process_index()  # on the hosts of a cluster each writes its own, and waits for no other
        return ocp.StandardCheckpointer(multiprocessing_options=ocp.options.MultiprocessingOptions(here, {here}))

    def _told(self, place: str) -> Path:
        """A place as orbax and tensorstore are told it: by a link to the folder, where they would read its own name as a
        pattern, an address or a folder's separator."""
        if PLAIN.fullmatch(str(self._folder)):
            return self._folder / place
        if self._alias is None:
            self._alias = tempfile.TemporaryDirectory(prefix="jaxgen-")
            (Path(self._alias.name) / "run").symlink_to(self._folder, target_is_directory=True)
        return Path(self._alias.name) / "run" / place

    def put(self, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, str]]:
        """Writes arrays by their names into each of some places; they are on disk on return.

        Returns:
          place -> file -> size and SHA-256.

        Raises:
          CannotWrite: if they cannot be written.
        """
        for place, values in arrays.items():
            path = self._folder / place
            try:
                self._orbax.save(self._told(place), dict(values), force=True)
            except (OSError, ValueError, RuntimeError) as error:  # what orbax and tensorstore raise where a disk fails
                raise cannot_write(path, reason(error)) from error
        try:
            self._orbax.wait_until_finished()
        except (OSError, ValueError, RuntimeError) as error:
            raise cannot_write(self._folder, reason(error)) from error
        return {place: sums(self._folder / place) for place in arrays}

    def get(self, place: str, wanted: Shapes | None) -> dict[str, np.ndarray]:
        """What lies in a place.

        Args:
          wanted: name -> shape and type of what is to lie there; None: whatever does.

        Raises:
          UserError: where it holds something else, or cannot be read.
        """
        path = self._folder / place
        try:
            told = self._told(place)
            meta: Any = self._orbax.metadata(told).item_metadata
            found = {key: (tuple(x.shape), np.dtype(x.dtype)) for key, x in meta.tree.items()}
            if wanted is None or found == wanted:  # before anything is allocated
                return self._orbax.restore(told, {key: np.zeros(*x) for key, x in found.items()})
            why = "it holds arrays of other names, shapes or types"
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            why = str(error).splitlines()[0]
        raise UserError(f"{str(path)!r} is damaged ({why}); start the run again with --overwrite")


def reason(error: Exception) -> str:
    """What the system said of a failed write, without the path through the libraries."""
    number = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(number[1])) if number else (str(error) or type(error).__name__).splitlines()[0]
