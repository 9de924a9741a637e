"""The config of the ratings task. Nothing here imports JAX, so that every command's --help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from jaxgen.config import Cut, Penalties, Steps, Training
from jaxgen.fields import Amount, Known, Leaf, Share, Strength

SENATE = "senate109"
Width = Annotated[int, Interval(ge=1, le=65536)]


@dataclass(frozen=True)
class Data(Cut):
    path: Annotated[str, Known(SENATE)] = SENATE
    """senate109, which comes with the package: what 102 senators said to 645 votes, yea (1) or nay (0); or a CSV or TSV file of
    your own with the columns user, item and rating, as those of MovieLens."""


@dataclass(frozen=True)
class Model:
    family: Literal["dot", "mlp"] = "dot"
    """dot: the product of a user's and an item's embedding; mlp: both side by side into hidden layers."""
    embedding: Width = 8
    """Numbers that stand for a user, and for an item."""
    biases: bool = True
    """Whether each user and each item has a number of its own that is added (dot)."""
    range: Literal["bounded", "free"] = "bounded"
    """bounded: a sigmoid between the lowest and the highest rating; free: any number."""
    embeddings: Literal["trained", "random"] = "trained"
    """random: embeddings stay as they were drawn, and what reads them is trained alone."""
    tables: Literal["two", "one"] = "two"
    """two: users' and items' embeddings are layers of their own; one: both stand in one table."""
    spread: Amount = 0.1
    """Standard deviation of the embeddings at first."""
    hidden: Width = 32
    """Width of a hidden layer (mlp)."""
    depth: Annotated[int, Interval(ge=1, le=1000)] = 1
    """Hidden layers (mlp)."""
    dropout: Strength[Share] = 0.0
    """Probability that a hidden unit is dropped in training (mlp)."""


@dataclass(frozen=True)
class Regularizer(Penalties):
    seen: Strength[Amount] = 0.0
    """Adds seen / 2 * the squared embeddings of each rating's user and item to the training objective: what is rated more often
    is pulled more often. (regularizer.l2 pulls at all embeddings in each step.)"""


@dataclass(frozen=True)
class Train(Training):
    steps: Leaf[Steps] = 4000
    """Step budget (S)."""
    batch_size: Annotated[int, Interval(ge=1, le=1_000_000)] = 256
    """Ratings a step (B)."""
    eval_every: Steps = 400
    """Steps between two evaluations: a segment."""
