"""jaxgen trains many small networks side by side in one compiled JAX program, says which choice won, and generates or predicts.

Reading order, room by room; each imports only from those before it:

`near`: what a mistyped name was meant for; `fields`: what is known of a config's field stands in its type; `given`: files that
  a user gives, looked at before they are read; `config`: the sections that every task has
`nn`: pieces of networks that take leaves
`train`: one trial as pure functions: `functions` (what it knows of its task), `optimizers`, `objective` (penalties and
  constraints), `order` (rows by epochs), `trial`, `diagnostics`
`tasks.base`: the seam, what a task is to a run; `tasks.rows` and `tasks.metric` (what it is on and told apart by); `tasks`: the
  registry
`search`: where trials come from: `sweep`
`engine`: `plan` (how lanes lie), `programs` (what they compute), `lanes` (how they are refilled), `timing`, `probe` (a look at
  a task before it is trained)
`judge`: `shown` (what a notebook shows), `results`, `naming` (what arms are called), `statistics`, `chance`, `cautions`,
  `verdict`, `answers`, `floors`
`job`: a sweep read and dealt into groups
`storage`: `files`, `lock`, `logs`, `rows`, `ended`, `manifest`, `arrays`, `checkpoint`, `facts`, `claim`, `folder`, `memory`,
  `card`, `portable`, `cache`
`runs`: a sweep from its first trial to its last, in memory or in a folder; `reopen`: what a folder holds
`report`: what people see of any run; `loggers`: what other programs are told of it
`machines`: parts of a run that several machines train: `parts`, `merging`, `view`, `head`, `by_ray`
`tasks.front`, with `modules`, `measures` and `inputs`: any network in a call; `testing`: whether a task keeps its promises
`tasks.names`, `tasks.points`, `tasks.digits`, `tasks.curve`: rooms, each with `data`, `model` (or `models`), `task` and `show`
`benchmark`: how fast this machine trains, beside what others would write by hand
`commands`: parse, call, print; one file a command
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxgen import nn as nn
    from jaxgen import testing as testing
    from jaxgen.fields import Leaf as Leaf
    from jaxgen.fields import Static as Static
    from jaxgen.fields import Strength as Strength
    from jaxgen.fields import UserError as UserError
    from jaxgen.fields import override as override
    from jaxgen.judge.answers import answer as answer
    from jaxgen.judge.results import Results as Results
    from jaxgen.judge.verdict import Verdict as Verdict
    from jaxgen.loggers.base import Logger as Logger
    from jaxgen.loggers.telling import log_to as log_to
    from jaxgen.reopen import load as load
    from jaxgen.reopen import load_results as load_results
    from jaxgen.reopen import predict as predict
    from jaxgen.reopen import sample as sample
    from jaxgen.report.notebook import plot as plot
    from jaxgen.report.notebook import write_report as write_report
    from jaxgen.search.sweep import Question as Question
    from jaxgen.search.sweep import Sweep as Sweep
    from jaxgen.search.sweep import Uniform as Uniform
    from jaxgen.search.sweep import grid as grid
    from jaxgen.search.sweep import random as random
    from jaxgen.search.sweep import seeds as seeds
    from jaxgen.search.sweep import zipped as zipped
    from jaxgen.storage.portable import export as export
    from jaxgen.tasks.base import Section as Section
    from jaxgen.tasks.base import Task as Task
    from jaxgen.tasks.front import supervised as supervised
    from jaxgen.tasks.metric import Metric as Metric
    from jaxgen.tasks.names.config import Config as Config
    from jaxgen.tasks.names.data import Corpus as Corpus
    from jaxgen.tasks.names.data import load_corpus as load_corpus
    from jaxgen.tasks.names.scores import score as score
    from jaxgen.tasks.rows import Splits as Splits
    from jaxgen.train import trial as trial
    from jaxgen.train.functions import Weighed as Weighed
    from jaxgen.train.optimizers import lower as lower
    from jaxgen.training import run as run

# Names are looked up when they are used, so that reading a command's flags does not import JAX.
_PUBLIC = {
    "Config": "tasks.names.config",
    "Corpus": "tasks.names.data",
    "Leaf": "fields",
    "Logger": "loggers.base",
    "Metric": "tasks.metric",
    "Question": "search.sweep",
    "Results": "judge.results",
    "Section": "tasks.base",
    "Splits": "tasks.rows",
    "Static": "fields",
    "Strength": "fields",
    "Sweep": "search.sweep",
    "Task": "tasks.base",
    "Uniform": "search.sweep",
    "UserError": "fields",
    "Verdict": "judge.verdict",
    "Weighed": "train.functions",
    "answer": "judge.answers",
    "export": "storage.portable",
    "grid": "search.sweep",
    "load": "reopen",
    "load_corpus": "tasks.names.data",
    "load_results": "reopen",
    "log_to": "loggers.telling",
    "lower": "train.optimizers",
    "override": "fields",
    "plot": "report.notebook",
    "predict": "reopen",
    "random": "search.sweep",
    "run": "training",
    "sample": "reopen",
    "score": "tasks.names.scores",
    "seeds": "search.sweep",
    "supervised": "tasks.front",
    "write_report": "report.notebook",
    "zipped": "search.sweep",
}
_MODULES = {"nn": "nn", "testing": "testing", "trial": "train.trial"}


def __dir__() -> list[str]:
    return sorted({*_PUBLIC, *_MODULES})


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("jaxgen")
    if name in _MODULES:
        return importlib.import_module(f"jaxgen.{_MODULES[name]}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'jaxgen' has no attribute {name!r}; it has {', '.join(_PUBLIC)}")
    return getattr(importlib.import_module(f"jaxgen.{_PUBLIC[name]}"), name)
