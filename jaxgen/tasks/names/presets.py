"""Configs of the names task to begin with: networks that are known to do well, and those that others are held against."""

from __future__ import annotations

from collections.abc import Mapping

from jaxgen.tasks.base import Preset

PRESETS: Mapping[str, Preset] = {
    "generator": Preset(
        "good names within a minute: a small GRU that stands on counts of 6 characters",
        {
            "model.family": "gru",
            "model.counts": 6,
            "model.context": 16,
            "model.hidden": 64,
            "model.embedding": 24,
            "train.steps": 2000,
            "train.eval_every": 250,
            "train.batch_size": 64,
            "train.names": 0,
            "optimizer.name": "adam",
            "optimizer.learning_rate": 0.003,
            "optimizer.schedule": "cosine",
            "optimizer.weight_decay": 0.1,
            "regularizer.dropout": 0.3,
            "regularizer.dropout_input": 0.1,
        },
    ),
    "counts": Preset(
        "no network: interpolated counts of 6 characters (modified Kneser-Ney)", {"model.family": "ngram", "model.context": 6}
    ),
    "dl101": Preset(
        "the course's network, trained longer: an MLP of 5 hidden layers with BatchNorm, Adam, a cosine schedule",
        {
            "train.steps": 8000,
            "train.batch_size": 128,
            "optimizer.name": "adam",
            "optimizer.learning_rate": 0.003,
            "optimizer.schedule": "cosine",
        },
    ),
    "transformer": Preset(
        "makemore's transformer: 4 blocks of 4 heads, 64 wide, over 16 characters",
        {
            "model.family": "transformer",
            "model.context": 16,
            "model.hidden": 64,
            "model.depth": 4,
            "model.heads": 4,
            "train.batch_size": 32,
            "optimizer.name": "adamw",
            "optimizer.learning_rate": 0.001,
            "optimizer.weight_decay": 0.01,
            "optimizer.schedule": "cosine",
        },
    ),
}
