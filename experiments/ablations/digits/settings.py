"""What several ablations of images begin with."""

from __future__ import annotations

CNN = {
    "model.family": "cnn",
    "model.channels": 8,
    "optimizer.schedule": "cosine",
    "optimizer.learning_rate": 3e-3,
    "train.steps": 1000,
}
