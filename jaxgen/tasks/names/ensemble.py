"""Several trained trials as one: the mixture of what they think likely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxgen.fields import UserError
from jaxgen.judge.results import Trained
from jaxgen.tasks.names.data import Corpus, cut, windows
from jaxgen.tasks.names.scores import by_name, mixed, surprise

DRAWS = 100  # of members, for the loss of a smaller mixture
SIZES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Mixtures:
    """Mixtures of trials beside the best trial (lowest validation loss); losses in nats a character."""

    by_size: Mapping[int, float]
    """Validation loss of a mixture of so many of the trials, mean over which ones."""
    difference: float
    """Validation loss of the best trial less that of the mixture of all."""
    low: float
    """Lower end of its 95% confidence interval, by a bootstrap over validation names."""
    high: float
    names: int
    test: float
    best_test: float


def mixtures(trained: Sequence[Trained], corpus: Corpus) -> Mixtures:
    """What trials of one split and one context come to together.

    Raises:
      UserError: if they are of different splits or contexts.
    """
    from scipy import stats  # here: it takes a second to import

    config = trained[0].config
    if any(t.config.data != config.data or t.config.model.context != config.model.context for t in trained):
        raise UserError("trials of different splits or contexts cannot be mixed; give trials that differ otherwise")
    _, validation, test = cut(corpus, config.data.split, config.data.split_seed)
    found, final = (surprise(trained, windows(part, corpus.vocabulary, config.model.context)) for part in (validation, test))
    best = int(found.mean(1).argmin())
    source = np.random.default_rng(0)
    by_size = {
        size: float(np.mean([mixed(found[source.choice(len(found), size, replace=False)]).mean() for _ in range(DRAWS)]))
        for size in sorted({*(size for size in SIZES if size < len(found)), len(found)})
    }
    lengths = np.array([len(name) + 1 for name in validation])
    leads = by_name(found[best] - mixed(found), validation)
    mean = lambda lead, length, axis: lead.sum(axis) / length.sum(axis)  # noqa: E731  (what scipy calls)
    interval = stats.bootstrap(
        (leads, lengths), mean, paired=True, vectorized=True, method="percentile", n_resamples=2000, batch=100, rng=source
    ).confidence_interval
    return Mixtures(
        by_size,
        float(leads.sum() / lengths.sum()),
        float(interval.low),
        float(interval.high),
        len(validation),
        float(mixed(final).mean()),
        float(final[best].mean()),
    )
