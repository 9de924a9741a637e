"""New names from a trained trial: all names of a call grow side by side in one program."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen import models
from jaxgen.config import ModelConfig, UserError
from jaxgen.corpus import BOUNDARY, Corpus
from jaxgen.results import Trained

MOST = 1_000_000  # names of a call: they grow side by side in memory


def sample(
    trained: Trained,
    count: int = 20,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    prefix: str = "",
    seed: int = 0,
    max_length: int | None = None,
) -> list[str]:
    """`count` names, drawn character by character until the boundary. The same seed gives the same names.

    Args:
      trained: from `Results.best()` or `load`.
      temperature: divides the logits; 0 takes the likeliest character every time.
      top_k: keeps the k likeliest characters.
      top_p: keeps the fewest likeliest characters whose probabilities reach p (Holtzman et al. 2020), after top_k.
      prefix: what every name starts with.
      seed: of the draw.
      max_length: characters after which a name is cut; by default twice the corpus's longest name, after the prefix.

    Raises:
      UserError: for a value that is not allowed, or a prefix with a character that is not in the vocabulary.
    """
    _check("count", count, 0 <= count <= MOST, f"0 to {MOST}; draw more in several calls with other seeds")
    _check("temperature", temperature, 0 <= temperature < float("inf"), "0 or more")
    _check("top_k", top_k, top_k is None or top_k >= 1, "1 or more")
    _check("top_p", top_p, top_p is None or 0 < top_p <= 1, "a share in (0, 1]")
    _check("seed", seed, 0 <= seed < 2**31, "0 to 2147483647")
    _check("max_length", max_length, max_length is None or max_length >= 1, "1 or more")
    start = trained.vocabulary.encode(prefix)
    length = max_length if max_length is not None else len(prefix) + 2 * trained.longest
    if count == 0 or length <= len(prefix):
        return [prefix] * count
    context = trained.config.model.context
    window = ([BOUNDARY] * context + start)[-context:]
    ids = _grow(
        trained.config.model,
        len(trained.vocabulary),
        count,
        length - len(prefix),
        min(top_k or len(trained.vocabulary), len(trained.vocabulary)),
        {"params": trained.params, "batch_stats": trained.stats},
        jnp.asarray(window, jnp.int32),
        jnp.asarray(temperature, jnp.float32),
        jnp.asarray(1.0 if top_p is None else top_p, jnp.float32),
        jnp.asarray(not start),
        jax.random.key(seed),
    )
    return [prefix + trained.vocabulary.decode(row) for row in jax.device_get(ids).tolist()]


def _check(name: str, value: Any, fits: bool, wanted: str) -> None:
    if not fits:
        raise UserError(f"{name} is {value!r}, expected {wanted}")


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _grow(
    model: ModelConfig,
    vocabulary: int,
    count: int,
    length: int,
    top_k: int,
    variables: Any,
    window: jax.Array,  # (T,)
    temperature: jax.Array,
    top_p: jax.Array,
    bare: jax.Array,  # whether names start with nothing: then the boundary may not come first, for no name is empty
    key: jax.Array,
) -> jax.Array:
    """Ids after the window, (count, length), boundaries behind each name's end."""
    module = models.build(model, vocabulary)

    def running(carry: tuple[jax.Array, ...]) -> jax.Array:
        place, _, _, done = carry
        return (place < length) & ~done.all()

    def step(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        place, windows, out, done = carry
        logits: Any = module.apply(variables, windows)
        logits = jnp.where(bare & (place == 0), logits.at[:, BOUNDARY].set(-jnp.inf), logits)
        chosen = choose(logits, temperature, top_k, top_p, jax.random.fold_in(key, place))
        ids = jnp.where(done, BOUNDARY, chosen).astype(jnp.int32)
        windows = jnp.concatenate([windows[:, 1:], ids[:, None]], axis=1)
        return place + 1, windows, out.at[:, place].set(ids), done | (ids == BOUNDARY)

    start = (
        jnp.zeros((), jnp.int32),
        jnp.tile(window, (count, 1)),
        jnp.full((count, length), BOUNDARY, jnp.int32),
        jnp.zeros(count, bool),
    )
    return jax.lax.while_loop(running, step, start)[2]


def choose(logits: jax.Array, temperature: jax.Array, top_k: int, top_p: jax.Array, key: jax.Array) -> jax.Array:
    """One id a row of logits (N, V): the likeliest at temperature 0, else drawn from what top_k and top_p leave; (N,)."""
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
