"""jaxgen trains many small networks side by side in one compiled JAX program and generates from the winner.

Reading order: `config` (what defines a trial), `corpus` (file -> windows), `models`, `optimizers` and `objective` (what is
trained, how, towards what), `trial` (one trial as three pure functions), `diagnostics` (its layers from inside), `sweep`
(many trials), `plan`, `programs` and `engine` (how lanes lie, what they compute, how they are refilled), `timing` (what a
plan takes), `files`, `results`, `statistics` and `verdict` (which arm wins), `ensemble` and `answers` (what else a question
may ask), `checkpoint`, `cache` (what outlives a process), `facts`, `lock`, `logs` and `folder` (a run's files), `generate` (new
names), `quality` (what they are like), `ngram` and `counts` (counting in place of training), `material` (what each group
reads), `portable` (a trial on its own), `runs` (a sweep on disk), `scores` (how likely names are), `standing` (what losses are
worth beside counting).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxgen.answers import answer as answer
    from jaxgen.config import Config as Config
    from jaxgen.config import UserError as UserError
    from jaxgen.config import override as override
    from jaxgen.corpus import Corpus as Corpus
    from jaxgen.corpus import load_corpus as load_corpus
    from jaxgen.generate import sample as sample
    from jaxgen.optimizers import lower as lower
    from jaxgen.portable import export as export
    from jaxgen.results import Results as Results
    from jaxgen.runs import load as load
    from jaxgen.runs import load_results as load_results
    from jaxgen.runs import run as run
    from jaxgen.scores import score as score
    from jaxgen.sweep import Question as Question
    from jaxgen.sweep import Sweep as Sweep
    from jaxgen.sweep import Uniform as Uniform
    from jaxgen.sweep import grid as grid
    from jaxgen.sweep import random as random
    from jaxgen.sweep import seeds as seeds
    from jaxgen.sweep import zipped as zipped
    from jaxgen.verdict import Verdict as Verdict

# Names are looked up when they are used, so that reading a command's flags does not import JAX.
_PUBLIC = {
    "Config": "config",
    "UserError": "config",
    "override": "config",
    "Corpus": "corpus",
    "load_corpus": "corpus",
    "lower": "optimizers",
    "Question": "sweep",
    "Sweep": "sweep",
    "Uniform": "sweep",
    "grid": "sweep",
    "random": "sweep",
    "seeds": "sweep",
    "zipped": "sweep",
    "run": "runs",
    "load": "runs",
    "load_results": "runs",
    "Results": "results",
    "Verdict": "verdict",
    "answer": "answers",
    "sample": "generate",
    "score": "scores",
    "export": "portable",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'jaxgen' has no attribute {name!r}; it has {', '.join(_PUBLIC)}")
    return getattr(importlib.import_module(f"jaxgen.{_PUBLIC[name]}"), name)
