"""What a network is to the front door: a config's model section, and a pure pair `init` and `apply`, whatever it is written in.

flax.linen, flax.nnx and equinox each keep parameters and state in their own way; here both are pytrees of arrays, carried from
step to step. A module is made anew in each traced function, from the config's numbers: what is not used of that is no part of
the compiled program.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jaxgen.config import Nothing
from jaxgen.fields import Caution, UserError, described, plain
from jaxgen.tasks.rows import size

Fields = Sequence[tuple[str, Any, Any]]  # name, type, default


@dataclass(frozen=True)
class Network:
    """A network as a task trains it.

    section: the type of the config's model section
    init: (model, key, inputs) -> (params, stats), from two rows of inputs
    apply: (model, params, stats, inputs, train, key) -> (outputs, stats)
    """

    section: type
    init: Callable[..., tuple[Any, Any]]
    apply: Callable[..., tuple[Any, Any]]


def network_of(module: Any, **fixed: Any) -> Network:
    """A network from a linen, nnx or equinox class, or a pair of functions (init, apply).

    Args:
      fixed: fields of the class that are none of the section's, and have these values.

    Raises:
      UserError: for anything else, or a field that has no default.
    """
    if isinstance(module, tuple) and len(module) == 2 and all(map(callable, module)):
        return _of_pair(*module)
    if not isinstance(module, type):
        raise UserError(
            f"the network is {module!r}; expected a class of flax.linen, flax.nnx or equinox, a mapping of names to "
            "such classes, or a pair of functions (init, apply)"
        )
    for kind, made in (("flax.linen", _of_linen), ("flax.nnx", _of_nnx), ("equinox", _of_equinox)):
        if _is(module, kind):
            return made(module, fixed)
    raise UserError(f"{module.__name__} is no module of flax.linen, flax.nnx or equinox; expected one, or a pair (init, apply)")


def _is(module: type, library: str) -> bool:
    """Whether a class is a library's module, without importing what is not there."""
    return any(base.__name__ == "Module" and base.__module__.startswith(library) for base in module.__mro__)


def later(section: type, network: Callable[[], Network]) -> Network:
    """A network that is imported when it is first used: its section alone says what there is to configure."""
    return Network(section, lambda *given: network().init(*given), lambda *given: network().apply(*given))


def choice(networks: Mapping[str, Network]) -> Network:
    """One of several networks, by the key `model.family`."""
    first = next(iter(networks))
    fields: dict[str, tuple[str, Any, Any]] = {"family": ("family", Literal[tuple(networks)], first)}
    for name, network in networks.items():
        for field in _fields_of(network.section):
            if fields.setdefault(field[0], field)[1:] != field[1:]:
                raise UserError(
                    f"{name}.{field[0]} and another network's are of different types or defaults; rename one of them"
                )

    def chosen(model: Any) -> Network:
        return networks[model.family]

    return Network(
        section("Model", list(fields.values())),
        lambda model, *rest: chosen(model).init(model, *rest),
        lambda model, *rest: chosen(model).apply(model, *rest),
    )


def section(name: str, fields: Fields) -> type:
    """A config's section of these fields."""
    parts = [(name, kind, dataclasses.field(default=default)) for name, kind, default in fields]
    return dataclasses.make_dataclass(name, parts, frozen=True, namespace={"__module__": __name__}) if parts else Nothing


def _fields_of(kind: type) -> Fields:
    hints = typing.get_type_hints(kind, include_extras=True)
    return [(part.name, hints[part.name], part.default) for part in dataclasses.fields(kind)]


def _chosen(owner: str, fields: Fields) -> Fields:
    """The fields that flags can have; the others keep their defaults.

    Raises:
      UserError: for one without a default.
    """
    bare = next((name for name, _, default in fields if default in (dataclasses.MISSING, inspect.Parameter.empty)), None)
    if bare is not None:
        raise UserError(f"{owner}.{bare} has no default; give it one, so that a config has")
    return [field for field in fields if plain(described(field[0], field[1]))]


def _values(section_type: type, model: Any) -> dict[str, Any]:
    return {part.name: getattr(model, part.name) for part in dataclasses.fields(section_type)}


# flax.linen -----------------------------------------------------------------------------------------------------------------


def _of_linen(module: Any, fixed: Mapping[str, Any]) -> Network:
    from flax import linen

    hints = typing.get_type_hints(module, include_extras=True)
    own = [
        (part.name, hints.get(part.name, part.type), part.default)
        for part in dataclasses.fields(module)
        if part.name not in ("parent", "name", *fixed) and part.init
    ]
    kind = section("Model", _chosen(module.__name__, own))
    says = _how_train(module)

    def made(model: Any) -> Any:
        return module(**_values(kind, model), **fixed)

    def init(model: Any, key: Any, x: Any) -> tuple[Any, Any]:
        variables = dict(made(model).init({"params": key}, x, **says(False)))
        params = variables.pop("params", {})
        return params, {name: part for name, part in variables.items() if name != "intermediates"}

    def apply(model: Any, params: Any, stats: Any, x: Any, train: bool, key: Any) -> tuple[Any, Any]:
        variables, rngs = {"params": params, **stats}, {} if key is None else {"params": key}  # other streams fall back on it
        if not train:
            return made(model).apply(variables, x, **says(False), rngs=rngs), stats
        with linen.intercept_methods(_looking(linen)):
            out, changed = made(model).apply(variables, x, **says(True), rngs=rngs, mutable=[*stats, "intermediates"])
        return out, {**stats, **{name: part for name, part in changed.items() if name in stats}}

    return Network(kind, init, apply)


