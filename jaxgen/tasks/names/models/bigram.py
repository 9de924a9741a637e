"""The next character by the last one alone: a table of logits, learnt as a network's weights are."""

from __future__ import annotations

from typing import Any

import jax
from flax import linen as nn

from jaxgen.nn import Embed
from jaxgen.tasks.names.config import RegularizerConfig


class Bigram(nn.Module):
    """A row of logits for each id. A family of sequences, `models.Family`."""

    vocabulary: int

    @nn.compact
    def __call__(
        self, ids: jax.Array, training: RegularizerConfig | None = None, every: bool = False, cache: Any = None
    ) -> Any:
        """Logits of the next id; no regularizer acts in here, because there is nothing between the table and the logits."""
        table = Embed(self.vocabulary, self.vocabulary, embedding_init=nn.initializers.zeros, name="output")
        logits = table(ids if every else ids[:, -1])
        return logits if cache is None else (logits, cache)

    def empty(self, batch: int) -> Any:
        """Nothing is remembered."""
        return ()
