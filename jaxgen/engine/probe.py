"""A look at a task's functions before anything is trained or written: by their shapes alone, nothing is computed.

What does not fit is the user's mistake, and said in a line. What a step computes is told from what it computed before by its
program's text.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.config import Config
from jaxgen.engine.programs import Data, begin, column
from jaxgen.engine.programs import look as look_of
from jaxgen.fields import Caution, UserError, keys
from jaxgen.search.sweep import Group
from jaxgen.train import trial as trials
from jaxgen.train.functions import Functions, weighed

ASKED = (jax.errors.ConcretizationTypeError, jax.errors.TracerIntegerConversionError, jax.errors.TracerArrayConversionError)
UNTRACED = "the task cannot be traced"
PARTS = ("training", "validation")
OURS = str(Path(__file__).parent.parent) + os.sep  # whose lines a user has no part in
ADDRESS = re.compile(r"0x[0-9a-f]+")


@dataclass(frozen=True)
class Found:
    """What a look found: what tells the program from others, and what a user should know."""

    program: str = ""
    cautions: tuple[str, ...] = ()

    def and_of(self, other: Found) -> Found:
        """Both together."""
        program = hashlib.sha256((self.program + other.program).encode()).hexdigest()
        return Found(program, tuple(dict.fromkeys(self.cautions + other.cautions)))


def look(task: Functions, group: Group, data: Data) -> Found:
    """Traces a step and an evaluation of a group's first trial.

    Raises:
      UserError: where a float of the config is asked for its value, or what functions give does not fit together.
    """
    config = jax.tree.map(lambda leaf: column(leaf, 1)[0], group.traced())
    check_given(task)
    with warnings.catch_warnings(record=True) as said, asking(task, config, data, type(group.configs[0])):
        warnings.simplefilter("always")
        weighs: set[str] = set()
        traced, given = jax.make_jaxpr(lambda c, d: trace(task, c, d, weighs), return_shape=True)(config, data)
    check_fits(task, *given)
    check_defined(task, config, data, bool(weighs))
    cautions = tuple(str(one.message) for one in said if isinstance(one.message, Caution))
    return Found(hashlib.sha256(text_of(traced).encode()).hexdigest(), cautions)


def reads_steps(task: Functions, group: Group, data: Data) -> bool:
    """Whether what a task computes may depend on the step budget itself, so that a trial of more steps is another one."""
    config = jax.tree.map(lambda leaf: column(leaf, 1)[0], group.traced())

    def computed(steps: Any, config: Config, data: Data) -> Any:
        config = replace(config, train=replace(config.train, steps=steps))
        state = begin(task, config)
        batch = trials.draw(task, data.train, config, state.step, data.source)
        new, found = trials.advance(task, config, state, batch, limit=state.step + 1)
        rows = jax.tree.map(lambda x: x[0], data.curves)
        return new.params, new.stats, new.optimizer, found, trials.evaluate(task, config, state, rows)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `look` has said them
        program = jax.make_jaxpr(computed)(config.train.steps, config, data).jaxpr
    steps = program.invars[0]
    return any(x is steps for line in program.eqns for x in line.invars) or steps in program.outvars


def text_of(traced: Any) -> str:
    """A traced program as text, with what stands in it: equal ones compute the same."""
    return ADDRESS.sub("", str(traced)) + "".join(hashlib.sha256(np.asarray(c).tobytes()).hexdigest() for c in traced.consts)


def trace(task: Functions, config: Config, data: Data, weighs: set[str] | None = None) -> tuple[Any, Any, Any, Any]:
    """A state at its start, after a step, what is said of each of some rows, and the metrics over a split.

    Args:
      weighs: is told the metrics that give weights.
    """
    task = keeping(task)
    state = begin(task, config)
    batch = trials.draw(task, data.train, config, state.step, data.source)
    new = trials.advance(task, config, state, batch)[0]
    rows = jax.tree.map(lambda x: x[0], data.curves)
    count = len(jax.tree.leaves(rows)[0])
    each = {}
    if task.score is not None:
        keys = jax.random.split(jax.random.key(0), count)
        found = task.score(config, state.params, state.stats, rows, keys)
        if not isinstance(found, Mapping):
            raise UserError(
                f"the task's score gives a {type(found).__name__}; expected a mapping of metrics to numbers of each row"
            )
        each = {name: (one.values, one.weights) for name, one in ((name, weighed(x)) for name, x in found.items())}
    check_rows(each, count)
    (set() if weighs is None else weighs).update(name for name, (_, weights) in each.items() if weights is not None)
    if config.train.diagnostics:
        look_of(task, config, state, data)
    return state, new, trials.evaluate(task, config, state, rows), count


def check_given(task: Functions) -> None:
    """Refuses a task without what it needs.

    Raises:
      UserError: then.
    """
    if task.loss is None and task.gradients is None:
        raise UserError("the task has neither loss nor gradients, so that nothing can be trained; give it one of them")
    if task.score is None and task.evaluate is None:
        raise UserError("the task has neither score nor evaluate, so that nothing can be measured; give it one of them")


def check_rows(each: Mapping[str, tuple[Any, Any]], count: int) -> None:
    """Refuses metrics that are not of each row.

    Raises:
      UserError: then.
    """
    for name, (values, weights) in each.items():
        for what, x in (("values", values), ("weights", weights)):
            if x is not None and (jnp.ndim(x) == 0 or jnp.shape(x)[0] != count):
                raise UserError(
                    f"the {what} of the metric {name!r} of {count} rows are of shape {jnp.shape(x)}, expected ({count},): a "
                    "number of each row, not their mean; jaxgen takes the mean"
                )


def check_fits(task: Functions, state: Any, new: Any, found: Mapping[str, Any], count: int) -> None:
    """Refuses a step that changes what a state is made of, and metrics that do not say what selects.

    Raises:
      UserError: then.
    """
    for what in ("params", "stats", "optimizer"):
        refuse(f"a step turns {what}", getattr(state, what), getattr(new, what))
    if task.metric not in found:
        raise UserError(
            f"the task measures {', '.join(found) or 'nothing'}, and not {task.metric!r}, which is to select the best step"
        )
    wrong = next((name for name, x in found.items() if x.shape != ()), None)
    if wrong is not None:
        raise UserError(f"the metric {wrong!r} of a split is of shape {found[wrong].shape}, expected one number")


def keeping(task: Functions) -> Functions:
    """The task, whose step is refused as it is traced where it changes what a state is made of, before that is used.

    Raises:
      UserError: then, by its functions.
    """

    def loss(config: Config, params: Any, stats: Any, *rest: Any) -> tuple[Any, Any]:
        assert task.loss is not None
        found, new = task.loss(config, params, stats, *rest)
        if jnp.ndim(weighed(found).values) == 0:
            raise UserError("the loss of a batch is one number; give that of each row, of which jaxgen takes the mean")
        refuse("the loss turns stats", stats, new)
        return found, new

    def gradients(config: Config, params: Any, stats: Any, *rest: Any) -> tuple[Any, Any, Any] | None:
        assert task.gradients is not None
        own = task.gradients(config, params, stats, *rest)
        if own is None:
            if task.loss is None:
                raise UserError("the task's gradients are None, and it has no loss; give it one of them")
            return None
        found, grads, new = own
        refuse("gradients turn stats", stats, new)
        refuse("gradients are not like params: they turn params", params, grads)
        return found, grads, new

    return task._replace(loss=task.loss and loss, gradients=task.gradients and gradients)


def refuse(what: str, before: Any, after: Any) -> None:
    """Refuses what is made of other arrays than before.

    Raises:
      UserError: then.
    """
    if (change := changed(before, after)) is not None:
        raise UserError(f"{what}{change}; keep names, shapes and types")


def changed(before: Any, after: Any) -> str | None:
    """Where two trees of arrays differ in names, shapes or types, and what stands there: `['w'] from ... into ...`."""
    shaped = (jax.tree.map(lambda x: x if hasattr(x, "dtype") else jnp.asarray(x), tree) for tree in (before, after))
    leaves = (jax.tree_util.tree_leaves_with_path(tree) for tree in shaped)
    one, other = ({jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}" for path, x in found} for found in leaves)
    off = next((path for path in sorted({*one, *other}) if one.get(path) != other.get(path)), None)
    if off is not None:
        return f"{off} from {one.get(off, 'nothing')} into {other.get(off, 'nothing')}"
    trees = jax.tree.structure(before), jax.tree.structure(after)
    return None if trees[0] == trees[1] else f" from {trees[0]} into {trees[1]}"


def check_defined(task: Functions, config: Config, data: Data, weighs: bool) -> None:
    """Refuses metrics that a part does not define, such as that of a class which the part has no row of: as not a number, they
    would end every trial as diverged. Computed where a metric is of whole splits, or weighs its rows.

    Raises:
      UserError: then.
    """
    if task.evaluate is None and not weighs:
        return
    heads = {f"first rows of {name}": jax.tree.map(lambda x, i=i: x[i], data.curves) for i, name in enumerate(PARTS)}
    parts = heads | {"validation part": data.validation} | ({} if data.test is None else {"test part": data.test})

    def measure(config: Config, parts: Any) -> Any:
        state = begin(task, config)
        return {name: trials.evaluate(task, config, state, part) for name, part in parts.items()}

    for part, found in jax.device_get(jax.jit(measure)(config, parts)).items():
        wrong = next((name for name, value in found.items() if np.isnan(value)), None)
        if wrong is not None:
            raise UserError(
                f"the metric {wrong!r} is not a number on the {part}, before the first step; let it give a number where the "
                "part does not define it, or give parts that do"
            )


@contextmanager
def asking(task: Functions, config: Config, data: Data, kind: type) -> Iterator[None]:
    """In which a leaf that is asked for its value is the user's mistake, and said by its key.

    Raises:
      UserError: then.
    """
    try:
        yield
    except UserError:
        raise
    except ASKED as error:
        guilty = [key for key in leaves_of(kind) if _alone(task, config, data, key)]
        said = ", ".join(guilty) or "one of " + ", ".join(leaves_of(kind))
        where = line_of(error)
        raise UserError(
            f"{said} is asked for its value{where} while it is traced: a leaf has one a lane, so it may not be branched on; "
            "annotate it jaxgen.Static[float], which compiles a program for each of its values, or use what takes leaves, "
            "such as jaxgen.nn.Dropout"
        ) from error
    except Exception as error:
        raise untraced(error) from error


def untraced(error: Exception) -> UserError:
    """What a user's own code raised as it was traced, with the line at which it did."""
    said = (str(error).splitlines() or [""])[0]
    return UserError(f"{UNTRACED}: {type(error).__name__}: {said}{line_of(error)}; mend it there")


