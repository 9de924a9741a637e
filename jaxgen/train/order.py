"""The order in which rows come by epochs: a pure function of a key and the epoch, place by place, that stores no permutation.

A Feistel network over a little more numbers than there are rows shuffles them, and walks on where it leaves the rows (Black and
Rogaway 2002, "Ciphers with arbitrary finite domains"). A lane then needs no memory for its order, and resume no state.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.config import Config, UserError

ROUNDS = 8
MOST = 2**31  # numbers of 32 bits count rows times batch size


def check(config: Config, count: int) -> None:
    """Refuses epochs whose places do not fit 32 bits.

    Raises:
      UserError: then.
    """
    size, steps = config.train.batch_size, config.train.steps
    if config.train.draw == "epochs" and (count * size >= MOST or steps * size // count >= MOST):
        raise UserError(
            f"train.draw is 'epochs', with {steps:,} steps of {size:,} of {count:,} rows, whose places do not fit 32 bits; "
            "give a smaller train.batch_size, or train.draw 'replacement'"
        )


def in_epochs(key: jax.Array, step: jax.Array, size: int, count: int) -> jax.Array:
    """The rows (B,) of a step's batch where the batches of `size` rows go through `count` rows again and again.

    Each row comes once an epoch; a batch may hold the end of one and the beginning of the next.
    """
    whole, rest = step // count, step % count  # so that no product is larger than count * size
    places = rest * size + jnp.arange(size)
    return jax.vmap(lambda epoch, place: shuffled(key, epoch, place, count))(whole * size + places // count, places % count)


def shuffled(key: jax.Array, epoch: jax.Array, place: jax.Array, count: int) -> jax.Array:
    """Which of `count` rows stands at a place of an epoch's order: (), of 32 bits."""
    keys = jax.random.bits(jax.random.fold_in(key, epoch), (ROUNDS,), jnp.uint32)
    bits = max(6, (count - 1).bit_length())  # fewer would shuffle unevenly

    def outside(x: jax.Array) -> jax.Array:
        return x >= count

    first = _network(keys, place.astype(jnp.uint32), bits)
    return jax.lax.while_loop(outside, lambda x: _network(keys, x, bits), first).astype(jnp.int32)


def _network(keys: jax.Array, x: jax.Array, bits: int) -> jax.Array:
    """A permutation of the numbers below 2 ** bits: halves that take turns in being changed by a hash of the other."""
    low = bits // 2
    high = bits - low
    left, right = x >> low, x & jnp.uint32((1 << low) - 1)
    for number in range(ROUNDS):
        width = high if number % 2 == 0 else low  # of the half that is changed
        left, right = right, left ^ (_hash(right ^ keys[number]) & jnp.uint32((1 << width) - 1))
    return (left << low) | right


def _hash(x: jax.Array) -> jax.Array:
    """Mixes 32 bits (the finalizer of MurmurHash3, by Austin Appleby, public domain)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
