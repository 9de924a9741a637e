from __future__ import annotations

import gzip
import hashlib
import random
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from jaxgen.fields import UserError
from jaxgen.tasks.names.data import Corpus, Vocabulary, cut, hold_out, load_corpus, split, windows

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12), min_size=1, max_size=30)


def corpus_of(names: list[str]) -> Corpus:
    return Corpus(tuple(names), "test", None, "0")


@given(NAMES, st.integers(1, 15))
def test_windows_are_those_of_a_plain_loop(names: list[str], context: int) -> None:
    vocabulary = corpus_of(names).vocabulary
    ids, targets = [], []
    for name in names:
        window = [0] * context
        for i in [*vocabulary.encode(name), 0]:
            ids.append(window)
            targets.append(i)
            window = [*window[1:], i]
    found = windows(tuple(names), vocabulary, context)
    np.testing.assert_array_equal(found.ids, np.array(ids))
    np.testing.assert_array_equal(found.targets, np.array(targets))
    assert found.ids.dtype == found.targets.dtype == np.int32
    assert len(found.targets) == corpus_of(names).windows


@given(NAMES)
def test_vocabulary_round_trip(names: list[str]) -> None:
    vocabulary = corpus_of(names).vocabulary
    assert len(vocabulary) == len(set("".join(names))) + 1
    for name in names:
        ids = vocabulary.encode(name)
        assert 0 not in ids
        assert vocabulary.decode([*ids, 0, 5]) == name


@given(st.lists(st.sampled_from("abcdefghijklmnop"), min_size=10, max_size=60), st.integers(0, 5))
def test_rows_split_is_a_shuffle_cut_80_10_10(names: list[str], seed: int) -> None:
    parts = cut(corpus_of(names), "rows", seed)
    shuffled = list(names)
    random.Random(seed).shuffle(shuffled)
    assert [x for part in parts for x in part] == shuffled
    assert [len(part) for part in parts[:2]] == [int(0.8 * len(names)), int(0.9 * len(names)) - int(0.8 * len(names))]


@given(st.lists(st.sampled_from("abcdefghijklmnop"), min_size=60, max_size=200), st.integers(0, 5))
def test_names_split_has_no_name_in_two_parts(names: list[str], seed: int) -> None:
    if len(set(names)) < 10:
        return
    parts = cut(corpus_of(names), "names", seed)
    assert Counter(x for part in parts for x in part) == Counter(set(names))
    assert [len(part) for part in parts[:2]] == [
        int(0.8 * len(set(names))),
        int(0.9 * len(set(names))) - int(0.8 * len(set(names))),
    ]


def test_names_split_is_rows_split_where_no_name_repeats(corpus: Corpus) -> None:
    assert cut(corpus, "names", 42) == cut(corpus, "rows", 42)


@given(st.lists(st.sampled_from("abcdefghijklmnop"), min_size=10, max_size=60), st.integers(0, 5))
def test_order_split_cuts_the_file_as_it_stands(names: list[str], seed: int) -> None:
    parts, first, second = cut(corpus_of(names), "order", seed), int(0.8 * len(names)), int(0.9 * len(names))
    wanted = (names[:first], names[first:second], names[second:])
    assert [sorted(part) for part in parts] == [sorted(part) for part in wanted]


@given(st.lists(st.text("ab", min_size=1, max_size=3), max_size=30), st.integers(0, 90))
def test_what_is_held_out_is_not_trained_on(names: list[str], percent: int) -> None:
    train, held = hold_out(tuple(names), percent)
    assert (*train, *held) == tuple(names)
    assert len(held) == len(names) * percent // 100


def test_split_has_the_windows_of_its_names(corpus: Corpus) -> None:
    parts = split(corpus, "rows", 42, 5)
    for part, names in zip(parts, cut(corpus, "rows", 42), strict=True):
        assert part.ids.shape == (sum(map(len, names)) + len(names), 5)


@pytest.mark.parametrize("how", ["rows", "names"])
@pytest.mark.parametrize("names", [["a"] * 5, ["a", "b"]])
def test_too_small_to_split(names: list[str], how: str) -> None:
    with pytest.raises(UserError, match="too few to cut"):
        cut(corpus_of(names), how, 0)


def test_one_repeated_name() -> None:
    repeated = corpus_of(["anna"] * 50)
    assert [len(part) for part in cut(repeated, "rows", 0)] == [40, 5, 5]
    with pytest.raises(UserError, match="1 different names"):
        cut(repeated, "names", 0)


def test_unknown_character_is_named() -> None:
    with pytest.raises(UserError, match="'x'"):
        Vocabulary("ab").encode("axb")


