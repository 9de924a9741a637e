"""What a run that was stopped holds of trials that have not ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import same_bits

import jaxgen
from jaxgen import runs
from jaxgen.fields import UserError, override
from jaxgen.runs import Interrupted
from jaxgen.tasks.names.config import Config
from jaxgen.tasks.names.data import Corpus

pytestmark = pytest.mark.usefixtures("compiled_quickly")

COUNTED = {"model.family": "gru", "model.context": 4, "model.counts": 2}


@pytest.mark.parametrize("changes", [{}, pytest.param(COUNTED, marks=pytest.mark.long)])
def test_a_trial_that_has_not_ended_is_as_at_its_best_so_far(
    changes: dict[str, Any], small: Config, corpus: Corpus, tmp_path: Path
) -> None:
    """The one that counts stops there by itself: a budget of the steps that the other has done."""
    base = override(small, changes)
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        runs.run(jaxgen.seeds(base, 2), corpus, out, stop=lambda: True, width=2, chunk=1)
    ended = runs.run(jaxgen.seeds(override(base, {"train.steps": 20}), 2), corpus, width=2, chunk=1)
    for trial in range(2):
        found, wanted = jaxgen.load(out, trial), ended.trained(trial)
        assert found.unfinished == 20
        assert same_bits((found.params, found.stats), (wanted.params, wanted.stats))
    assert jaxgen.load(out).trial == ended.best().trial
    assert jaxgen.sample(jaxgen.load(out), 5) == jaxgen.sample(ended.best(), 5)
    done = runs.run(jaxgen.seeds(base, 2), corpus, out, resume=True, width=2, chunk=1)
    assert jaxgen.load(out).unfinished is None
    assert jaxgen.load(out).trial == done.best().trial


def test_damaged_lanes_are_refused(small: Config, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        runs.run(small, corpus, tmp_path, stop=lambda: True, width=2, chunk=1)
    (lanes,) = (tmp_path / "checkpoints").glob("lanes-*")
    for path in (path for path in lanes.rglob("*") if path.is_file()):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"damaged.*--resume"):
        jaxgen.load(tmp_path, 0)
