"""What a command line is taken for: flags that were meant, values in their own spelling, and the pages of help."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxgen.commands import sample, sweep, train
from jaxgen.commands.__main__ import COMMANDS
from jaxgen.commands.cli import flags_of, parse
from jaxgen.commands.flags import flags, is_flag, spelled
from jaxgen.commands.pages import FIRST, notes, page
from jaxgen.fields import UserError, fields, flatten, keys
from jaxgen.tasks import TASKS, find
from jaxgen.tasks.names.config import Config

KINDS = {name: importlib.import_module(f"jaxgen.commands.{name}").Flags for name in COMMANDS}


MEANT = [
    ("train --lr 0.01", "there is no flag '--lr'; did you mean --optimizer.learning_rate?"),
    ("train --lr=0.01", "there is no flag '--lr'; did you mean --optimizer.learning_rate?"),
    ("train --optimizer.lr 0.01", "did you mean --optimizer.learning_rate?"),
    ("train --optimizer Adam", "there is no flag '--optimizer'; did you mean --optimizer.name?"),
    ("train --model gru", "did you mean --model.family?"),
    ("train --Optimizer.Name adam", "did you mean --optimizer.name?"),
    ("train --OUT x", "did you mean --out?"),
    ("train -out x", "did you mean --out?"),
    ("train \u2014lr 3", "did you mean --optimizer.learning_rate?"),  # a dash from a web page
    ("train --steps 100", "did you mean --train.steps?"),
    ("train --batch-size 100", "did you mean --train.batch_size?"),
    ("train --optimizer.lerning_rate 1", "did you mean --optimizer.learning_rate?"),
    ("train --resum", "did you mean --resume?"),
    ("sample r --max-lenght 4", "did you mean --max-length?"),
    ("train --trials=4", "there is no flag '--trials'"),
    ("train --xyz", "train --help shows what people use, --help-all all there is"),
    ("train --[red]x\x1b[2J", r"there is no flag '--[red]x\x1b[2J'"),
    ("train --train.steps 1e4x", "--train.steps is '1e4x', expected a whole number"),
    ("train --optimizer.learning_rate fast", "--optimizer.learning_rate is 'fast', expected a number"),
    ("train --model.activation swish", "--model.activation is 'swish', expected one of tanh, relu"),
    ("train --data.path", "--data.path has no value; expected --data.path FILE"),
    ("train --out --resume", "--out has no value; expected --out OUT"),
    ("train --resume=yes", "--resume takes no value, and 'yes' is given"),
    ("train --model.residual=yes", "--model.residual takes no value"),
    ("train foo", "'foo' stands by itself; expected"),
    ("train train.steps=100", "'train.steps=100' stands by itself; did you mean --train.steps 100?"),
    ("sample", "RUN is missing; expected python -m experiments.sample RUN, for instance"),
    ("export run", "OUT is missing; expected python -m experiments.export RUN OUT"),
    ("sweep --grid optimizer.name=sgd adam", "join values by commas without spaces: --grid optimizer.name=sgd,adam"),
    ("sweep --grid optimizer.learning_rate=0.1, 0.2", "without spaces: --grid optimizer.learning_rate=0.1,0.2"),
    ("sweep --grid model.hidden=50 100", "'100' stands apart from --grid model.hidden=50"),
    ("sweep --grid model.family gru,lstm", "--grid is 'model.family', expected KEY=A,B,..., in one word"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "says"), MEANT, ids=[line for line, _ in MEANT])
def test_a_wrong_flag_is_answered_with_what_was_meant(line: str, says: str) -> None:
    prog, *args = line.split(" ")
    with pytest.raises(UserError) as error:
        parse(KINDS[prog], prog, args)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


UNDERSTOOD: list[tuple[str, dict[str, Any]]] = [
    ("--train.steps 1e4 --seed 1e1", {"train.steps": 10_000, "seed": 10}),
    ("--optimizer.name Adam --model.family LSTM", {"optimizer.name": "adam", "model.family": "lstm"}),
    ("--optimizer.name optax.lion", {"optimizer.name": "optax.lion"}),
    ("--optimizer.learning_rate -0.1", {"optimizer.learning_rate": -0.1}),  # is refused where values are checked
    ("--optimizer.learning_rate None", {"optimizer.learning_rate": None}),
    ("--optimizer.learning_rate 0.1234567890123", {"optimizer.learning_rate": 0.1234567890123}),
    ("--train.batch-size 8 --train.eval_every=5", {"train.batch_size": 8, "train.eval_every": 5}),
    ("--model.residual --train.diagnostics", {"model.residual": True, "train.diagnostics": True}),
    ("--model.residual True --train.diagnostics false", {"model.residual": True}),
    ("--model.residual --model.no_residual", {}),
    ("--data.column a=b", {"data.column": "a=b"}),
]


@pytest.mark.parametrize(("line", "changed"), UNDERSTOOD, ids=[line for line, _ in UNDERSTOOD])
def test_values_are_read_in_any_spelling(line: str, changed: dict[str, Any]) -> None:
    found = parse(train.Flags, "train", line.split()).config
    assert found == type(found)(**{part.name: getattr(found, part.name) for part in fields(Config)})
    assert flatten(found) == flatten(Config()) | changed


def test_words_stand_before_between_and_behind_flags() -> None:
    for line in ("l2 --seeds 2 --resume", "--seeds 2 l2 --resume", "--resume --seeds=2 l2", "--grid model.hidden=5,6 l2"):
        assert parse(sweep.Flags, "sweep", line.split()).ablation == "l2"
    found = parse(
        sweep.Flags, "sweep", ["--grid", "a=1,2", "--grid=b=3", "--random", "c=1:2", "--no-cache", "--precision", "High"]
    )
    assert (found.grid, found.random, found.no_cache, found.precision) == (("a=1,2", "b=3"), ("c=1:2",), True, "high")


def test_short_and_hyphened_flags() -> None:
    found = parse(sample.Flags, "sample", ["run", "-n", "5", "--top-k", "3", "--top_p", "0.5", "--max-length=9"])
    assert (found.run, found.count, found.top_k, found.top_p, found.max_length) == ("run", 5, 3, 0.5, 9)


@given(
    st.lists(st.text(max_size=8) | st.sampled_from(["--lr", "--grid", "a=1", "--seed", "7", "-1", "--model.residual", "--"]))
)
def test_any_command_line_is_read_or_refused(args: list[str]) -> None:
    if {*args} & {"-h", "--help", "--help-all", "--help_all"}:
        return
    for prog in ("sweep", "sample"):
        try:
            parse(KINDS[prog], prog, args)
        except UserError:
            continue


@pytest.mark.parametrize(
    ("text", "is_one"), [("-1", False), ("-1e-3", False), ("-inf", False), ("-", False), ("--x", True), ("-n", True)]
)
def test_what_is_a_flag(text: str, is_one: bool) -> None:
    assert is_flag(text) is is_one


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("prog", ["sweep", "train"])
def test_every_flag_is_understood_in_another_case(prog: str, task: str) -> None:
    """Whatever is registered: each flag in capitals is answered with itself, and each without a value, too."""
    kind = flags_of(KINDS[prog], find(task))
    for flag in flags(kind):
        if flag.word:
            continue
        with pytest.raises(UserError, match=re.escape(f"did you mean {flag.typed}?")):
            spelled([f"--{flag.name.upper()}"], kind, prog)
        if not flag.switch:
            with pytest.raises(UserError, match=re.escape(f"{flag.typed} has no value; expected {flag.typed} {flag.metavar}")):
                spelled([f"--{flag.name}"], kind, prog)


@pytest.mark.parametrize("prog", KINDS)
def test_the_pages_show_what_there_is(prog: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first what people use, on a screen or two; the other everything. No line breaks of the source, no types of Python."""
    monkeypatch.setenv("COLUMNS", "80")
    every = flags(KINDS[prog])
    first, whole = (page(KINDS[prog], prog, whole=which) for which in (False, True))
    for shown, some in ((first, FIRST.get(prog)), (whole, None)):
        for flag in every:
            here = some is None or flag.name in some
            name = rf"\[?{flag.metavar}\]?" if flag.word else rf"(-\w \w+, )?{flag.typed}"
            assert bool(re.search(rf"^  {name}( |$)", shown, re.MULTILINE)) is here, flag.name
        assert not re.search(r"STR|INT|FLOAT|\{None\}|default: None|None:", shown)
        assert max(map(len, shown.splitlines()[1:])) <= 80
        assert not [line for line in shown.splitlines() if line != line.rstrip()]
    if prog in FIRST:
        assert set(FIRST[prog]) <= {flag.name for flag in every}
        assert f"{prog} --help-all shows all {len(every)} flags" in " ".join(first.split())
        assert len(first.splitlines()) < 60
    if prog == "train":
        assert "so that none is in two parts; order: cut the names as they stand" in " ".join(whole.split())


def test_every_flag_and_key_is_explained() -> None:
    for kind in KINDS.values():
        own = {flag.field.name for flag in flags(kind) if flag.name not in keys(Config)}
        assert notes(kind).keys() >= own
    for task in TASKS:
        for part in fields(find(task).Config):
            assert not part.section or notes(part.kinds[0]).keys() >= keys(part.kinds[0]).keys()
