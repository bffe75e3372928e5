"""Tables and rows by the C++ library are those of the plain path."""

from __future__ import annotations

import csv
import io
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt1.data import packing, rows
from gpt1.data.packing import TokenTexts, pack
from gpt1.data.sources import TextSource
from gpt1.errors import DataError
from gpt1.native.library import library

pytestmark = pytest.mark.skipif(library() is None, reason="the C++ library was not built")

CELL = st.text(st.sampled_from('ab"\n\r,\t é\u2028\ufeff'), max_size=8)
QUOTING = (csv.QUOTE_ALL, csv.QUOTE_MINIMAL)
TABLES = st.lists(st.lists(CELL, min_size=1, max_size=3), max_size=12)
PROPERTY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def assert_same(file: Path, column: str | None = None) -> None:
    """Iteration is as `named` says, up to the same error."""
    fast, plain = TextSource(file, column), TextSource(file, column)
    texts, error = read(iter(fast))
    assert (texts, error) == read(text for _, text in plain.named())
    if error is None:
        assert fast.dropped == plain.dropped


def read(texts: object) -> tuple[list[str], str | None]:
    found: list[str] = []
    try:
        found.extend(texts)  # type: ignore[arg-type]
    except DataError as error:
        return found, str(error)
    return found, None


@PROPERTY
@given(
    table=TABLES,
    quoting=st.sampled_from(QUOTING),
    size=st.integers(1, 40),
)
def test_any_table_that_was_written_is_read_as_by_the_plain_path(
    tmp_path: Path, table: list[list[str]], quoting: int, size: int
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting).writerows([["id", "text", "more"], *table])
    file = tmp_path / "table.csv"
    file.write_text(text.getvalue(), encoding="utf-8", newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_BATCH_BYTES", size)
        assert_same(file)


@PROPERTY
@given(
    body=st.text(st.sampled_from('ab"\n\r,x\x00'), max_size=60),
    header=st.sampled_from(["text", "a,text", '"text"', "text,b\r", "text,text", "\ufefftext"]),
    size=st.integers(1, 30),
)
def test_any_characters_are_read_as_by_the_plain_path(
    tmp_path: Path, header: str, body: str, size: int
) -> None:
    file = tmp_path / "table.csv"
    file.write_text(f"{header}\n{body}", encoding="utf-8", newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_BATCH_BYTES", size)
        assert_same(file)


@pytest.mark.parametrize(
    "data",
    [
        b"text\none\n\xff\ntwo\n",
        b"text\na,b\nc\n",
        b'text\na\n"b"c\nd\n',
        b'text\na\n"b\nc\n',
        b"",
        b"\n\ntext\na\n",
        b"id\n1\n2\n",
        b"text,id\n" + b"a,1\n" * 300 + b"b,2,3\nc,4\n",
        b"text\n" + b"a\n" * 300 + b"b\xffc\n",
        b"text\r\na\r\n\r\n\r\n  \r\nb",
        b"\xef\xbb\xbftext\na\n",
    ],
)
def test_wrong_rows_are_told_as_by_the_plain_path(tmp_path: Path, data: bytes) -> None:
    for name in ("table.csv", "table.tsv"):
        file = tmp_path / name
        file.write_bytes(data)
        assert_same(file)


JSON_LINES = st.lists(
    st.one_of(
        st.builds(lambda text: json.dumps({"text": text, "b": 1}), CELL),
        st.sampled_from(['{"text": null}', "", " ", "[1]", "{", '{"a": 1}', '{"text": "x"} ']),
        st.sampled_from(['{"text": "x"}, {"text": "y"}', ' {"text": "\\ud83d\\ude00"}', "NaN"]),
    ),
    max_size=12,
)


@PROPERTY
@given(lines=JSON_LINES, end=st.sampled_from(["\n", "\r\n"]), size=st.integers(1, 60))
def test_any_json_lines_are_read_as_by_the_plain_path(
    tmp_path: Path, lines: list[str], end: str, size: int
) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text(end.join(lines), encoding="utf-8", newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_BATCH_BYTES", size)
        assert_same(file, "text")


def test_shared_jokes_are_read_as_by_the_plain_path(shared_data: Path) -> None:
    source = TextSource(shared_data / "jokes" / "valid.csv.gz")
    assert list(source) == [text for _, text in source.named()]


def test_a_row_longer_than_what_is_read_at_once_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    long = "ab\n" * rows._BATCH_BYTES
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["text"], ["short"], [long], ["last"]])
    assert list(TextSource(file)) == ["short", long, "last"]


def test_texts_are_read_as_they_are_needed(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("text\n" + "abc\n" * 10_000 + '"wrong"row\n', encoding="utf-8")
    assert list(islice(TextSource(file), 3)) == ["abc"] * 3


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=40).filter(any),
    seq_len=st.integers(1, 30),
    seed=st.integers(0, 3),
)
@settings(deadline=None)
def test_rows_are_packed_as_by_the_plain_path(lengths: list[int], seq_len: int, seed: int) -> None:
    texts = TokenTexts(np.arange(sum(lengths), dtype=np.int32), np.array(lengths, np.int64))
    fast = pack(texts, seq_len, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "place", lambda *_: None)
        patch.setattr(packing, "fill", lambda *_: None)
        plain = pack(texts, seq_len, seed=seed)
    for name in ("input_ids", "segment_ids", "labels"):
        array, other = getattr(fast, name), getattr(plain, name)
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other)


def test_without_the_library_tables_are_read_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt1.native.rows.library", lambda: None)
    file = tmp_path / "table.csv"
    file.write_text("text\none\n\ntwo\n", encoding="utf-8")
    assert list(TextSource(file)) == ["one", "two"]
    assert len(pack([[1, 2], [3]], 2)) == 2
