"""Config -> optax chain; schedules as data.

The classic optimizers are one branch-free rule whose coefficients are numbers, so that trials of all seven train side by
side in one program. The chain is built inside the traced function, from traced numbers: nothing is baked in.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from numpy.typing import NDArray

from jaxgen.config import OPTAX, Config, OptimizerConfig, resolve
from jaxgen.fields import UserError, register


@functools.partial(
    jax.tree_util.register_dataclass,
    meta_fields=[],
    data_fields=[
        "keep",
        "take",
        "lookahead",
        "square_keep",
        "square_take",
        "square_start",
        "inner_eps",
        "eps",
        "adaptive",
        "debias",
    ],
)
@dataclass(frozen=True)
class Rule:
    """The coefficients of the classic optimizers' one rule, for a gradient g at the step's count t = 1, 2, ...

    m <- keep m + take g                        v <- square_keep v + square_take g^2,  v_0 = square_start
    n  = keep m + g where lookahead, else m
    n and v are divided by 1 - keep^t and 1 - square_keep^t where debias
    update = n / (sqrt(v + inner_eps) + eps) where adaptive, else n
    """

    keep: ArrayLike = 0.0
    take: ArrayLike = 1.0
    lookahead: ArrayLike = 0.0
    square_keep: ArrayLike = 0.0
    square_take: ArrayLike = 0.0
    square_start: ArrayLike = 0.0
    inner_eps: ArrayLike = 0.0
    eps: ArrayLike = 0.0
    adaptive: ArrayLike = 0.0
    debias: ArrayLike = 0.0


Resolved = Any  # an OptimizerConfig in which resolve() has filled what was left out


def _adam(o: Resolved) -> Rule:
    return Rule(keep=o.b1, take=1 - o.b1, square_keep=o.b2, square_take=1 - o.b2, eps=o.eps, adaptive=1.0, debias=o.debias)


def _momentum(o: Resolved, lookahead: float) -> Rule:
    return Rule(keep=o.momentum, lookahead=lookahead)


def _adagrad(o: Resolved) -> Rule:
    return Rule(square_keep=1.0, square_take=1.0, square_start=o.accumulator, inner_eps=o.eps, adaptive=1.0)


def _rmsprop(o: Resolved) -> Rule:
    return Rule(square_keep=o.b2, square_take=1 - o.b2, inner_eps=o.eps, adaptive=1.0)


# Each takes a resolved config. Sources: Polyak 1964, Nesterov 1983, Duchi et al. 2011, Tieleman and Hinton 2012,
# Kingma and Ba 2015, Loshchilov and Hutter 2019; in the forms of optax, to which the parity test holds them.
RULES: Mapping[str, Callable[[Resolved], Rule]] = {
    "sgd": lambda o: Rule(),
    "momentum": lambda o: _momentum(o, 0.0),
    "nesterov": lambda o: _momentum(o, 1.0),
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamw": _adam,  # its weight decay is another link of the chain
}


LOCAL = ("sgd", "adagrad")  # whose rules leave alone what has no gradient


class RuleState(NamedTuple):
    """What a step keeps of the moments for the next one.

    Not the moments themselves, so that each sum below has a single product: of two, the compiler rounds one together with
    the sum, and which of them depends on all else in the program. A strength of zero would change last bits.
    """

    steps: jax.Array
    moment: Any  # keep m
    square: Any  # square_keep v


def scale_by_rule(rule: Rule) -> optax.GradientTransformation:
    """The classic optimizers' rule (see `Rule`) as one link of an optax chain."""

    def init(params: Any) -> RuleState:
        moment = jax.tree.map(jnp.zeros_like, params)
        square = jax.tree.map(lambda p: jnp.full_like(p, rule.square_keep * rule.square_start), params)
        return RuleState(jnp.zeros((), jnp.int32), moment, square)

    def update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
        del params
        steps = state.steps + 1
        moment = jax.tree.map(lambda g, kept: rule.take * g + kept, grads, state.moment)
        square = jax.tree.map(lambda g, kept: rule.square_take * (g * g) + kept, grads, state.square)
        debias, adaptive = jnp.asarray(rule.debias) > 0, jnp.asarray(rule.adaptive) > 0
        # Factors, one a lane, because dividing every number by them costs more than the rest of the rule.
        moment_scale = jnp.where(debias, 1 / filled(rule.take, steps), 1.0)
        square_scale = jnp.where(debias, 1 / filled(rule.square_take, steps), 1.0)

        def step(g: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
            ahead = jnp.where(jnp.asarray(rule.lookahead) > 0, g + rule.keep * m, m)
            root = jnp.sqrt(v * square_scale + rule.inner_eps) + rule.eps
            return ahead * moment_scale / jnp.where(adaptive, root, 1.0)

        updates = jax.tree.map(step, grads, moment, square)
        kept = [
            jax.tree.map(lambda x, keep=keep: keep * x, tree)
            for tree, keep in ((moment, rule.keep), (square, rule.square_keep))
        ]
        return updates, RuleState(steps, *kept)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]  (optax types its states loosely)


