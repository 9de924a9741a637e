"""How likely networks find names, beside plain loops over windows."""

from __future__ import annotations

import dataclasses
import itertools
import math

import jax
import numpy as np
import pytest
from families import SOME
from test_families import VOCABULARY, T, apply, network, trained

import jaxgen
from jaxgen.fields import UserError
from jaxgen.tasks.names.data import Vocabulary
from jaxgen.tasks.names.task import Names

NAMES = ["abc", "a", "gfedcbagfedcba", "cab", "a"]


@pytest.mark.parametrize("family", SOME)
def test_a_score_is_the_sum_of_a_names_surprises(family: str) -> None:
    """By a plain loop over windows; infinite where a character is unknown."""
    member = trained(family)
    found = jaxgen.score(member, [*NAMES, "xyz", "ax"])
    assert np.isinf(found[-2:]).all()
    model = jax.jit(apply(*network(family)))
    for name, nats in zip(NAMES, found, strict=False):
        total, ids = 0.0, [0] * T
        for target in [*VOCABULARY.encode(name), 0]:
            logits = np.asarray(model(np.array([ids]))[0], np.float64)
            total += np.log(np.exp(logits).sum()) - logits[target]
            ids = [*ids[1:], target]
        np.testing.assert_allclose(nats, total, rtol=1e-4)


@pytest.mark.parametrize("family", SOME)
def test_the_probabilities_of_all_names_up_to_a_length_are_all_but_the_tail(family: str) -> None:
    """P(names of up to n characters) + P(a name begins with n + 1 characters) = 1, whatever the network."""
    member, most = trained(family), 3
    names = ["".join(letters) for n in range(most + 1) for letters in itertools.product("abcdefg", repeat=n)]
    ended = np.exp(-jaxgen.score(member, names)).sum()
    # What the first n characters have, without the end: the surprise of a name less that of its end, times no end there.
    model, tail = jax.jit(apply(*network(family))), 0.0
    for letters in itertools.product("abcdefg", repeat=most):
        chance, ids = 1.0, [0] * T
        for target in [*VOCABULARY.encode("".join(letters)), None]:
            logits = np.asarray(model(np.array([ids]))[0], np.float64)
            shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            chance *= 1 - shares[0] if target is None else shares[target]
            ids = [*ids[1:], target or 0]
        tail += chance
    np.testing.assert_allclose(ended + tail, 1, rtol=1e-5)


def test_a_mixture_scores_by_the_mean_of_probabilities() -> None:
    members = [trained("gru"), trained("mlp")]
    models = [jax.jit(apply(*network(family))) for family in ("gru", "mlp")]
    total, ids = 0.0, [0] * T
    for target in [*VOCABULARY.encode("abc"), 0]:
        logits = [np.asarray(model(np.array([ids]))[0], np.float64) for model in models]
        total -= math.log(np.mean([np.exp(x[target]) / np.exp(x).sum() for x in logits]))
        ids = [*ids[1:], target]
    np.testing.assert_allclose(jaxgen.score(members, ["abc"]), [total], rtol=1e-4)


def test_trials_of_other_vocabularies_are_not_mixed() -> None:
    member = trained("mlp")
    other = dataclasses.replace(member, trial=1, task=Names(None, None, Vocabulary("xyz"), 3))
    with pytest.raises(UserError, match="one corpus"):
        jaxgen.score([member, other], ["abc"])
