"""New names from a trained trial: all names of a call grow side by side in one program."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.engine.precision import precisely
from jaxgen.fields import UserError, quoted
from jaxgen.judge.results import Trained, together
from jaxgen.tasks.names import models
from jaxgen.tasks.names.config import ModelConfig
from jaxgen.tasks.names.data import BOUNDARY, Corpus, Vocabulary

TRIES = 50  # names that are drawn at most for each one that is wanted of a kind
FEWEST = 256  # names that are drawn at once where only some of them are wanted
FURTHER = 1 << 31  # further rounds draw by keys from here on, the first by those of a name's characters
MOST = 1_000_000  # names of a call
LONGEST = 100_000  # characters that max_length may be
FITS = 1 << 26  # bytes of what grows side by side


def sample(
    trained: Trained | Sequence[Trained],
    count: int = 20,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    prefix: str = "",
    seed: int = 0,
    max_length: int | None = None,
    unique: bool = False,
    without: Collection[str] = (),
) -> list[str]:
    """`count` names, drawn character by character until the boundary. The same seed gives the same names.

    Args:
      trained: from `Results.best()` or `load`; several of one vocabulary are their mixture, the mean of their probabilities.
      temperature: divides the logits; 0 takes the likeliest character every time.
      top_k: keeps the k likeliest characters.
      top_p: keeps the fewest likeliest characters whose probabilities reach p (Holtzman et al. 2020), after top_k.
      prefix: what every name starts with.
      seed: of the draw.
      max_length: characters after which a name is cut; by default twice the corpus's longest name, after the prefix.
      unique: each name once.
      without: names that are not wanted, such as those of the corpus. With these or `unique`, up to TRIES times `count` names
        are drawn (of few, of FEWEST), and there are fewer than `count` where that was not enough.

    Raises:
      UserError: for a value that is not allowed, or a prefix with a character that is not in the vocabulary.
    """
    _check("count", count, 0 <= count <= MOST, f"0 to {MOST:,}; draw more in several calls with other seeds")
    _check("temperature", temperature, 0 <= temperature < float("inf"), "0 or more")
    _check("top_k", top_k, top_k is None or top_k >= 1, "1 or more")
    _check("top_p", top_p, top_p is None or 0 < top_p <= 1, "a share in (0, 1]")
    _check("seed", seed, 0 <= seed < 2**31, "0 to 2147483647")
    _check("max_length", max_length, max_length is None or 1 <= max_length <= LONGEST, f"1 to {LONGEST:,}")
    members = together(trained)
    vocabulary = members[0].task.vocabulary
    if any(member.task.vocabulary != vocabulary for member in members):
        raise UserError("trials of different vocabularies cannot be mixed; give trials of one corpus")
    start = vocabulary.encode(prefix)
    length = max_length if max_length is not None else len(prefix) + 2 * members[0].task.longest
    some = unique or bool(without)
    unwanted = set(without)

    def kept(names: list[str]) -> list[str]:
        return [name for name in (dict.fromkeys(names) if unique else names) if name not in unwanted]

    if count == 0 or length <= len(prefix):
        return kept([prefix] * count)
    shapes = tuple(models.shape(member.config.model) for member in members)
    opening = jax.eval_shape(lambda: [opened(shape, len(vocabulary), 1) for shape in shapes])
    each = 4 * length + sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(opening))
    rows = max(1, min(max(count, FEWEST) if some else count, FITS // each))
    grown = functools.partial(
        _grow,
        shapes,
        len(vocabulary),
        rows,
        length - len(prefix),
        min(top_k or len(vocabulary), len(vocabulary)),
        [{"params": member.params, "batch_stats": member.stats} for member in members],
        jnp.asarray([BOUNDARY, *start], jnp.int32),
        jnp.asarray(temperature, jnp.float32),
        jnp.asarray(1.0 if top_p is None else top_p, jnp.float32),
    )
    names: list[str] = []
    rounds = -(-(TRIES * max(count, FEWEST) if some else count) // rows)
    for number in range(rounds):
        key = jax.random.key(seed) if number == 0 else jax.random.fold_in(jax.random.key(seed), FURTHER + number)
        names = kept(names + [prefix + vocabulary.decode(row) for row in jax.device_get(grown(key)).tolist()])
        if len(names) >= count:
            break
    return names[:count]


def _check(name: str, value: Any, fits: bool, wanted: str) -> None:
    if not fits:
        raise UserError(f"{name} is {quoted(value)}, expected {wanted}")


class Grown(NamedTuple):
    """What a network has been told of some names, (N, ...)."""

    windows: jax.Array  # (N, T): the last ids
    cache: Any  # of a family of sequences


def opened(model: ModelConfig, vocabulary: int, count: int) -> Grown:
    """`count` names of which nothing is known."""
    cache = models.build(model, vocabulary).empty(count) if models.FAMILIES[model.family].sequences else ()
    return Grown(jnp.full((count, model.context), BOUNDARY, jnp.int32), cache)


def told(
    model: ModelConfig, vocabulary: int, variables: Any, state: Grown, ids: jax.Array, place: jax.Array
) -> tuple[Grown, jax.Array]:
    """One more id (N,) for each name, the `place`-th: the new state, and the logits (N, V) of the next one.

    A family of sequences remembers what it has computed, until a name is longer than its context: from there on what it sees
    begins with another character each time, so that all of it is computed again.
    """
    module = models.build(model, vocabulary)
    windows = jnp.concatenate([state.windows, ids[:, None]], axis=1)[:, 1:]
    if not models.FAMILIES[model.family].sequences:
        return Grown(windows, ()), module.apply(variables, windows)

    def one() -> tuple[Any, jax.Array]:
        logits, cache = module.apply(variables, ids[:, None], cache=state.cache)
        return cache, logits

    def whole() -> tuple[Any, jax.Array]:
        return state.cache, module.apply(variables, windows)

    cache, logits = jax.lax.cond(place < model.context, one, whole)
    return Grown(windows, cache), logits


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
@precisely
def _grow(
    members: tuple[ModelConfig, ...],
    vocabulary: int,
    count: int,
    length: int,
    top_k: int | None,
    variables: Sequence[Any],
    start: jax.Array,  # the boundary and the prefix
    temperature: jax.Array,
    top_p: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """Ids after the start, (count, length), boundaries behind each name's end."""

    def tell(states: list[Grown], ids: jax.Array, place: jax.Array) -> tuple[list[Grown], jax.Array]:
        found = [told(m, vocabulary, v, s, ids, place) for m, v, s in zip(members, variables, states, strict=True)]
        if len(found) == 1:
            return [found[0][0]], found[0][1]
        mixed = jax.nn.logsumexp(jnp.stack([jax.nn.log_softmax(logits) for _, logits in found]), axis=0)
        return [state for state, _ in found], mixed

    def running(carry: tuple[Any, ...]) -> jax.Array:
        place, _, _, _, done = carry
        return (place < length) & ~done.all()

    def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        place, states, last, out, done = carry
        states, logits = tell(states, last, len(start) - 1 + place)
        bare = (len(start) == 1) & (place == 0)  # the boundary may not come first, for no name is empty
        logits = jnp.where(bare, logits.at[:, BOUNDARY].set(-jnp.inf), logits)
        chosen = choose(logits, temperature, top_k, top_p, jax.random.fold_in(key, place))
        ids = jnp.where(done, BOUNDARY, chosen).astype(jnp.int32)
        return place + 1, states, ids, out.at[:, place].set(ids), done | (ids == BOUNDARY)

    states = [opened(m, vocabulary, 1) for m in members]  # all names begin alike
    told_first = (start[:-1], jnp.arange(len(start) - 1))
    states, _ = jax.lax.scan(lambda states, x: (tell(states, x[0][None], x[1])[0], None), states, told_first)
    carry = (
        jnp.zeros((), jnp.int32),
        jax.tree.map(lambda x: jnp.repeat(x, count, axis=0), states),
        jnp.full(count, start[-1]),
        jnp.full((count, length), BOUNDARY, jnp.int32),
        jnp.zeros(count, bool),
    )
    return jax.lax.while_loop(running, step, carry)[3]