@pytest.mark.parametrize(
    ("file", "content", "column", "names"),
    [
        ("a.txt", b"anna\nbob\n", None, ("anna", "bob")),
        ("a.txt", b"\xef\xbb\xbfanna\r\n\r\n  bob \r\n", None, ("anna", "bob")),
        ("a.txt", "अ\u2028ब\n\x00z".encode(), None, ("अ\u2028ब", "\x00z")),
        ("a.csv", b'name,x\n"sm, ith",1\nna,2\n"a  @ b.",3\nshort\n', "name", ("sm, ith", "na", "a  @ b.", "short")),
        ("a.csv", b"name\nanna\n", None, ("anna",)),
        ("a.tsv", b"x,name\n1,anna\n2\n", "name", ("anna",)),
        ("a.tsv", b"x\tname\n1\tan,na\n2\tb;c\n", "name", ("an,na", "b;c")),
        ("a.tsv", b"name\nanna\n", None, ("anna",)),
        ("a.csv", b"id;name\n1;an,na\n2;bob\n", "name", ("an,na", "bob")),
        ("a.csv", b"id\tname\n1\tanna\n", "name", ("anna",)),
        ("a.csv", b"a;b,name\n1,anna\n", "name", ("anna",)),  # where commas find the column, they stand between
        ("a.csv", b'"a,b";name\n1;anna\n', "name", ("anna",)),
        ("a.txt", b"id;name\n1;anna\n", "name", ("anna",)),
        ("a.txt", b"name\nanna\n", "name", ("anna",)),
        ("a.csv", b"id,name\n1,anna\n", "2", ("anna",)),
        ("a.csv", b"james,0\nanna,1\n", "1", ("james", "anna")),  # no heads: one of them is a number
        ("a.csv", b"x,1\nanna,bob\n", "1", ("bob",)),  # a head that is a number is the column's name
        ("a.csv.gz", gzip.compress(b"id;name\n1;anna\n", mtime=0), "2", ("anna",)),
    ],
)
def test_reading(tmp_path: Path, file: str, content: bytes, column: str | None, names: tuple[str, ...]) -> None:
    (tmp_path / file).write_bytes(content)
    loaded = load_corpus(tmp_path / file, column)
    assert loaded.names == names
    assert loaded.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("file", "content", "column", "says"),
    [
        ("a.txt", None, None, "cannot read"),
        ("a.txt", b"", None, "no names"),
        ("a.txt", b"\n \n", None, "no names"),
        ("a.txt", b"anna\nb\xffb\n", None, "not UTF-8: byte 0xff in line 2"),
        ("a.csv", b"name,sex\nanna,f\n", None, r"one of name, sex \(or its number, 1 to 2\)"),
        ("a.csv", b"name;sex\nanna;f\n", None, "a column is wanted; give --column, one of name, sex"),
        ("a.csv", b"name,sex\nanna,f\n", "3", "no column '3'"),
        ("a.csv", b"name,sex\nanna,f\n", "0", "no column '0'"),
        ("a.csv", b"name,sex\nanna,f\n", "9" * 5000, "no column '9999"),
        ("a.csv", b"name,sex\nanna,f\n", "\u00b2", "no column"),
        ("a.txt", b"james\nanna\n", "name", "is a text file, a name a line, which has no column 'name'; leave --column out"),
        ("a.csv", b"name,sex\nanna,f\n", "nam", "no column 'nam'"),
        ("a.csv", b'name\n"anna\n', "name", "not a CSV file"),
        ("a.csv", b'name\n"an\nna"\n', "name", "line break"),
        ("a.csv", b"", "name", "empty"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, file: str, content: bytes | None, column: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=says):
        load_corpus(tmp_path / file, column)


@pytest.mark.parametrize("address", ["https://example.com/names.txt", "s3://b/c", "FILE:///etc/passwd"])
def test_an_address_is_not_read(address: str) -> None:
    with pytest.raises(UserError, match=f"^'{address}' is an address, and those are not read"):
        load_corpus(address)


@pytest.mark.parametrize(("file", "names", "count"), [("names.txt", 20_000, 149_564), ("first_names.txt", 5_163, 36_122)])
def test_bundled_corpora(file: str, names: int, count: int) -> None:
    loaded = load_corpus(ROOT / "data" / file)
    assert len(loaded.names) == len(set(loaded.names)) == names
    assert loaded.windows == count
    assert loaded.vocabulary.characters == "abcdefghijklmnopqrstuvwxyz"
    readme = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    assert loaded.sha256 in readme


@pytest.mark.parametrize(("name", "file"), [("names", "names.txt"), ("first_names", "first_names.txt")])
def test_bundled_corpora_by_name(name: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From anywhere; a file of that name comes first."""
    monkeypatch.chdir(tmp_path)
    for path in (name, f"data/{file}"):
        assert load_corpus(path).names == load_corpus(ROOT / "data" / file).names
    (tmp_path / name).write_text("anna\n")
    assert load_corpus(name).names == ("anna",)
    with pytest.raises(UserError, match="'nams'"):
        load_corpus("nams")


CSV_ISH = st.text(st.sampled_from("aé\"',;\n\r\t\0 \ufeff\u200f|name"), max_size=60).map(str.encode)


@given(
    st.binary(max_size=60) | CSV_ISH,
    st.sampled_from(["names.txt", "names.csv", "names.tsv"]),
    st.sampled_from([None, "name", "", "1", "2"]),
)
def test_any_bytes_are_a_corpus_or_refused(content: bytes, name: str, column: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            corpus = load_corpus(path, column)
        except UserError:
            return
    assert corpus.names
    assert all(name and name == name.strip() and "\n" not in name for name in corpus.names)
    assert all(corpus.vocabulary.decode(corpus.vocabulary.encode(name)) == name for name in corpus.names)
