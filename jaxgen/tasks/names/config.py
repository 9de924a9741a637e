"""The config of the names task: what is read, what is built, and how a network is kept from learning by heart.

Nothing here imports JAX, so that every command's --help is quick.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from annotated_types import Interval

from jaxgen.config import OptimizerConfig, Penalties, Training
from jaxgen.fields import Amount, Leaf, Seed, Share, Strength, UserError

TEMPERATURE = 0.8  # at which commands and reports show names: as a network gives them, at 1, too many are strange
MAX_ORDER = 16  # of an ngram: longer contexts were hardly ever seen twice

Family = Literal["ngram", "bigram", "mlp", "bow", "rnn", "gru", "lstm", "wavenet", "dilated", "transformer"]
Activation = Literal["tanh", "relu", "leaky_relu", "sigmoid", "gelu"]
Normalization = Literal["batchnorm", "layernorm", "none"]
Initialization = Literal["zero", "normal", "xavier", "he"]
Smoothing = Literal["kneser_ney", "witten_bell"]
Split = Literal["rows", "names", "order"]
Width = Annotated[int, Interval(ge=1, le=65536)]

FAMILIES: tuple[str, ...] = get_args(Family)
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
NORMALIZATIONS: tuple[str, ...] = get_args(Normalization)
INITIALIZATIONS: tuple[str, ...] = get_args(Initialization)
SMOOTHINGS: tuple[str, ...] = get_args(Smoothing)
SPLITS: tuple[str, ...] = get_args(Split)


@dataclass(frozen=True)
class DataConfig:
    path: str = "data/names.txt"
    """A text file (a name a line) or a table (CSV, TSV), in UTF-8 or in UTF-16 with its mark; also packed by gzip."""
    column: str | None = None
    """The column of a table that holds the names: what stands above it, or its number, from 1 on."""
    split: Split = "rows"
    """rows: shuffle and cut 80/10/10; names: the same over the different names, each once, so that none is in two parts; order:
    cut the names as they stand in the file, so that what comes late is what is validated."""
    split_seed: Seed = 42
    """Shuffles the names before they are cut; the same for every trial of a sweep unless varied."""
    dev: Annotated[int, Interval(ge=0, le=90)] = 0
    """Percent of the training names that are held out; their loss (dev_loss) tells overfitting from a shift of the data."""
    source: str | None = None
    """Another text file of names, which the first train.pretrain steps train on."""


@dataclass(frozen=True)
class ModelConfig:
    family: Family = "mlp"
    """The model's family: mlp (Bengio et al. 2003), bigram, bow (bag of words), rnn, gru, lstm, wavenet (the hierarchical one
    of DL-101 and makemore; its context is a power of two), dilated (van den Oord et al. 2016), transformer; or ngram, which
    counts and needs no training."""
    context: Annotated[int, Interval(ge=0, le=1024)] = 3
    """Characters that the model sees (T); 0 for an ngram that sees none."""
    embedding: Width = 10
    """Width of a character's embedding (E); a transformer's is hidden."""
    hidden: Width = 100
    """Width of a hidden layer, a recurrent state, a channel or a transformer (H)."""
    depth: Annotated[int, Interval(ge=0, le=1000)] = 5
    """Hidden layers (mlp) or blocks (dilated, transformer); the other families have as many as they need."""
    heads: Annotated[int, Interval(ge=1, le=1024)] = 4
    """Attention heads (transformer), into which hidden is divided."""
    activation: Activation = "tanh"
    """tanh, relu, leaky_relu, sigmoid or gelu (mlp, bow, rnn, wavenet, transformer; the other families have their own)."""
    normalization: Normalization = "batchnorm"
    """batchnorm, layernorm or none, after every linear layer (mlp, wavenet); with none the layers have biases."""
    init: Initialization = "he"
    """Initialization of the linear layers: zero, normal, xavier or he."""
    init_scale: Amount = 1.0
    """Multiplies the initial weights of the hidden layers."""
    batch_momentum: Share = 0.9
    """Share of BatchNorm's running mean and variance that a step keeps."""
    residual: bool = False
    """Adds what goes into a hidden layer to what comes out, where both have the same width."""
    counts: Annotated[int, Interval(ge=0, le=MAX_ORDER)] = 0
    """Characters of context of the counts on which a network stands, of any family but ngram: it reads what they say, after
    half and a quarter as many too, and learns what to add to it. 0: none, it stands alone."""
    smoothing: Smoothing = "kneser_ney"
    """How counts are interpolated (ngram, model.counts): kneser_ney (modified, Chen and Goodman 1998) or witten_bell."""