def filled(take: ArrayLike, steps: jax.Array) -> jax.Array:
    """How much of a mean of `steps` numbers, of which each step takes that share, is theirs: 1 - (1 - take)^steps.

    By way of the logarithm: 1 - 0.001 has rounded away four digits of the share, of which the power of 1,000 shows 5e-6.
    """
    return -jnp.expm1(steps * jnp.log1p(-jnp.asarray(take, jnp.float32)))


def schedule(config: Config, windows: int, since: int = 0, count: int | None = None) -> NDArray[np.float32]:
    """The learning rates of some of the steps of a resolved config: (C,).

    Args:
      windows: size of the training part; an epoch is that many windows (inverse time).
      since: the first of the steps.
      count: C, how many; they may reach beyond the budget, where rates are 0. None: all that there are from the first on.
    """
    o, steps = config.optimizer, config.train.steps
    end = max(steps, since) if count is None else since + count
    t = np.arange(since, end, dtype=np.float64)
    warm = min(round(o.warmup * steps), steps - 1)
    # Past the warm-up, from 0 to 1, which the last step does not quite reach: a rate of 0 would waste it.
    share = np.clip((t - warm) / (steps - warm), 0.0, 1.0)
    factor = SCHEDULES[o.schedule](o, share, t * config.train.batch_size / windows)
    assert o.learning_rate is not None
    rates = o.learning_rate * factor * np.minimum(1.0, (t + 1) / (warm + 1))
    return np.where(t < steps, rates, 0.0).astype(np.float32)


