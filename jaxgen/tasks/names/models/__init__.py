"""The registry of model families: linen modules, ids (B, T) -> logits (B, V)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jaxgen.tasks.names.config import ModelConfig
from jaxgen.tasks.names.models.bigram import Bigram
from jaxgen.tasks.names.models.bow import Bow
from jaxgen.tasks.names.models.dilated import Dilated
from jaxgen.tasks.names.models.gru import GRU
from jaxgen.tasks.names.models.lstm import LSTM
from jaxgen.tasks.names.models.mlp import MLP
from jaxgen.tasks.names.models.ngram import NGram
from jaxgen.tasks.names.models.on_counts import OnCounts, Reader
from jaxgen.tasks.names.models.recurrent import Recurrent
from jaxgen.tasks.names.models.rnn import RNN
from jaxgen.tasks.names.models.transformer import Transformer
from jaxgen.tasks.names.models.wavenet import WaveNet


@dataclass(frozen=True)
class Family:
    """How a family's module is made from a config, whether it is one of sequences, and whether it is trained (or counts).

    `module(ids, training)` gives the logits (B, V) of the id that comes after each row of ids (B, T). A family of sequences
    also gives, with `every=True`, the logits (B, T, V) after each place, by which it learns from all of them; and with
    `cache=` from `module.empty(B)` the logits (B, V) after one more id (B, 1), with the new cache. `training` is as in `MLP`.
    """

    build: Callable[[ModelConfig, int], Any]
    sequences: bool
    trained: bool = True


def _of(module: Callable[..., Any], *keys: str, **others: Any) -> Callable[[ModelConfig, int], Any]:
    """Makes a module from these of a config's values; `init` is what modules have as `initialization`."""
    names = {key: "initialization" if key == "init" else key for key in keys}
    return lambda config, vocabulary: module(
        vocabulary=vocabulary, **{name: getattr(config, key) for key, name in names.items()}, **others
    )


_MADE = ("activation", "init", "init_scale")
_NORMALIZED = (*_MADE, "normalization", "batch_momentum")
_RECURRENT = ("embedding", "hidden", *_MADE)

FAMILIES: Mapping[str, Family] = {
    "ngram": Family(_of(NGram), False, trained=False),
    "bigram": Family(_of(Bigram), True),
    "mlp": Family(_of(MLP, "embedding", "hidden", "depth", "residual", *_NORMALIZED), False),
    "bow": Family(_of(Bow, "context", "embedding", "hidden", *_MADE), True),
    "rnn": Family(_of(Recurrent, *_RECURRENT, cell=RNN), True),
    "gru": Family(_of(Recurrent, *_RECURRENT, cell=GRU), True),
    "lstm": Family(_of(Recurrent, *_RECURRENT, cell=LSTM), True),
    "wavenet": Family(_of(WaveNet, "embedding", "hidden", *_NORMALIZED), False),
    "dilated": Family(_of(Dilated, "context", "embedding", "hidden", "depth", "init", "init_scale"), True),
    "transformer": Family(_of(Transformer, "context", "hidden", "depth", "heads", *_MADE), True),
}


def shape(config: ModelConfig) -> ModelConfig:
    """A config without the numbers that only training reads: networks of one shape share a program that does not train."""
    default = ModelConfig()
    return replace(config, init_scale=default.init_scale, batch_momentum=default.batch_momentum)


def build(config: ModelConfig, vocabulary: int) -> Any:
    """The module of a config for a vocabulary of `vocabulary` ids, the boundary included; on its counts, where it has some."""
    alone = FAMILIES[config.family].build(config, vocabulary)
    return OnCounts(alone, Reader(vocabulary, config.hidden, config.init), config.counts) if config.counts else alone
