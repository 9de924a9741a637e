"""The order in which rows come by epochs: a pure function of a key and the epoch, place by place, that stores no permutation.

A Feistel network over a little more numbers than there are rows shuffles them, and walks on where it leaves the rows (Black and
Rogaway 2002, "Ciphers with arbitrary finite domains"). A lane then needs no memory for its order, and resume no state.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Int32, PRNGKeyArray, UInt32

from jaxgen.config import Config
from jaxgen.fields import UserError

ROUNDS = 8
FEWEST_BITS = 6  # fewer would shuffle unevenly
MOST = 2**31  # numbers of 32 bits count rows times batch size


def check(config: Config, count: int) -> None:
    """Refuses epochs whose places do not fit 32 bits.

    Raises:
      UserError: then.
    """
    size, steps = config.train.batch_size, config.train.steps
    far = size != count and (count * size >= MOST or steps * size // count >= MOST)
    if config.train.draw == "epochs" and far:
        raise UserError(
            f"train.draw is 'epochs', with {steps:,} steps of {size:,} of {count:,} rows, whose places do not fit 32 bits; "
            "give a smaller train.batch_size, or train.draw 'replacement'"
        )


def in_epochs(key: PRNGKeyArray, step: Int[Array, ""], size: int, count: Any) -> Int32[Array, " batch"]:
    """The rows (B,) of a step's batch where the batches of `size` rows go through `count` rows again and again.

    Each row comes once an epoch; a batch may hold the end of one and the beginning of the next. Where a batch is all rows, and
    their number is known as a program is made, they come as they stand.
    """
    if isinstance(count, int) and size == count:
        return jnp.arange(size)
    whole, rest = step // count, step % count  # so that no product is larger than count * size
    places = rest * size + jnp.arange(size)
    return jax.vmap(lambda epoch, place: shuffled(key, epoch, place, count))(whole * size + places // count, places % count)


def shuffled(key: PRNGKeyArray, epoch: Int[Array, ""], place: Int[Array, ""], count: Any) -> Int32[Array, ""]:
    """Which of `count` rows stands at a place of an epoch's order: (), of 32 bits. `count` may be traced."""
    keys = jax.random.bits(jax.random.fold_in(key, epoch), (ROUNDS,), jnp.uint32)
    rows = jnp.asarray(count, jnp.uint32)
    bits = jnp.maximum(32 - jax.lax.clz(rows - 1), jnp.uint32(FEWEST_BITS))

    def outside(x: jax.Array) -> jax.Array:
        return x >= rows

    first = _network(keys, place.astype(jnp.uint32), bits)
    return jax.lax.while_loop(outside, lambda x: _network(keys, x, bits), first).astype(jnp.int32)


def _network(keys: UInt32[Array, " rounds"], x: UInt32[Array, ""], bits: UInt32[Array, ""]) -> UInt32[Array, ""]:
    """A permutation of the numbers below 2 ** bits: halves that take turns in being changed by a hash of the other."""
    one, low = jnp.uint32(1), bits // 2
    high = bits - low
    left, right = x >> low, x & ((one << low) - 1)
    for number in range(ROUNDS):
        width = high if number % 2 == 0 else low  # of the half that is changed
        left, right = right, left ^ (_hash(right ^ keys[number]) & ((one << width) - 1))
    return (left << low) | right


def _hash(x: UInt32[Array, ""]) -> UInt32[Array, ""]:
    """Mixes 32 bits (the finalizer of MurmurHash3, by Austin Appleby, public domain)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