DRAWS = 64  # trials that one call draws from, or as many as fit


def draw(
    model: ModelConfig,
    vocabulary: Vocabulary,
    states: Sequence[Any],
    count: int,
    length: int,
    abreast: bool | None = None,
) -> list[list[str]]:
    """`count` names of up to `length` characters from each of some trials of one model, by one program and the same chance.

    Args:
      states: params and stats of each trial.
      abreast: the trials side by side, and not one after the other. None: as suits the device.
    """
    abreast = jax.default_backend() != "cpu" if abreast is None else abreast
    names: list[list[str]] = []
    each = 4 * count * length + sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(states[:1]))
    seats = max(1, min(DRAWS, FITS // each))
    for first in range(0, len(states), seats):
        part = list(states[first : first + seats])
        full = part + part[:1] * (seats - len(part))
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *full)
        ids = jax.device_get(_draw(models.shape(model), len(vocabulary), count, length, abreast, *stacked, len(part)))
        names += [[vocabulary.decode(row) for row in rows.tolist()] for rows in ids[: len(part)]]
    return names


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
@precisely
def _draw(
    model: ModelConfig, vocabulary: int, count: int, length: int, abreast: bool, params: Any, stats: Any, used: int
) -> jax.Array:
    """Ids (K, count, length) from the first `used` of K trials: one trial after the other, which is fastest on a CPU, or
    `abreast`, where each character costs a round trip to the device however many names grow.
    """
    start, one, key = jnp.array([BOUNDARY], jnp.int32), jnp.ones(()), jax.random.key(0)

    def of_one(params: Any, stats: Any) -> jax.Array:
        variables = [{"params": params, "batch_stats": stats}]
        return _grow((model,), vocabulary, count, length, None, variables, start, one, one, key)

    def put(trial: jax.Array, out: jax.Array) -> jax.Array:
        return out.at[trial].set(of_one(*jax.tree.map(lambda x: x[trial], (params, stats))))

    if abreast:
        return jax.vmap(of_one)(params, stats)
    trials = len(jax.tree.leaves(params)[0])
    return jax.lax.fori_loop(0, used, put, jnp.zeros((trials, count, length), jnp.int32))


def choose(logits: jax.Array, temperature: jax.Array, top_k: int | None, top_p: jax.Array, key: jax.Array) -> jax.Array:
    """One id a row of logits (N, V): the likeliest at temperature 0, else drawn from what top_k and top_p leave; (N,).

    A top_k of None draws from all as they are, without the sorting that the others need.
    """
    if top_k is None:
        return jax.random.categorical(key, logits, axis=-1)
    likeliest = jnp.argmax(logits, axis=-1)
    scaled = logits / jnp.where(temperature > 0, temperature, 1.0)
    order = jnp.argsort(-scaled, axis=-1)  # stable: ties go to the smaller id
    ranked = jnp.take_along_axis(scaled, order, axis=-1)
    ranked = jnp.where(jnp.arange(ranked.shape[-1]) < top_k, ranked, -jnp.inf)
    shares = jax.nn.softmax(ranked, axis=-1)
    before = jnp.cumsum(shares, axis=-1) - shares  # what the likelier ones reach; the likeliest always stays
    ranked = jnp.where((before < top_p) | (top_p >= 1), ranked, -jnp.inf)
    rank = jax.random.categorical(key, ranked, axis=-1)
    drawn = jnp.take_along_axis(order, rank[:, None], axis=-1)[:, 0]
    return jnp.where(temperature > 0, drawn, likeliest)


@dataclass(frozen=True)
class Novelty:
    """How many of some names are new, already drawn before in the same list, or in the corpus."""

    new: int
    repeated: int
    known: int

    def __str__(self) -> str:
        return f"{self.new} new, {self.repeated} repeated, {self.known} in the corpus"


def labels(names: list[str], corpus: Corpus) -> list[str]:
    """new, repeated (it came before in `names`) or corpus, for each name."""
    known, seen, found = set(corpus.names), set(), []
    for name in names:
        found.append("repeated" if name in seen else "corpus" if name in known else "new")
        seen.add(name)
    return found


def novelty(names: list[str], corpus: Corpus) -> Novelty:
    """The counts of `labels`."""
    marks = labels(names, corpus)
    return Novelty(marks.count("new"), marks.count("repeated"), marks.count("corpus"))
