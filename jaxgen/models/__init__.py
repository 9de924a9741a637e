"""The registry of model families: linen modules, ids (B, T) -> logits (B, V)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flax import linen as nn

from jaxgen.config import ModelConfig
from jaxgen.models.mlp import MLP

MODELS: Mapping[str, Callable[[ModelConfig, int], nn.Module]] = {
    "mlp": lambda config, vocabulary: MLP(
        vocabulary=vocabulary,
        embedding=config.embedding,
        hidden=config.hidden,
        depth=config.depth,
        activation=config.activation,
        normalization=config.normalization,
        initialization=config.init,
        init_scale=config.init_scale,
        batch_momentum=config.batch_momentum,
        residual=config.residual,
    ),
}


def build(config: ModelConfig, vocabulary: int) -> nn.Module:
    """The module of a config's family for a vocabulary of `vocabulary` ids, the boundary included."""
    return MODELS[config.family](config, vocabulary)
