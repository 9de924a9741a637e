"""The ablations of ratings, in the order of the course's questions."""

from __future__ import annotations

from . import dot_or_mlp, embedding_size, random_embeddings, rating_biases, rating_optimizers, rating_range

GROUPS = {  # by the headings of docs/guide.md
    "Ratings": (embedding_size, rating_biases, rating_range, dot_or_mlp, rating_optimizers, random_embeddings)
}
MODULES = tuple(module for group in GROUPS.values() for module in group)
