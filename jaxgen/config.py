"""What defines a trial: frozen dataclasses of numbers and names, dotted overrides, and what is allowed in them.

Nothing here imports JAX, so that every command's --help is quick. Floats, the seed, the step budget and the patience are
leaves of the config's pytree (`trial.py` registers it); every other field is tree structure and selects the program.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro


class UserError(ValueError):
    """A mistake of the user's: the message says what was given, what was expected and what to do."""


FAMILIES = ("ngram", "bigram", "mlp", "bow", "rnn", "gru", "lstm", "wavenet", "dilated", "transformer")
ACTIVATIONS = ("tanh", "relu", "leaky_relu", "sigmoid", "gelu")
NORMALIZATIONS = ("batchnorm", "layernorm", "none")
INITIALIZATIONS = ("zero", "normal", "xavier", "he")
SCHEDULES = ("constant", "steps", "exponential", "inverse_time", "cosine")
SMOOTHINGS = ("kneser_ney", "witten_bell")
SPLITS = ("rows", "names", "order")

# The coefficients that each classic optimizer has, and the value that suits it where the config leaves it out.
# The defaults are optax's (adagrad and rmsprop keep their eps inside the root, as there), the learning rates those that
# won the bundled `optimizers` ablation, rounded.
OPTIMIZERS: Mapping[str, Mapping[str, float]] = {
    "sgd": {"learning_rate": 0.3},
    "momentum": {"learning_rate": 0.03, "momentum": 0.9},
    "nesterov": {"learning_rate": 0.03, "momentum": 0.9},
    "adagrad": {"learning_rate": 0.1, "eps": 1e-7, "accumulator": 0.1},
    "rmsprop": {"learning_rate": 3e-3, "b2": 0.9, "eps": 1e-8},
    "adam": {"learning_rate": 3e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "debias": 1.0},
    "adamw": {"learning_rate": 3e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "debias": 1.0, "weight_decay": 1e-2},
}
OPTAX = "optax."  # the prefix that names any other optimizer of optax's, such as optax.lion


@dataclass(frozen=True)
class DataConfig:
    path: str = "data/names.txt"
    """A text file (a name a line) or a CSV file, in UTF-8."""
    column: str | None = None
    """The column of a CSV file that holds the names."""
    split: str = "rows"
    """rows: shuffle and cut 80/10/10; names: the same over the different names, each once, so that none is in two parts; order:
    cut the names as they stand in the file, so that what comes late is what is validated."""
    split_seed: int = 42
    """Shuffles the names before they are cut; the same for every trial of a sweep unless varied."""
    dev: int = 0
    """Percent of the training names that are held out; their loss (dev_loss) tells overfitting from a shift of the data."""
    source: str | None = None
    """Another text file of names, which the first train.pretrain steps train on."""


@dataclass(frozen=True)
class ModelConfig:
    family: str = "mlp"
    """The model's family: mlp (Bengio et al. 2003), bigram, bow (bag of words), rnn, gru, lstm, wavenet (the hierarchical one
    of DL-101 and makemore; its context is a power of two), dilated (van den Oord et al. 2016), transformer; or ngram, which
    counts and needs no training."""
    context: int = 3
    """Characters that the model sees (T); 0 for an ngram that sees none."""
    embedding: int = 10
    """Width of a character's embedding (E); a transformer's is hidden."""
    hidden: int = 100
    """Width of a hidden layer, a recurrent state, a channel or a transformer (H)."""
    depth: int = 5
    """Hidden layers (mlp) or blocks (dilated, transformer); the other families have as many as they need."""
    heads: int = 4
    """Attention heads (transformer), into which hidden is divided."""
    activation: str = "tanh"
    """tanh, relu, leaky_relu, sigmoid or gelu (mlp, bow, rnn, wavenet, transformer; the other families have their own)."""
    normalization: str = "batchnorm"
    """batchnorm, layernorm or none, after every linear layer (mlp, wavenet); with none the layers have biases."""
    init: str = "he"
    """Initialization of the linear layers: zero, normal, xavier or he."""
    init_scale: float = 1.0
    """Multiplies the initial weights of the hidden layers."""
    batch_momentum: float = 0.9
    """Share of BatchNorm's running mean and variance that a step keeps."""
    residual: bool = False
    """Adds what goes into a hidden layer to what comes out, where both have the same width."""
    counts: int = 0
    """Characters of context of the counts on which a network stands, of any family but ngram: it reads what they say, after
    half and a quarter as many too, and learns what to add to it. 0: none, it stands alone."""
    smoothing: str = "kneser_ney"
    """How counts are interpolated (ngram, model.counts): kneser_ney (modified, Chen and Goodman 1998) or witten_bell."""