def _how_train(module: Any) -> Callable[[bool], dict[str, bool]]:
    """How a module's call is told whether it is in training: by its second parameter, if it has one."""
    names = [*inspect.signature(module.__call__).parameters][2:]
    for name, turned in (("train", False), ("training", False), ("deterministic", True), ("eval", True)):
        if name in names:
            return lambda train: {name: train != turned}
    return lambda train: {}


def _looking(linen: Any) -> Callable[..., Any]:
    """Says so where a BatchNorm in training sees one row."""

    def look(following: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if isinstance(module, linen.BatchNorm) and context.method_name == "__call__" and args:
            given = kwargs.get("use_running_average", args[1] if len(args) > 1 else None)
            running = module.use_running_average if given is None else given
            x = args[0]
            if not running and module.axis == -1 and x.size == x.shape[-1]:
                warn_alone()
        return following(*args, **kwargs)

    return look


def _one_row(x: Any) -> bool:
    """Whether inputs are one row of one axis, of which a BatchNorm takes the mean of nothing else."""
    import jax

    return size(x) == 1 and jax.tree.leaves(x)[0].ndim == 2


def warn_alone() -> None:
    """Says that a BatchNorm sees one row."""
    from jaxgen.nn import ALONE

    warnings.warn(ALONE, Caution, stacklevel=2)


# flax.nnx -------------------------------------------------------------------------------------------------------------------


def _of_nnx(module: Any, fixed: Mapping[str, Any]) -> Network:
    from flax import nnx

    kind = section("Model", _chosen(module.__name__, _parameters(module.__init__, ("self", "rngs", *fixed))))

    def made(model: Any, key: Any) -> Any:
        return module(**_values(kind, model), **fixed, rngs=nnx.Rngs(key))

    def states(built: Any) -> tuple[Any, Any]:
        _, params, _, stats = nnx.split(built, nnx.Param, nnx.RngState, ...)
        return params, stats

    def parts(built: Any) -> tuple[Any, Any]:
        params, stats = states(built)
        return nnx.to_pure_dict(params), nnx.to_pure_dict(stats)

    def init(model: Any, key: Any, x: Any) -> tuple[Any, Any]:
        return parts(made(model, key))

    def apply(model: Any, params: Any, stats: Any, x: Any, train: bool, key: Any) -> tuple[Any, Any]:
        import jax

        built = made(model, jax.random.key(0) if key is None else key)  # its random streams are the step's
        for filled, state in zip((params, stats), states(built), strict=True):
            nnx.replace_by_pure_dict(state, filled)
            nnx.update(built, state)
        built.train() if train else built.eval()
        if train and _one_row(x) and any(isinstance(part, nnx.BatchNorm) for _, part in nnx.iter_graph(built)):
            warn_alone()
        return built(x), parts(built)[1] if train else stats

    return Network(kind, init, apply)


def _parameters(function: Any, without: Sequence[str]) -> Fields:
    """The parameters of a function as fields."""
    hints = typing.get_type_hints(function, include_extras=True)
    return [
        (name, hints.get(name, type(part.default)), part.default)
        for name, part in inspect.signature(function).parameters.items()
        if name not in without and part.kind not in (part.VAR_POSITIONAL, part.VAR_KEYWORD)
    ]


# equinox --------------------------------------------------------------------------------------------------------------------


def _of_equinox(module: Any, fixed: Mapping[str, Any]) -> Network:
    import equinox as eqx
    import jax

    kind = section("Model", _chosen(module.__name__, _parameters(module.__init__, ("self", "key", *fixed))))
    called = inspect.signature(module.__call__).parameters

    def made(model: Any, key: Any) -> tuple[Any, Any, Any]:
        built, state = eqx.nn.make_with_state(module)(**_values(kind, model), **fixed, key=key)
        params, static = eqx.partition(built, eqx.is_inexact_array)
        return params, static, state

    def init(model: Any, key: Any, x: Any) -> tuple[Any, Any]:
        params, _, state = made(model, key)
        return params, jax.tree.leaves(state)  # equinox's own holder of state may be used once only

    def apply(model: Any, params: Any, stats: Any, x: Any, train: bool, key: Any) -> tuple[Any, Any]:
        key = jax.random.key(0) if key is None else key
        _, static, state = made(model, key)
        state = jax.tree.unflatten(jax.tree.structure(state), stats)
        built = eqx.combine(params, static) if train else eqx.nn.inference_mode(eqx.combine(params, static))
        layers = jax.tree.leaves(built, is_leaf=lambda part: isinstance(part, eqx.nn.BatchNorm))
        if train and _one_row(x) and any(isinstance(part, eqx.nn.BatchNorm) for part in layers):
            warn_alone()

        def one(row: Any, key: Any) -> Any:
            more = {name: value for name, value in (("state", state), ("key", key)) if name in called}
            return built(row, **more)

        found = jax.vmap(one, axis_name="batch", out_axes=(0, None) if "state" in called else 0)(
            x, jax.random.split(key, size(x))
        )
        return (found[0], jax.tree.leaves(found[1])) if "state" in called else (found, stats)

    return Network(kind, init, apply)


# A pair of functions --------------------------------------------------------------------------------------------------------


def _of_pair(init: Callable[..., Any], apply: Callable[..., Any]) -> Network:
    """init: (model, key, inputs) -> (params, stats); apply: (model, params, stats, inputs, train, key) -> (outputs, stats).

    The model section is the dataclass that annotates the first parameter of `init`.
    """
    first = next(iter(inspect.signature(init).parameters), "")
    kind = typing.get_type_hints(init).get(first, Nothing)
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        raise UserError(f"the first parameter of {init.__name__} is of type {kind}; expected a dataclass, the model section")
    return Network(kind, init, apply)
