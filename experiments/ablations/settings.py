"""What several ablations share."""

from __future__ import annotations

from typing import Any

# 4,130 training names and 6 characters of context: the course's network learns them by heart, so that what is done against
# that can show.
LEARNT_BY_HEART: dict[str, Any] = {
    "data.path": "data/first_names.txt",
    "model.context": 6,
    "optimizer.schedule": "cosine",
    "train.steps": 5000,
    "train.eval_every": 500,
}
SHORT: dict[str, Any] = {"train.steps": 2000, "train.eval_every": 200}