@dataclass(frozen=True)
class OptimizerConfig:
    name: str = "adam"
    """sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw; or optax.NAME for any other of optax's."""
    learning_rate: float | None = None
    """Peak learning rate. None: what suits the optimizer, here and below."""
    momentum: float | None = None
    """Decay of the trace (momentum, nesterov)."""
    b1: float | None = None
    """Decay of the first moment (adam, adamw)."""
    b2: float | None = None
    """Decay of the second moment (rmsprop, adam, adamw)."""
    eps: float | None = None
    """Added to the denominator (adagrad, rmsprop, adam, adamw)."""
    debias: float | None = None
    """1: the moments are divided by what their start at zero takes from them; 0: not (adam, adamw)."""
    accumulator: float | None = None
    """What the sum of squared gradients starts at (adagrad)."""
    weight_decay: float | None = None
    """Decoupled weight decay of the weight matrices, with any classic optimizer. None: 0.01 for adamw, else 0."""
    clip_norm: float = 0.0
    """Clips the gradient's global norm. 0: off."""
    schedule: str = "constant"
    """constant, steps, exponential, inverse_time or cosine."""
    warmup: float = 0.0
    """Share of the steps over which the rate rises linearly from 0 (any schedule)."""
    decay: float = 0.1
    """steps: factor at each drop; exponential: the share of the peak that is left at the end."""
    drops: int = 2
    """steps: number of drops, evenly spaced over the budget."""
    decay_rate: float = 1.0
    """inverse_time: the rate in lr0 / (1 + rate * epoch)."""
    chain: Annotated[Any, tyro.conf.Suppress] = None
    """A Python object instead of a name: learning rate -> optax.GradientTransformation, such as optax.lion."""


@dataclass(frozen=True)
class RegularizerConfig:
    l2: float = 0.0
    """Adds l2 / 2 * the sum of squared weights (matrices only) to the training objective."""
    l1: float = 0.0
    """Adds l1 * the sum of absolute weights (matrices only)."""
    dropout: float = 0.0
    """Probability that a hidden unit is dropped in training."""
    dropout_last: float | None = None
    """The same in the last hidden layer; the layers between lie evenly between. None: as in the first."""
    dropout_input: float = 0.0
    """Probability that a number of the embeddings is dropped in training."""
    noise: float = 0.0
    """Standard deviation of what is added to the embeddings in training."""
    activity: float = 0.0
    """Adds activity * the mean square of what each hidden layer gives (Merity et al. 2017)."""
    max_norm: float = 0.0
    """After each step, a unit's incoming weights are no longer than this (Srivastava et al. 2014). 0: off."""
    label_smoothing: float = 0.0
    """Share of the target's probability that is spread over the whole vocabulary in training (Szegedy et al. 2016)."""
    augmentation: float = 0.0
    """Probability that a character of the context is taken from another window of the batch (Xie et al. 2017)."""


@dataclass(frozen=True)
class TrainConfig:
    steps: int = 4000
    """Step budget (S)."""
    batch_size: int = 32
    """Windows a step (B), drawn with replacement."""
    eval_every: int = 400
    """Steps between two evaluations: a segment."""
    patience: int = 0
    """Evaluations without a better validation loss after which a trial stops early. 0: never."""
    pretrain: int = 0
    """Steps at the beginning that train on the names of data.source."""
    freeze: int = 0
    """Layers, from the embedding on, that are not trained after these."""
    names: int = 128
    """Names drawn from each trial when it ends, by which the results say how good they are. 0: none."""
    diagnostics: bool = False
    """Looks at each layer's activations, gradients and updates at the beginning of each segment."""


@dataclass(frozen=True)
class Config:
    """Everything that defines one trial."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    seed: int = 0
    """Seed of the trial's start, batches and noise."""


LEAF_INTEGERS = ("seed", "steps", "patience", "pretrain", "freeze")
MAX_STEPS = 100_000_000
MAX_ORDER = 16  # of an ngram: longer contexts were hardly ever seen twice

