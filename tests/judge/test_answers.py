"""What comparing arms does not answer, on results with a known answer."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from test_verdict import results

import jaxgen
from jaxgen import runs
from jaxgen.judge.answers import BUDGET, SEARCHES, answer, gradient_ratios, loss_table
from jaxgen.judge.results import Diagnostic, Results, Row
from jaxgen.search.sweep import Question
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus, cut, windows
from jaxgen.tasks.names.ensemble import mixtures
from jaxgen.tasks.names.scores import mixed, surprise
from jaxgen.tasks.names.task import Names

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def asked(found: Results, verdict: str, **rows: list[Any]) -> Results:
    """Results of names to another question, with other values in their rows: of fields, or else of metrics."""
    question = dataclasses.replace(found.question, verdict=verdict)

    def changed(row: Row) -> Row:
        values = {name: of_trial[row.trial] for name, of_trial in rows.items()}
        metrics = {name: values.pop(name) for name in list(values) if name.endswith("_loss")}
        return dataclasses.replace(row, **values, metrics={**row.metrics, **metrics})

    return dataclasses.replace(found, question=question, rows=[changed(row) for row in found.rows], task=Names())


def test_early_stopping_says_what_patience_saves_and_costs() -> None:
    found = results({(0,): [2.0, 2.2], (3,): [2.01, 2.23]}, keys=("train.patience",), arms=())
    said = answer(asked(found, "early_stopping", steps=[100, 100, 30, 50])).sentences[-1]
    assert said == "Beside the whole budget, patience 3 takes 40% of the steps and loses 0.020 nats."


def test_gradient_ratios_are_those_of_the_first_hidden_layer_to_the_last() -> None:
    found = results({("none",): [2.5, 2.5], ("batchnorm",): [2.0, 2.0]}, keys=("model.normalization",), arms=())
    norms = {0: (1e-4, 1e-1), 1: (1e-6, 1e-1), 2: (0.5, 1.0), 3: (2.0, 1.0)}
    for trial, (first, last) in norms.items():
        for step in (0, 10):  # the later ones do not count
            for layer, spread, norm in (
                ("embedding", math.nan, 9.0),
                ("hidden_0", 1.0, first if step == 0 else 7.0),
                ("hidden_1", 1.0, last),
                ("output", math.nan, 9.0),
            ):
                found.diagnostics.append(Diagnostic(trial, step, layer, spread, 0.0, norm, 0.001))
    ratios = gradient_ratios(found)
    np.testing.assert_allclose([ratios["no normalization"], ratios["batchnorm"]], [1e-4, 1.0])
    said = answer(asked(found, "gradients")).sentences[0]
    assert "gradients vanish with no normalization:" in said
    assert "0.0001 times the last one's with no normalization, and 1 times with batchnorm" in said


def test_overfitting_names_bias_variance_and_other_data() -> None:
    found = results({(5,): [2.5, 2.5], (80,): [2.1, 2.3]}, keys=("model.hidden",), arms=())
    losses = {"params": [50, 50, 900, 900], "train_loss": [2.4, 2.4, 1.8, 2.0], "dev_loss": [2.45, 2.45, 2.1, 2.1]}
    said = answer(asked(found, "overfitting", **losses)).sentences[0]
    assert said == (
        "from 50 to 900 parameters the training loss goes from 2.400 to 1.900 (bias), the gap to names held out of training "
        "from 0.050 to 0.200 (variance), that from these to validation from 0.050 to 0.100 (other data); "
        "validation is best at 900 parameters, with 2.200"
    )


def test_overfitting_compares_networks_within_a_split() -> None:
    """Validation on other names is easier or harder, and says nothing of the networks."""
    rows = {("rows", 5): [2.5, 2.6, 2.55], ("rows", 80): [2.1, 2.2, 2.15]}
    losses = rows | {("order", 5): [3.0, 3.1, 3.05], ("order", 80): [3.1, 3.7, 3.1]}
    found = results(losses, keys=("data.split", "model.hidden"), arms=())
    said = answer(
        asked(found, "overfitting", params=[50] * 3 + [900] * 3 + [50] * 3 + [900] * 3, dev_loss=[2.0] * 12)
    ).sentences
    rows, order = (
        [line.partition(": ")[2] for line in said if line.startswith(f"split by {kind}")] for kind in ("rows", "order")
    )
    assert len(rows) + len(order) == len(said)
    assert rows[0].startswith("from 50 to 900 parameters")
    assert rows[1].startswith("hidden 80 beats hidden 5 by 0.400")
    assert rows[2].startswith("Selected: hidden 80, validation 2.1500")
    assert "hidden 5 leads hidden 80 by 0.250 nats" in order[1]
    assert order[2].startswith("if the difference is what it is here")
    assert order[3].startswith("Selected: hidden 5, validation 3.0500")


@pytest.fixture(scope="module")
def table() -> Results:
    """A loss with one valley, in the first key alone."""
    cells = {(rate, l2): [2.0 + 0.1 * abs(rate - 11)] for rate in range(16) for l2 in range(6)}
    return results(cells, keys=("optimizer.learning_rate", "regularizer.l2"), arms=())


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_finds_what_is_there_within_its_budget(name: str, table: Results) -> None:
    losses, axes = loss_table(table)
    assert losses.shape == (16, 6)
    assert losses[11, 3] == 2.0
    assert list(axes) == ["optimizer.learning_rate", "regularizer.l2"]
    # Every cell has a loss of its own, so that what a search has seen can be told from the best it found.
    own = np.random.default_rng(1).permutation(losses.size).reshape(losses.shape).astype(float)
    found = [SEARCHES[name](own, np.random.default_rng(seed)) for seed in range(300)]
    assert min(found) < 3
    assert np.mean(found) > 96 / (BUDGET + 1) / 4  # by chance 16 of 96 have their least at 96 / 17 - 1 = 4.7 on average


def test_where_one_key_matters_chance_beats_the_grid_and_the_fine_search_chance(table: Results) -> None:
    """A grid of 4 by 4 tries 4 values of the key that matters; chance tries most (Bergstra and Bengio 2012)."""
    said = answer(asked(table, "search")).sentences
    assert said[0].startswith("coarse-to-fine search finds the better setting than random search")
    assert said[1].index("random") < said[1].index("grid")
    assert "the best of all 96 settings has 2.0000" in said[1]


def test_a_mixture_is_the_mean_of_probabilities() -> None:
    p = np.random.default_rng(0).uniform(0.01, 1, (5, 40))
    np.testing.assert_allclose(mixed(-np.log(p)), -np.log(p.mean(0)))


def test_mixtures_of_a_run(small: Config, corpus: Corpus) -> None:
    found = runs.run(jaxgen.seeds(small, 4), corpus, width=4, chunk=2, question=Question(verdict="ensembles"))
    trained = [found.trained(row.trial) for row in found.rows]
    _, validation, test = (windows(part, corpus.vocabulary, 3) for part in cut(corpus, "rows", 42))
    losses = surprise(trained, validation)
    by_trial = {row.trial: row.val_loss for row in found.rows}
    np.testing.assert_allclose(losses.mean(1), [by_trial[t.trial] for t in trained], rtol=1e-5)
    mixture = mixtures(trained, corpus)
    np.testing.assert_allclose(mixture.by_size[1], losses.mean(), rtol=0.01)  # 100 draws of one of four
    np.testing.assert_allclose(mixture.by_size[4], -np.log(np.exp(-losses).mean(0)).mean())
    np.testing.assert_allclose(mixture.difference, losses.mean(1).min() - mixture.by_size[4])
    assert mixture.low <= mixture.difference <= mixture.high
    np.testing.assert_allclose(mixture.test, -np.log(np.exp(-surprise(trained, test)).mean(0)).mean())
    assert any("the mixture of 4 trials" in line for line in answer(found, corpus).sentences)
    assert found.verdict() == answer(found) == answer(found, corpus)
    unread = Names(None, None, corpus.vocabulary, 5)
    assert "the corpus has moved" in answer(dataclasses.replace(found, task=unread)).sentences[0]
