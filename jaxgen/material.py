"""What each group of a sweep reads: the parts of its corpus, as rows of the kind that its family learns from."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgen import ngram
from jaxgen.config import Config, DataConfig, ModelConfig, UserError
from jaxgen.corpus import Corpus, Told, Vocabulary, Windows, cut, hold_out, sequences, windows
from jaxgen.models import FAMILIES
from jaxgen.models.ngram import parameters
from jaxgen.ngram import NGram, read_lengths
from jaxgen.optimizers import lower
from jaxgen.programs import Data, prepare
from jaxgen.sweep import Group, Sweep, groups

FOLDS = 10  # of the training names, each of which counts see when they are asked of the other ones
ROWS = 1 << 14  # of windows that are looked up at once
MOST = 1 << 33  # bytes of what counts say of a training part


class Material(NamedTuple):
    """What a group's lanes read, and the tables of the counts that its networks stand on (None: on none)."""

    data: Data
    counts: Any


def material(sweep: Sweep, corpus: Corpus, source: Corpus | None) -> tuple[list[Group], Callable[[Config], Material]]:
    """Groups of a sweep, and a group's material from its config. All that the user can have got wrong raises here."""
    vocabulary, other = corpus.vocabulary, ()
    if any(config.train.pretrain for config in sweep):
        other = tuple(name for name in source.names if {*name} <= {*vocabulary.characters}) if source is not None else ()
        if not other:
            raise UserError("train.pretrain wants names to train on first; give --data.source FILE, in the corpus's characters")

    @functools.cache
    def learnt(data: DataConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return hold_out(cut(corpus, data.split, data.split_seed)[0], data.dev)

    @functools.lru_cache(maxsize=1)  # groups come one after the other
    def prepared(data: DataConfig, context: int, whole: bool, order: int, smoothing: str) -> Material:
        train, held = learnt(data)
        _, validation, test = cut(corpus, data.split, data.split_seed)
        known, *parts = (windows(names, vocabulary, context) if names else None for names in (train, validation, test, held))
        assert known is not None
        batches = sequences(train, vocabulary, context) if whole else known
        first = (sequences if whole else windows)(other, vocabulary, context) if other else None
        tables = None
        if order:
            model = ngram.fit(windows(train, vocabulary, order), len(vocabulary), order, smoothing)
            tables = parameters(model)
            batches = on_other_names(batches, train, vocabulary, order, smoothing)
            most = sum(map(len, validation)) + len(validation)  # of these windows, no more are read
            known = told(Windows(known.ids[:most], known.targets[:most]), model)
            parts = [None if part is None else told(part, model) for part in parts]
        return Material(prepare(known, parts[0], parts[1], dev=parts[2], batches=batches, source=first), tables)

    @functools.cache
    def count(data: DataConfig, context: int | None) -> int:
        """Rows that batches are drawn from; `context`: of a family of sequences."""
        train, _ = learnt(data)
        if context is not None:
            return len(sequences(train, vocabulary, context).targets)
        return sum(map(len, train)) + len(train)

    def whole(config: Config) -> bool:
        return FAMILIES[config.model.family].sequences

    def lowered(config: Config) -> Config:
        if config.model.counts:
            check(config.model, learnt(config.data)[0], vocabulary)
        return lower(config, count(config.data, config.model.context if whole(config) else None))

    def made(config: Config) -> Material:
        model = config.model
        smoothing = model.smoothing if model.counts else ""  # without counts, groups that differ in it read the same
        return prepared(config.data, model.context, whole(config), model.counts, smoothing)

    group_list = groups(sweep, lowered)
    return group_list, made


def check(model: ModelConfig, train: tuple[str, ...], vocabulary: Vocabulary) -> None:
    """Refuses counts where there is too little, or too much, to count.

    Raises:
      UserError: then.
    """
    if len(train) < FOLDS:
        raise UserError(f"model.counts wants {FOLDS} training names or more, and there are {len(train)}; leave it out")
    places = model.context * len(train) if FAMILIES[model.family].sequences else sum(map(len, train)) + len(train)
    size = 4 * len(read_lengths(model.counts)) * len(vocabulary) * places
    if size > MOST:
        raise UserError(
            f"model.counts wants {size / 1e9:.3g} GB for what counts say of {len(train):,} training names, and takes "
            f"{MOST / 1e9:.3g} at most; leave it out, or give fewer names or a smaller model.context"
        )


def told(rows: Windows, model: NGram) -> Told:
    """Windows (N, T) with what counts say of each."""
    return Told(*rows, spoken(model, rows.ids))


def spoken(model: NGram, ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """The log-probabilities (N, L, V) of each id after rows of ids (N, T), by contexts of L lengths (`ngram.read_lengths`)."""
    lengths = read_lengths(len(model.orders) - 1)
    found = np.empty((len(ids), len(lengths), model.vocabulary), np.float32)
    for first in range(0, len(ids), ROWS):
        each = list(ngram.distributions(model, ids[first : first + ROWS]))
        found[first : first + ROWS] = np.log(np.stack([each[length] for length in lengths], axis=1))
    return found


def on_other_names(rows: Windows, names: tuple[str, ...], vocabulary: Vocabulary, order: int, smoothing: str) -> Told:
    """The windows or sequences of `names`, in their order, each with what the counts of other names say of its targets.

    The names are dealt into FOLDS parts, and of each it is asked what the counts of all the others make of it: so a network
    learns how far to trust counts on names that they have not seen, as validation names are. Equal names may lie in different
    parts, as they may in validation.
    """
    every = windows(names, vocabulary, order)  # as the targets of `rows` are, one after the other
    part = np.repeat(np.arange(len(names)) % FOLDS, [len(name) + 1 for name in names])
    found = np.empty((len(part), len(read_lengths(order)), len(vocabulary)), np.float32)
    for fold in range(FOLDS):
        others = Windows(every.ids[part != fold], every.targets[part != fold])
        found[part == fold] = spoken(ngram.fit(others, len(vocabulary), order, smoothing), every.ids[part == fold])
    said = np.zeros((*rows.targets.shape, *found.shape[1:]), np.float32)
    said[rows.targets >= 0] = found
    return Told(*rows, said)