# key -> (lowest, highest, whether the ends are allowed)
_UNIT = (0.0, 1.0, True, False)
BOUNDS: Mapping[str, tuple[float, float, bool, bool]] = {
    "data.split_seed": (0, 2**31 - 1, True, True),
    "data.dev": (0, 90, True, True),
    "model.context": (0, 1024, True, True),
    "model.embedding": (1, 65536, True, True),
    "model.hidden": (1, 65536, True, True),
    "model.depth": (0, 1000, True, True),
    "model.heads": (1, 1024, True, True),
    "model.counts": (0, MAX_ORDER, True, True),
    "model.init_scale": (0.0, 3e38, True, True),
    "model.batch_momentum": _UNIT,
    "optimizer.learning_rate": (0.0, 3e38, True, True),
    "optimizer.momentum": _UNIT,
    "optimizer.b1": _UNIT,
    "optimizer.b2": _UNIT,
    "optimizer.eps": (0.0, 3e38, True, True),
    "optimizer.debias": (0.0, 1.0, True, True),
    "optimizer.accumulator": (0.0, 3e38, True, True),
    "optimizer.weight_decay": (0.0, 3e38, True, True),
    "optimizer.clip_norm": (0.0, 3e38, True, True),
    "optimizer.warmup": _UNIT,
    "optimizer.decay": (0.0, 1.0, False, True),
    "optimizer.drops": (0, 1000, True, True),
    "optimizer.decay_rate": (0.0, 3e38, True, True),
    "regularizer.l2": (0.0, 3e38, True, True),
    "regularizer.l1": (0.0, 3e38, True, True),
    "regularizer.dropout": _UNIT,
    "regularizer.dropout_last": _UNIT,
    "regularizer.dropout_input": _UNIT,
    "regularizer.noise": (0.0, 3e38, True, True),
    "regularizer.activity": (0.0, 3e38, True, True),
    "regularizer.max_norm": (0.0, 3e38, True, True),
    "regularizer.label_smoothing": _UNIT,
    "regularizer.augmentation": (0.0, 1.0, True, True),
    "train.steps": (1, MAX_STEPS, True, True),
    "train.batch_size": (1, 1_000_000, True, True),
    "train.eval_every": (1, MAX_STEPS, True, True),
    "train.patience": (0, MAX_STEPS, True, True),
    "train.pretrain": (0, MAX_STEPS, True, True),
    "train.freeze": (0, 1000, True, True),
    "train.names": (0, 100_000, True, True),
    "seed": (0, 2**31 - 1, True, True),
}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "data.split": SPLITS,
    "model.family": FAMILIES,
    "model.activation": ACTIVATIONS,
    "model.normalization": NORMALIZATIONS,
    "model.init": INITIALIZATIONS,
    "model.smoothing": SMOOTHINGS,
    "optimizer.schedule": SCHEDULES,
}