Factor = Callable[[OptimizerConfig, NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

# name -> the rate's factor, from the share of the budget that is spent (S,) and the epochs that are (S,).
SCHEDULES: Mapping[str, Factor] = {
    "constant": lambda o, share, epochs: np.ones_like(share),
    "steps": lambda o, share, epochs: o.decay ** np.floor(share * (o.drops + 1)),
    "exponential": lambda o, share, epochs: o.decay**share,
    "inverse_time": lambda o, share, epochs: 1 / (1 + o.decay_rate * epochs),
    "cosine": lambda o, share, epochs: (1 + np.cos(np.pi * share)) / 2,
}


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["rule", "learning_rate", "since", "weight_decay", "clip_norm"],
    meta_fields=["chain", "local"],
)
@dataclass(frozen=True)
class Optimizer:
    """A config's optimizer as a program sees it: numbers, and at most one Python object. None: not part of the program."""

    rule: Rule | None
    learning_rate: ArrayLike  # (C,): a value a step
    since: ArrayLike  # the step that the first of them is of
    weight_decay: ArrayLike | None
    clip_norm: ArrayLike | None
    chain: Callable[[ArrayLike], optax.GradientTransformation] | optax.GradientTransformation | None
    local: bool = False
    """Whether in all trials of the group what has no gradient stays as it is, so that a step may leave it alone."""


def lower(config: Config, windows: int, since: int = 0, count: int | None = None) -> Config:
    """`config` as `init` and `update` take it: its optimizer becomes numbers (`Optimizer`), and its type a pytree.

    Args:
      windows: size of the training part.
      since: the first step whose learning rate is to be there.
      count: of how many steps, as in `schedule`; a budget may be longer than what a table should hold.

    Raises:
      UserError: for an optimizer that is not there.

    Examples:
      >>> numbers = jaxgen.lower(config, windows=corpus.windows)  # for a loop of your own over `jaxgen.trial`
      >>> len(numbers.optimizer.learning_rate)  # that of each step
      40
    """
    register(type(config))
    config = resolve(config)
    o = config.optimizer
    chain = o.chain if o.chain is not None or not o.name.startswith(OPTAX) else _by_name(o.name)
    lowered = Optimizer(
        rule=RULES[o.name](o) if chain is None else None,
        learning_rate=schedule(config, windows, since, count),
        since=since,
        weight_decay=o.weight_decay if chain is None else None,
        clip_norm=o.clip_norm,
        chain=chain,
    )
    return _replace(config, optimizer=lowered)


def _replace(config: Config, **parts: Any) -> Config:
    """`dataclasses.replace` for a lowered part, whose type is not the declared one."""
    import dataclasses

    return dataclasses.replace(config, **parts)


@functools.cache  # a program is known by its optimizer, the object itself
def _by_name(name: str) -> Callable[[ArrayLike], optax.GradientTransformation]:
    make: Any = getattr(optax, name.removeprefix(OPTAX), None)
    known = inspect.signature(make).parameters if inspect.isfunction(make) else {}
    if "linesearch" in known:  # which wants the loss itself; rates are the trial's
        make = functools.partial(make, linesearch=None)
    fits = next(iter(known), "") == "learning_rate" and make is not optax.scale_by_learning_rate
    if not fits or not _works(make):
        raise UserError(
            f"optimizer.name is {name!r}, but optax has no such optimizer; "
            f"expected for instance {OPTAX}lion or {OPTAX}adabelief"
        )
    return make


def _works(make: Callable[[ArrayLike], optax.GradientTransformation]) -> bool:
    """Whether a learning rate and gradients are all that an optimizer needs."""

    def step(params: Any) -> Any:
        chain = make(0.1)
        return chain.update(params, chain.init(params), params)

    try:
        jax.eval_shape(step, {"w": jnp.zeros((2, 2))})
    except (TypeError, ValueError):  # it wants further coefficients, or the loss itself
        return False
    return True


def matrices(params: Any) -> Any:
    """Which parameters are weights that decay and L2 pull on: those with two axes or more, so no scale and no bias."""
    return jax.tree.map(lambda p: p.ndim >= 2, params)


def clip_by_global_norm(norm: ArrayLike) -> optax.GradientTransformation:
    """optax's link of this name, which at 0 hands on what it is given, even where that has an infinite norm."""
    link = optax.clip_by_global_norm(norm)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        clipped, state = link.update(updates, state, params)
        return jax.tree.map(lambda u, c: jnp.where(jnp.asarray(norm) > 0, c, u), updates, clipped), state

    return optax.GradientTransformation(link.init, update)


def transformation(optimizer: Optimizer, step: jax.Array) -> optax.GradientTransformation:
    """The optax chain of one step: clipping, the rule, decayed weights, the learning rate of that step."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError("init and update take a config with its optimizer as numbers: call jaxgen.lower(config, windows) first")
    rate = jnp.asarray(optimizer.learning_rate)[step - optimizer.since]
    links = []
    if optimizer.clip_norm is not None:
        links.append(clip_by_global_norm(optimizer.clip_norm))
    if optimizer.chain is not None:
        chain = optimizer.chain
        links.append(chain if isinstance(chain, optax.GradientTransformation) else chain(rate))
    else:
        assert optimizer.rule is not None
        links.append(scale_by_rule(optimizer.rule))
        if optimizer.weight_decay is not None:
            links.append(optax.add_decayed_weights(optimizer.weight_decay, mask=matrices))  # pyright: ignore[reportArgumentType]  (may be traced)
        links.append(optax.scale_by_learning_rate(rate))  # pyright: ignore[reportArgumentType]  (may be traced)
    return optax.chain(*links)