def leaves_of(kind: type) -> list[str]:
    """The keys of a task's own that are leaves: of its model, regularizers and data."""
    shared = ("optimizer.", "train.", "data.")
    return [key for key, part in keys(kind).items() if part.leaf and "." in key and not key.startswith(shared)]


def _alone(task: Functions, config: Config, data: Data, key: str) -> bool:
    """Whether a leaf is asked for its value where it is the only one that is traced."""
    section, _, name = key.rpartition(".")
    part = getattr(config, section)
    value = getattr(part, name)
    if value is None:
        return False

    def with_leaf(leaf: Any) -> Any:
        known = replace(part, **{f: _plain(getattr(part, f)) for f in part.__dataclass_fields__ if f != name} | {name: leaf})
        return trace(task, replace(config, **{section: known}), data)

    try:
        jax.eval_shape(with_leaf, value)
    except ASKED:
        return True
    except Exception:  # another one's fault, which is said in its turn
        return False
    return False


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.ndarray | np.generic) else value


def line_of(error: BaseException) -> str:
    """Where the user's own code was when an error came up, as far as that can be told."""
    found, frame = "", error.__traceback__
    while frame is not None:
        name = frame.tb_frame.f_code.co_filename
        if not name.startswith(OURS) and not any(part in name for part in ("site-packages", "contextlib", "<")):
            found = f" at {name}:{frame.tb_lineno}"
        frame = frame.tb_next
    return found