def items(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Each dotted key of a config with its value and its declared type."""
    for part in dataclasses.fields(config):
        value = getattr(config, part.name)
        if dataclasses.is_dataclass(value):
            yield from items(value, f"{prefix}{part.name}.")
        elif part.name != "chain":
            yield prefix + part.name, value, str(part.type)


def flatten(config: Config) -> dict[str, Any]:
    """Dotted key -> value; what `config.json` holds and `override` takes."""
    return {key: value for key, value, _ in items(config)}


def _declared(key: str) -> str:
    types = {name: kind for name, _, kind in items(Config())}
    if key not in types:
        section, _, _ = key.rpartition(".")
        near = [name for name in types if section and name.startswith(section + ".")]
        near = near or difflib.get_close_matches(key, types, 3, 0.5) or list(types)
        raise UserError(f"there is no config key {key!r}; expected one of {', '.join(near)}")
    return types[key]


def parse(key: str, text: str) -> Any:
    """The value that `text` stands for at `key`, in the key's own type.

    Raises:
      UserError: for an unknown key, or a text that the key's type cannot read.
    """
    kind = _declared(key)
    if "None" in kind and text == "None":
        return None
    if "bool" in kind:
        if text not in ("True", "False"):
            raise UserError(f"{key} is {text!r}, expected True or False")
        return text == "True"
    for name, read in (("float", float), ("int", int)):
        if name in kind:
            try:
                return read(text)
            except ValueError:
                what = "a number" if name == "float" else "a whole number"
                raise UserError(f"{key} is {text!r}, expected {what}") from None
    return text


def override(config: Config, values: Mapping[str, Any]) -> Config:
    """`config` with other values at dotted keys.

    Raises:
      UserError: for an unknown key, or a value that is not of the key's type.
    """
    for key, value in values.items():
        if key == "optimizer.chain":
            config = dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, chain=value))
            continue
        kind, value = _declared(key), value.item() if hasattr(value, "item") else value
        fits = (
            (value is None and "None" in kind)
            or ("bool" in kind and isinstance(value, bool))
            or ("str" in kind and isinstance(value, str))
            or ("float" in kind and isinstance(value, int | float) and not isinstance(value, bool))
            or ("int" in kind and isinstance(value, int) and not isinstance(value, bool))
        )
        if not fits:
            raise UserError(f"{key} is {value!r}, expected {kind}")
        if "float" in kind and value is not None:
            value = float(value)
        section, _, name = key.rpartition(".")
        if section:
            part = dataclasses.replace(getattr(config, section), **{name: value})
            config = dataclasses.replace(config, **{section: part})
        else:
            config = dataclasses.replace(config, **{name: value})
    return config


def validate(config: Config) -> Config:
    """`config` itself, if every value is allowed.

    Raises:
      UserError: for the first value that is not, with the values that are.
    """
    for key, value, _ in items(config):
        if key in CHOICES and value not in CHOICES[key]:
            raise UserError(f"{key} is {value!r}, expected one of {', '.join(CHOICES[key])}")
        if key in BOUNDS and value is not None:
            low, high, with_low, with_high = BOUNDS[key]
            inside = (low <= value if with_low else low < value) and (value <= high if with_high else value < high)
            if not inside or math.isnan(value):
                left, right = "[" if with_low else "(", "]" if with_high else ")"
                raise UserError(f"{key} is {value!r}, expected a value in {left}{low:g}, {high:g}{right}")
    model = config.model
    if model.family != "ngram" and model.context == 0:
        raise UserError("model.context is 0, expected a value in [1, 1024]; only an ngram can do without")
    if model.family == "ngram" and model.context > MAX_ORDER:
        raise UserError(f"model.context is {model.context}, expected a value in [0, {MAX_ORDER}] for an ngram")
    if model.family == "ngram" and config.train.pretrain:
        raise UserError("train.pretrain is given, but an ngram is not trained; leave it out, or choose another family")
    if model.counts and model.family == "ngram":
        raise UserError("model.counts is given, but an ngram is counts already (of model.context characters); leave it out")
    if model.counts > model.context:
        raise UserError(
            f"model.counts is {model.counts}, expected a value in [0, {model.context}]: counts see no more than the network; "
            "give fewer characters, or a larger model.context"
        )
    if model.counts and config.train.pretrain:
        raise UserError(
            "train.pretrain is given with model.counts, whose counts are of the corpus alone; leave one of them out"
        )
    if model.family == "wavenet" and (model.context < 2 or model.context & (model.context - 1)):
        raise UserError(f"model.context is {model.context}, expected a power of two, 2 or more, which wavenet can halve")
    if config.regularizer.activity and model.family in ("ngram", "bigram", "gru", "lstm", "dilated"):
        raise UserError(f"regularizer.activity is given, but model.activation is no part of {model.family}; leave it out")
    if model.family == "transformer" and model.hidden % model.heads:
        raise UserError(f"model.hidden is {model.hidden}, expected a multiple of model.heads ({model.heads})")
    resolve(config)
    return config


def resolve(config: Config) -> Config:
    """`config` with every coefficient that was left out at the value that suits its optimizer.

    Raises:
      UserError: for an unknown optimizer, or a coefficient that the named one does not have.
    """
    optimizer = config.optimizer
    name = optimizer.name
    other = optimizer.chain is not None or name.startswith(OPTAX)
    if not other and name not in OPTIMIZERS:
        known = ", ".join(OPTIMIZERS)
        raise UserError(f"optimizer.name is {name!r}, expected one of {known}, or {OPTAX}NAME for another of optax's")
    known = {"learning_rate": 1e-3} if other else {"weight_decay": 0.0, **OPTIMIZERS[name]}
    values = {}
    for key in ("learning_rate", "momentum", "b1", "b2", "eps", "debias", "accumulator", "weight_decay"):
        value = getattr(optimizer, key)
        if value is not None and key not in known:
            has = ", ".join(known)
            raise UserError(f"optimizer.{key} is {value!r}, but {name} has no such coefficient (it has {has}); leave it out")
        values[key] = known.get(key) if value is None else value
    regularizer = config.regularizer
    if regularizer.dropout_last is None:
        regularizer = dataclasses.replace(regularizer, dropout_last=regularizer.dropout)
    return dataclasses.replace(config, optimizer=dataclasses.replace(optimizer, **values), regularizer=regularizer)
