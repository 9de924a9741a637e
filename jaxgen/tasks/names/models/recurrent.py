"""What the recurrent families share: a cell goes through the name, its state is the start's wherever a name begins."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.tasks.names.config import RegularizerConfig
from jaxgen.tasks.names.data import BOUNDARY
from jaxgen.tasks.names.models.layers import BEFORE, Head, dropped, embedded


class Cell(nn.Module):
    """One step of a recurrent layer. Its state is a tuple of `STATES` arrays (B, H), of which the first is what it gives."""

    hidden: int
    activation: str
    initialization: str
    init_scale: float

    STATES: ClassVar[int] = 1

    @nn.compact
    def __call__(self, state: tuple[jax.Array, ...], inputs: tuple[jax.Array, jax.Array]) -> Any:
        """Args:
        inputs: the step's embeddings (B, E), and where a name begins (B,).

        Returns:
          the new state; and what the step gives (B, H), with what went into its activation function, if it has one.
        """
        x, fresh = inputs
        start = self.param("start", nn.initializers.zeros, (self.STATES, self.hidden))
        state = tuple(jnp.where(fresh[:, None], first[None], h) for first, h in zip(start, state, strict=True))
        state, before = self.step(x, state)
        return state, (state[0], before)

    def step(self, x: jax.Array, state: tuple[jax.Array, ...]) -> tuple[tuple[jax.Array, ...], jax.Array | None]:
        """The state after a step, from its inputs and the state before it."""
        raise NotImplementedError


class Recurrent(nn.Module):
    """Embeddings, one recurrent layer, logits. A family of sequences, `models.Family`."""

    vocabulary: int
    embedding: int
    hidden: int
    cell: type[Cell]
    activation: str
    initialization: str
    init_scale: float

    @nn.compact
    def __call__(
        self, ids: jax.Array, training: RegularizerConfig | None = None, every: bool = False, cache: Any = None
    ) -> Any:
        key: Any = None if training is None else self.make_rng("noise")
        x = embedded(ids, self.vocabulary, self.embedding, training, key)  # (B, T, E)
        layer = nn.scan(self.cell, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1)
        run = layer(self.hidden, self.activation, self.initialization, self.init_scale, name="hidden_0")
        state, (x, before) = run(self.empty(len(ids)) if cache is None else cache, (x, ids == BOUNDARY))
        if before is not None:
            self.sow("intermediates", f"{BEFORE}hidden_0", before)
        x = dropped(x if every else x[:, -1], training, 0, 1, key)
        logits = Head(self.vocabulary, self.initialization, name="output")(x)
        return logits if cache is None else (logits, state)

    def empty(self, batch: int) -> Any:
        """A state to begin from; the boundary with which a name begins replaces it."""
        return tuple(jnp.zeros((batch, self.hidden)) for _ in range(self.cell.STATES))