@dataclass(frozen=True)
class RegularizerConfig(Penalties):
    dropout: Strength[Share] = 0.0
    """Probability that a hidden unit is dropped in training."""
    dropout_last: Strength[Share] | None = None
    """The same in the last hidden layer; the layers between lie evenly between. None: as in the first."""
    dropout_input: Strength[Share] = 0.0
    """Probability that a number of the embeddings is dropped in training."""
    noise: Strength[Amount] = 0.0
    """Standard deviation of what is added to the embeddings in training."""
    activity: Strength[Amount] = 0.0
    """Adds activity * the mean square of what each hidden layer gives (Merity et al. 2017)."""
    label_smoothing: Strength[Share] = 0.0
    """Share of the target's probability that is spread over the whole vocabulary in training (Szegedy et al. 2016)."""
    augmentation: Strength[Annotated[float, Interval(ge=0.0, le=1.0)]] = 0.0
    """Probability that a character of the context is taken from another window of the batch (Xie et al. 2017)."""


@dataclass(frozen=True)
class TrainConfig(Training):
    names: Annotated[int, Interval(ge=0, le=100_000)] = 128
    """Names drawn from each trial when it ends, by which the results say how good they are. 0: none."""


@dataclass(frozen=True)
class Config:
    """Everything that defines one trial.

    Examples:
      >>> config = jaxgen.Config()
      >>> config.model.hidden, config.optimizer.name
      (100, 'adam')
      >>> small = jaxgen.override(config, {"model.hidden": 32, "train.steps": 500})
    """

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    seed: Leaf[Seed] = 0
    """Seed of the trial's start, batches and noise."""

    def check(self) -> None:
        """Refuses values that do not go together.

        Raises:
          UserError: for the first of them.
        """
        model = self.model
        if model.family != "ngram" and model.context == 0:
            raise UserError("model.context is 0, expected a value in [1, 1024]; only an ngram can do without")
        if model.family == "ngram" and model.context > MAX_ORDER:
            raise UserError(f"model.context is {model.context}, expected a value in [0, {MAX_ORDER}] for an ngram")
        if model.family == "ngram" and self.train.pretrain:
            raise UserError("train.pretrain is given, but an ngram is not trained; leave it out, or choose another family")
        if model.counts and model.family == "ngram":
            raise UserError("model.counts is given, but an ngram is counts already (of model.context characters); leave it out")
        if model.counts > model.context:
            raise UserError(
                f"model.counts is {model.counts}, expected a value in [0, {model.context}]: counts see no more than the "
                "network; give fewer characters, or a larger model.context"
            )
        if model.counts and self.train.pretrain:
            raise UserError(
                "train.pretrain is given with model.counts, whose counts are of the corpus alone; leave one of them out"
            )
        if model.family == "wavenet" and (model.context < 2 or model.context & (model.context - 1)):
            raise UserError(f"model.context is {model.context}, expected a power of two, 2 or more, which wavenet can halve")
        if self.regularizer.activity and model.family in ("ngram", "bigram", "gru", "lstm", "dilated"):
            raise UserError(f"regularizer.activity is given, but model.activation is no part of {model.family}; leave it out")
        if model.family == "transformer" and model.hidden % model.heads:
            raise UserError(f"model.hidden is {model.hidden}, expected a multiple of model.heads ({model.heads})")

    def resolved(self) -> Config:
        """The config with what was left out as it follows from the rest."""
        if self.regularizer.dropout_last is not None:
            return self
        return dataclasses.replace(
            self, regularizer=dataclasses.replace(self.regularizer, dropout_last=self.regularizer.dropout)
        )
