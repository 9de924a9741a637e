"""A run that no one trained: results whose every number is known, with names and labels that mean harm."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

import jaxgen
from jaxgen.judge.results import Curve, Diagnostic, Results, Trained
from jaxgen.judge.verdict import Comparison, Tried, Verdict
from jaxgen.report.pictures import Found
from jaxgen.search.sweep import Question, Sweep
from jaxgen.storage.facts import describe
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus, Vocabulary, load_corpus
from jaxgen.tasks.names.task import METRICS, Names

EVIL = "<script>alert(1)</script>"
NAMES = (
    EVIL,
    "<img src=x onerror=alert(2)>",
    "a$b$c_d",
    "אברהם",
    "محمد",
    "田中",
    "\u202eevil",
    "a\x01b",
    '"q"',
    "'q'",
    "{{7*7}}",
    "--><!--",
)
LAYERS = ("embedding", "hidden_0", "hidden_1", "output")
STEPS = (20, 40, 60, 80, 100)
RATES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
AXES = {
    "optimizer.name": ["sgd", "adam"],
    "optimizer.learning_rate": RATES,
    "regularizer.l2": [0.0, 1e-3],
    "model.depth": [1, 2],
    "seed": range(5),
}


def loss(values: dict[str, Any], seed: int) -> float:
    """A validation loss with its lowest at adam, rate 0.01, no l2, depth 1, seed 0; all seeds of sgd at rate 10 diverge."""
    adam = values.get("optimizer.name", "adam") == "adam"
    off = math.log10(values.get("optimizer.learning_rate", 1e-2) / (1e-2 if adam else 1e-1))
    deep = values.get("model.depth", 1) - 1
    return 2.2 + 0.05 * (not adam) + 0.03 * off**2 + 20 * values.get("regularizer.l2", 0.0) + 0.001 * deep + 0.004 * seed


def results_of(sweep: Sweep, question: Question | None = None) -> Results:
    """What training a sweep might have found."""
    found = Results(sweep, programs=1, question=question or Question(), metrics=METRICS, task=Names())
    for trial in range(len(sweep)):
        values, seed = found.values(trial), found.seed(trial)
        bad = values.get("optimizer.name") == "sgd" and values.get("optimizer.learning_rate") == 10.0
        low = loss(values, seed)
        losses = {"train_loss": low - 0.1, "val_loss": low, "test_loss": low + 0.01}
        steps = 60 if bad else 100
        found.rows.append(found.row(trial, "diverged" if bad else "completed", 999, steps, steps, losses))
        found.curves += [
            Curve(trial, step, {"train_loss": 0.0, "val_loss": low + 10 / step - 0.1}) for step in STEPS if step <= steps
        ]
        found.diagnostics += [
            Diagnostic(trial, step, layer, 0.5 + seed, 0.1 * place, 10.0**-place * step, 1e-3 * (1 + place))
            for step in STEPS
            for place, layer in enumerate(LAYERS)
        ]
    return found


def large() -> Results:
    """200 trials, whose question names what is compared."""
    question = Question(EVIL, f"Which wins, {EVIL}?", arms=("optimizer.name",))
    return results_of(jaxgen.grid(Config(), AXES), question)


def apart(better: str, worse: str) -> Comparison:
    """Two arms without a seed in common."""
    return Comparison(better, worse, math.nan, math.nan, math.nan, math.nan, math.nan, 0, False)


def verdict() -> Verdict:
    """One arm that is resolved, one that leads the winner where they meet, one that never meets it."""
    resolved = Comparison("adam", EVIL, 0.05, 0.01, 0.09, 1.5, 0.01, 5, True)
    turned = Comparison("sgd_$x$", "adam", 0.02, -0.1, 0.14, 0.2, 0.6, 5, False)
    tried = tuple(Tried(k, 2.2 + 0.3 / k, 2.2, 2.9 - 0.1 * k) for k in range(1, 7))
    lost = (Tried(1, math.inf, 2.3, math.inf), Tried(2, 2.4, 2.3, math.inf))
    sentences = (f"adam beats {EVIL} by 0.05 nats", "a $x_1$ too")
    return Verdict(sentences, (resolved, turned, apart("adam", "c")), {"adam": tried, EVIL: lost})


def trained(characters: str, width: int = 5) -> Trained:
    """A trial that has nothing but embeddings: (V, width) normal numbers."""
    table = np.random.default_rng(0).normal(size=(len(characters) + 1, width)).astype(np.float32)
    return Trained(0, Config(), Names(None, None, Vocabulary(characters), 5), {"embedding": {"embedding": table}}, {})


def evil_corpus(folder: Path) -> Corpus:
    """A corpus of names that mean harm, and enough others to split."""
    path = folder / "names.txt"
    path.write_text("\n".join([*NAMES, *(f"name{i}" for i in range(20))]) + "\n", encoding="utf-8")
    return load_corpus(path)


def facts_of(found: Found, corpus: Corpus) -> dict[str, Any]:
    """The run's `config.json`."""
    flags = ["--data", f"a b/{EVIL}", "--grid", "optimizer.name=sgd,adam"]
    facts = describe(found.results.sweep, Names(corpus), 1, found.results.question, flags)
    return facts | {"plan": [{"lanes": {"devices": 2, "width": 64, "chunk": 4}, "measured": []}]}
