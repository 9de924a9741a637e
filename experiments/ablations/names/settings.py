"""What several ablations share."""

from __future__ import annotations

from typing import Any

# A quarter of the training names, 1,033, and 6 characters of context: in 3,000 steps the course's network sees each window
# 13 times and learns them by heart, so that what is done against that can show.
LEARNT_BY_HEART: dict[str, Any] = {
    "data.path": "data/first_names.txt",
    "data.dev": 75,
    "model.context": 6,
    "optimizer.schedule": "cosine",
    "train.steps": 3000,
    "train.eval_every": 300,
}
SHORT: dict[str, Any] = {"train.steps": 2000, "train.eval_every": 200}
