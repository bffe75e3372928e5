"""Tables as data sets come."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt1.data.rows import BadRow
from gpt1.errors import MissingExtraError
from gpt1.tasks.example import text
from gpt1.tasks.tables import table_rows
from gpt1.tasks.task import Task, get_task

PLAIN = Task(name="plain", transform=lambda row: text(row["a"]))
QUOTED = Task(name="quoted", transform=lambda row: text(row["a"]), tsv_quotes=True)
ONE_FOLDER = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

characters = st.characters(codec="utf-8", exclude_characters="\t\n\r")
plain_fields = st.text(characters | st.sampled_from('"" \\,'), max_size=8)
any_fields = st.text(st.characters(codec="utf-8") | st.sampled_from('""\t\n\r ,'), max_size=8)


def row(*fields: str) -> dict[str, str]:
    return dict(zip("ab", fields, strict=True))


@ONE_FOLDER
@given(rows=st.lists(st.tuples(plain_fields, plain_fields)), end=st.sampled_from(["\n", "\r\n"]))
def test_stray_quotes_are_text(tmp_path: Path, rows: list[tuple[str, str]], end: str) -> None:
    file = tmp_path / "a.tsv"
    lines = ["a\tb", *map("\t".join, rows)]
    file.write_bytes(end.join([*lines, ""]).encode())
    expected = [(f"line {n}", row(*fields)) for n, fields in enumerate(rows, start=2)]
    assert list(table_rows(PLAIN, file)) == expected


@ONE_FOLDER
@given(rows=st.lists(st.tuples(any_fields, any_fields)))
def test_what_a_csv_writer_quoted_is_read_as_it_was(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    file = tmp_path / "a.tsv"
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter="\t").writerows([("a", "b"), *rows])
    file.write_bytes(stream.getvalue().encode())
    assert [found for _, found in table_rows(QUOTED, file)] == [row(*fields) for fields in rows]


@pytest.mark.parametrize("field", ['"Hello" he said', 'he said "no"', '"open', '5" wide', '"a""'])
def test_quotes_no_writer_would_set_make_all_of_them_text(tmp_path: Path, field: str) -> None:
    file = tmp_path / "a.tsv"
    file.write_text(f'a\tb\n"whole"\t1\n{field}\t2\n')
    found = [found for _, found in table_rows(QUOTED, file)]
    assert found == [row('"whole"', "1"), row(field, "2")]


def test_the_header_is_told_by_a_known_name(tmp_path: Path) -> None:
    file, cola = tmp_path / "a.tsv", get_task("cola")
    file.write_text("Sentence\n")
    assert list(table_rows(cola, file)) == []
    file.write_text("gj04\t1\t\tIt rains.\n")
    [(place, found)] = table_rows(cola, file)
    assert found == {"source": "gj04", "label": "1", "mark": "", "sentence": "It rains."}
    assert place == "line 1"


def test_a_row_of_another_length_is_bad(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_text("a\tb\n1\n\n1\t2\t3\n1\t2\n")
    assert list(table_rows(PLAIN, file)) == [
        ("line 2", BadRow("1 field where 2 are expected")),
        ("line 4", BadRow("3 fields where 2 are expected")),
        ("line 5", row("1", "2")),
    ]


def test_a_lone_carriage_return_ends_no_row(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_bytes(b"a\tb\r\none\rtwo\t3\r\n")
    assert list(table_rows(PLAIN, file)) == [("line 2", row("one\rtwo", "3"))]


def test_a_txt_file_may_be_json_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.txt.gz"
    file.write_bytes(gzip.compress(b'{"a": "1", "b": "2"}\n[]\n'))
    assert list(table_rows(PLAIN, file)) == [
        ("line 1", row("1", "2")),
        ("line 2", BadRow("a list, not an object")),
    ]


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", 'a,b\n"1",2\n'), ("a.jsonl", '\n{"a": "1", "b": "2"}\n')]
)
def test_other_tables_are_read_by_their_kind(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert list(table_rows(PLAIN, tmp_path / name)) == [("line 2", row("1", "2"))]


def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": ["x", None], "b": [1, 2]}), file)
    assert list(table_rows(PLAIN, file)) == [
        ("row 1", {"a": "x", "b": 1}),
        ("row 2", {"a": None, "b": 2}),
    ]


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    problem = r'reading a\.parquet needs pyarrow: pip install "gpt1\[data\]"'
    with pytest.raises(MissingExtraError, match=problem):
        list(table_rows(PLAIN, tmp_path / "a.parquet"))
