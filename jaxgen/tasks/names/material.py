"""What each group of a sweep reads: the parts of its corpus, as rows of the kind that its family learns from."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgen.fields import UserError
from jaxgen.tasks.names import ngram
from jaxgen.tasks.names.config import Config, DataConfig, ModelConfig
from jaxgen.tasks.names.data import Corpus, Told, Vocabulary, Windows, cut, hold_out, sequences, windows
from jaxgen.tasks.names.models import FAMILIES
from jaxgen.tasks.names.models.ngram import parameters
from jaxgen.tasks.names.ngram import NGram, read_lengths
from jaxgen.tasks.rows import Splits

FOLDS = 10  # of the training names, each of which counts see when they are asked of the other ones
ROWS = 1 << 14  # of windows that are looked up at once
MOST = 1 << 33  # bytes of what counts say of a training part


class Material:
    """What the groups of a run on a corpus read. What is made of a corpus is made once."""

    def __init__(self, corpus: Corpus, source: Corpus | None) -> None:
        self.corpus, self.source = corpus, source
        self._learnt = functools.cache(self._learn)
        self._count = functools.cache(self._rows)
        self._prepared = functools.lru_cache(maxsize=1)(self._prepare)  # groups come one after the other

    @functools.cached_property
    def other(self) -> tuple[str, ...]:
        """The names to train on first.

        Raises:
          UserError: if there are none.
        """
        characters = {*self.corpus.vocabulary.characters}
        found = () if self.source is None else tuple(name for name in self.source.names if {*name} <= characters)
        if not found:
            raise UserError("train.pretrain wants names to train on first; give --data.source FILE, in the corpus's characters")
        return found

    def rows(self, config: Config) -> int:
        """Rows that a config's batches are drawn from."""
        whole = FAMILIES[config.model.family].sequences
        if config.model.counts:
            check(config.model, self._learnt(config.data)[0], self.corpus.vocabulary)
        return self._count(config.data, config.model.context if whole else None)

    def reads(self, config: Config) -> tuple[Splits, Any]:
        """What a group reads, and the tables of the counts that its networks stand on (None: on none)."""
        model = config.model
        smoothing = model.smoothing if model.counts else ""  # without counts, groups that differ in it read the same
        first = config.train.pretrain is not None  # it is where some trial of the group has steps of it
        whole = FAMILIES[model.family].sequences
        return self._prepared(config.data, model.context, whole, model.counts, smoothing, first)

    def _learn(self, data: DataConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return hold_out(cut(self.corpus, data.split, data.split_seed)[0], data.dev)

    def _rows(self, data: DataConfig, context: int | None) -> int:
        """context: of a family of sequences."""
        train, _ = self._learnt(data)
        if context is not None:
            return len(sequences(train, self.corpus.vocabulary, context).targets)
        return sum(map(len, train)) + len(train)

    def _prepare(
        self, data: DataConfig, context: int, whole: bool, order: int, smoothing: str, first: bool
    ) -> tuple[Splits, Any]:
        vocabulary = self.corpus.vocabulary
        train, held = self._learnt(data)
        _, validation, test = cut(self.corpus, data.split, data.split_seed)
        known, *parts = (windows(names, vocabulary, context) if names else None for names in (train, validation, test, held))
        assert known is not None
        batches = sequences(train, vocabulary, context) if whole else known
        source = (sequences if whole else windows)(self.other, vocabulary, context) if first else None
        tables = None
        if order:
            model = ngram.fit(windows(train, vocabulary, order), len(vocabulary), order, smoothing)
            tables = parameters(model)
            batches = on_other_names(batches, train, vocabulary, order, smoothing)
            most = sum(map(len, validation)) + len(validation)  # of these windows, no more are read
            known = told(Windows(known.ids[:most], known.targets[:most]), model)
            parts = [None if part is None else told(part, model) for part in parts]
        return Splits(known, parts[0], parts[1], dev=parts[2], batches=batches, source=source), tables


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
