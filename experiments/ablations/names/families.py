"""Which family of models is best, at as many parameters and as much time?

    python -m experiments.sweep families

96 trials in 8 programs, 4 min 36 s on 2 cores of a shared machine. A GRU of 68 units leads (2.178) by 0.045 nats on the LSTM
(2.223), the next of the leaderboard; dilated convolutions (2.245), the RNN (2.247), the hierarchical WaveNet (2.289), the MLP
(2.301), the bag of words (2.394) and the transformer (2.399) follow, and it beats each of them. In that time none reaches
what counts of 6 characters come to (2.086).
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxgen.config import Config
from jaxgen.search.sweep import Question, Sweep, Uniform, random, zipped

QUESTION = Question(
    "families", "Which family of models is best, at as many parameters and as much time?", arms=("model.family",)
)
SETTINGS = {
    "model.context": 8,
    "model.embedding": 16,
    "optimizer.schedule": "cosine",
    "train.steps": 2000,
    "train.eval_every": 100,
}
SEEDS = 3
MINUTES = 4.6
DRAWS = 4  # of a learning rate and a dropout rate, the same for each family

# Family -> its width and depth, with which it has 19,000 to 21,500 parameters (with these settings and a vocabulary of 27) and
# sees the whole context; and how many times as long its step takes as the mlp's on two CPU cores, which this sweep prints. A
# bigram has no width and 729 parameters; an ngram has nothing to tune or to wait for, and stands below every leaderboard.
FAMILIES: Mapping[str, tuple[int, int, float]] = {
    "mlp": (80, 2, 1.0),
    "bow": (575, 2, 7.0),
    "rnn": (120, 2, 3.3),
    "gru": (68, 2, 2.3),
    "lstm": (60, 2, 3.1),
    "wavenet": (64, 2, 0.8),
    "dilated": (32, 3, 3.2),
    "transformer": (28, 2, 4.8),
}


def sweep(base: Config) -> Sweep:
    """Each family for as long as train.steps take the mlp."""
    axes = {
        "model.family": list(FAMILIES),
        "model.hidden": [hidden for hidden, _, _ in FAMILIES.values()],
        "model.depth": [depth for _, depth, _ in FAMILIES.values()],
        "train.steps": [max(1, round(base.train.steps / cost)) for _, _, cost in FAMILIES.values()],
    }
    tuned = {"optimizer.learning_rate": Uniform(1e-3, 2e-2, log=True), "regularizer.dropout": Uniform(0.0, 0.3)}
    return random(zipped(base, axes), tuned, DRAWS)
