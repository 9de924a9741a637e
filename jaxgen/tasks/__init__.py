"""The registry of tasks: those that come with the package, a room each, and how one of a user's own is found.

Rooms are named here and imported when they are asked for: nothing else of the house knows them.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxgen.fields import UserError
from jaxgen.tasks.base import Task

BUILT_IN = "jaxgen"  # the place of a task that comes with the package
TASKS: Mapping[str, str] = {
    "names": "jaxgen.tasks.names.task:NAMES",
    "points": "jaxgen.tasks.points.task:POINTS",
    "digits": "jaxgen.tasks.digits.task:DIGITS",
    "curve": "jaxgen.tasks.curve.task:CURVE",
    "ratings": "jaxgen.tasks.ratings.task:RATINGS",
}


def find(name: str) -> Task:
    """A task by its name, or as FILE.py:OBJECT or package.module:OBJECT of the user's.

    Raises:
      UserError: if there is none, or it is none of ours.
    """
    if name in TASKS:
        module, _, attribute = TASKS[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    where, colon, attribute = name.rpartition(":")
    if not colon or not where or not attribute:
        known = ", ".join(TASKS)
        raise UserError(f"there is no task {name!r}; expected one of {known}, or FILE.py:OBJECT for one of your own")
    module = _from_file(Path(where), name) if where.endswith(".py") else _by_name(where, name)
    found: Any = getattr(module, attribute, None)
    if not isinstance(found, Task):
        what = "is not there" if found is None else f"is of type {type(found).__name__}"
        raise UserError(
            f"{attribute!r} of {where!r} {what}; expected a task, from jaxgen.supervised or a subclass of jaxgen.Task"
        )
    found.place = name
    return found


def task_of(given: Any) -> Task:
    """A task, or that of what stands for one, such as a corpus of names.

    Raises:
      UserError: for anything else.
    """
    if isinstance(given, Task):
        return given
    found = next((task for task in (find(name).of(given) for name in TASKS) if task is not None), None)
    if found is None:
        raise UserError(
            f"a {type(given).__name__} was given for a task; expected one from jaxgen.supervised, a subclass of jaxgen.Task, "
            "or names: a corpus from jaxgen.load_corpus, a list of texts, or a file's path"
        )
    return found


def _by_name(where: str, name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as python itself does
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is None or not (where == error.name or where.startswith(f"{error.name}.")):
            raise UserError(f"the task {name!r} needs the module {error.name!r}, which is not installed; install it") from None
        raise UserError(
            f"there is no module {where!r} for the task {name!r}; expected FILE.py:OBJECT, or one installed"
        ) from None
    except Exception as error:
        raise _broken(name, error) from error


def _from_file(path: Path, name: str) -> ModuleType:
    """The module in a file, imported under the file's name, with its folder on the path for what lies beside it."""
    if not path.is_file():
        raise UserError(f"there is no file {str(path)!r} for the task {name!r}; expected FILE.py:OBJECT")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.path.insert(0, str(path.absolute().parent))
    sys.modules[path.stem] = module  # annotations of its classes are looked up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        if before is None:
            del sys.modules[path.stem]
        else:
            sys.modules[path.stem] = before
        raise _broken(name, error) from error
    return module


def _broken(name: str, error: Exception) -> UserError:
    """What a user's own code raised as it was imported, with the line at which it did."""
    if isinstance(error, UserError):
        return error
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    at = "" if last is None else f" at {last.tb_frame.f_code.co_filename}:{last.tb_lineno}"
    return UserError(f"the task {name!r} cannot be imported: {type(error).__name__}: {error}{at}; mend it there")


def stored(facts: Mapping[str, Any]) -> Task:
    """The task of a run's folder or an export, as it says there: one that comes with the package.

    What a file names is never imported: whoever can write it could run code.

    Raises:
      UserError: if it is a user's own.
    """
    name, place = facts["name"], facts["place"]
    if place == BUILT_IN and name in TASKS:
        return find(name)
    where = place if place and place != BUILT_IN else "FILE.py:OBJECT"
    raise UserError(f"the task {name!r} is one of your own; give it with --task {where} (in Python: task=...)")


def matching(task: Task, facts: Mapping[str, Any]) -> Task:
    """A task that is given for a run's folder or an export, if it is of the name that is stored there.

    Raises:
      UserError: if it is another.
    """
    if task.name != facts["name"]:
        raise UserError(f"it is of the task {facts['name']!r}, and not of {task.name!r}; give that one, or another run")
    return task
