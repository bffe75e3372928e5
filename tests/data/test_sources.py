"""Texts from files: every format, the choice of the column, and what is said of broken files."""

from __future__ import annotations

import gzip
import json
import lzma
import re
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from gpt1.data.files import file_kind, open_text
from gpt1.data.rows import BadRow, good_rows, read_rows
from gpt1.data.sources import TextSource
from gpt1.errors import DataError, MissingExtraError

TEXTS = ["one, two", 'she said "no"', "two\nlines", "café “x”"]
CSV = 'id,Joke\n1,"one, two"\n2,"she said ""no"""\n3,"two\nlines"\n4,café “x”\n'
JSONL = "".join(json.dumps({"id": i, "Joke": text}) + "\n" for i, text in enumerate(TEXTS))
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def write(path: Path, content: str | bytes, suffix: str = "") -> Path:
    """A file of this content, compressed as ``suffix`` says."""
    path = path.with_name(path.name + suffix)
    path.write_bytes(PACKERS[suffix](content.encode() if isinstance(content, str) else content))
    return path


def failure(path: Path, column: str | None = None) -> str:
    """What reading the file is refused with."""
    with pytest.raises(DataError) as caught:
        list(TextSource(path, column))
    return str(caught.value)


# Formats


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", CSV),
        ("a.tsv", 'id\tJoke\n1\tone, two\n2\t"she said ""no"""\n3\t"two\nlines"\n4\tcafé “x”\n'),
        ("a.jsonl", JSONL),
        ("a.ndjson", JSONL),
    ],
)
def test_tables_give_the_texts_of_their_column(
    tmp_path: Path, name: str, content: str, suffix: str
) -> None:
    source = TextSource(write(tmp_path / name, content, suffix))
    assert list(source) == TEXTS
    assert list(source) == TEXTS, "a source can be read again"
    assert source.dropped == 0


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_txt_file_is_one_text_with_its_line_ends(tmp_path: Path, suffix: str) -> None:
    content = "A book.\r\n\r\nWith “lines”.\n"
    assert list(TextSource(write(tmp_path / "A.TXT", content, suffix))) == [content]


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    write(tmp_path / "b.txt", "second", ".gz")
    write(tmp_path / "c.jsonl", '{"text": "third"}\n{"text": "fourth"}\n')
    write(tmp_path / "a.csv", "text\nfirst\n")
    write(tmp_path / "notes.md", "not a source")
    (tmp_path / "d.txt").mkdir()
    assert list(TextSource(tmp_path)) == ["first", "second", "third", "fourth"]


def test_each_text_has_the_name_of_its_file_and_line(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", 'id,text\n1,one\n2,\n3,"two\nlines"\n')
    write(tmp_path / "b.jsonl", '\n{"text": "three"}\n')
    write(tmp_path / "c.txt", "four\nlines")
    source = TextSource(tmp_path)
    expected = [("a.csv:2", "one"), ("a.csv:5", "two\nlines"), ("b.jsonl:2", "three")]
    assert list(source.named()) == [*expected, ("c.txt", "four\nlines")]
    assert source.dropped == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "text\nhello\n"), ("a.jsonl", '{"text": "hello"}\n'), ("a.txt", "hello")],
)
@pytest.mark.parametrize("suffix", PACKERS)
def test_a_byte_order_mark_is_skipped(tmp_path: Path, name: str, content: str, suffix: str) -> None:
    path = write(tmp_path / name, b"\xef\xbb\xbf" + content.encode(), suffix)
    assert list(TextSource(path, None if name == "a.txt" else "text")) == ["hello"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.txt"])
def test_an_empty_file_has_no_text(tmp_path: Path, name: str) -> None:
    assert list(TextSource(write(tmp_path / name, ""))) == []


def test_a_table_with_a_header_alone_has_no_text(tmp_path: Path) -> None:
    assert list(TextSource(write(tmp_path / "a.csv", "id,text\n"))) == []


def test_rows_without_text_are_left_out_and_counted_anew_in_each_pass(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", 'id,text\n1,kept\n2,\n3,"  \n "\n4\n5,kept too\n')
    write(tmp_path / "b.jsonl", '{"text": "x"}\n\n{"text": null}\n{"other": 1}\n{"text": ""}\n')
    source = TextSource(tmp_path)
    for _ in range(2):
        assert list(source) == ["kept", "kept too", "x"]
        assert source.dropped == 6


def test_a_table_is_read_row_by_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text\n" + "hello\n" * 300 + "a,b\n")
    texts = iter(TextSource(path))
    assert list(islice(texts, 300)) == ["hello"] * 300
    with pytest.raises(DataError, match="line 302"):
        next(texts)


def test_a_field_may_be_longer_than_csv_readers_usually_allow(tmp_path: Path) -> None:
    text = "long " * 40_000
    assert list(TextSource(write(tmp_path / "a.csv", f"text\n{text}\n"))) == [text]


# Columns


@pytest.mark.parametrize(
    ("header", "row", "text"),
    [
        ("title,TEXT", "a much longer title,short", "short"),
        ("Story,Joke", "a much longer story,short", "short"),
        ("note,Body", "a much longer note,short", "short"),
        ("id,words,n", "1,the longest of all,22", "the longest of all"),
    ],
)
def test_the_column_is_found_by_a_usual_name_or_else_by_length(
    tmp_path: Path, header: str, row: str, text: str
) -> None:
    assert list(TextSource(write(tmp_path / "a.csv", f"{header}\n{row}\n"))) == [text]


def test_the_choice_of_the_column_is_said_with_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = write(tmp_path / "a.csv", "id,words\n1,hello\n")
    list(TextSource(path))
    list(TextSource(path, "id"))
    assert caplog.messages == [
        "a.csv: texts from column 'words' "
        "(it has the longest strings; name another with --text-column)",
        "a.csv: texts from column 'id' (as asked for)",
    ]


def test_a_named_column_is_taken_whatever_the_others_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,reply\nlonger than the other,yes\n")
    assert list(TextSource(path, "reply")) == ["yes"]


def test_each_file_of_a_folder_has_its_own_column(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id,text\n1,first\n")
    write(tmp_path / "b.csv", "id,joke\n2,second\n")
    assert list(TextSource(tmp_path)) == ["first", "second"]


def test_a_missing_column_is_answered_with_those_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,Joke\n1,ha\n")
    assert failure(path, "joke") == f"{path} has no column 'joke'; its columns are ['id', 'Joke']"


@pytest.mark.parametrize("rows", ['{"id": 1, "n": 2}\n', "{}\n"])
def test_a_table_without_strings_has_no_column_of_text(tmp_path: Path, rows: str) -> None:
    assert "has no column of text; its columns are" in failure(write(tmp_path / "a.jsonl", rows))


# Broken files


def test_too_many_fields_are_refused_with_the_line_and_a_remedy(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,text\n1,"two\nlines"\n2,one, two, three\n')
    assert failure(path) == (
        f"{path}, line 4: 4 fields where the header has 2; put quotes round texts that hold ','"
    )


def test_a_quote_that_is_never_closed_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text\n"never closed\n')
    assert failure(path).startswith(f"{path}, line 2: unexpected end of data")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"text": ', "line 3: not JSON: Expecting value"),
        ("[1, 2]", "line 3: a list, not an object"),
        ('{"text": 5}', "line 3: 'text' is int 5, not a string"),
        ('{"text": ["a"]}', "line 3: 'text' is list ['a'], not a string"),
    ],
)
def test_a_broken_line_is_named_by_its_number(tmp_path: Path, line: str, problem: str) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"text": "fine"}}\n\n{line}\n')
    assert failure(path) == f"{path}, {problem}"


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize(
    ("content", "offset"),
    [
        (b"text\nfine\n" + "é".encode() * 5_000 + b"\n\xff\n", 10_011),
        (b"\xef\xbb\xbftext\ncut \xc3\n", 12),
        ("text\nUTF-16\n".encode("utf-16"), 0),
        (b"text\nends early \xe2\x80", 16),
    ],
)
def test_the_first_byte_that_is_not_utf8_is_named(
    tmp_path: Path, content: bytes, offset: int, suffix: str
) -> None:
    path = write(tmp_path / "a.csv", content, suffix)
    assert failure(path).startswith(f"{path} is not UTF-8: byte {offset}: ")


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_damaged_compressed_files_cannot_be_unpacked(tmp_path: Path, suffix: str) -> None:
    whole = PACKERS[suffix](str(list(range(5_000))).encode())
    middle = len(whole) // 2
    damaged: dict[str, bytes] = {
        "cut short": whole[:middle],
        "another format": b"text\nhello\n",
        "overwritten": whole[:20] + b"\xff" * 64 + whole[84:],
    }
    for content in damaged.values():
        path = tmp_path / f"a.txt{suffix}"
        path.write_bytes(content)
        assert failure(path).startswith(f"{path} cannot be unpacked: ")


# Paths


@pytest.mark.parametrize(
    ("name", "kind"), [("a.pdf", ".pdf"), ("a", ""), ("a.zip.gz", ".zip"), ("a.csv.bz2", ".bz2")]
)
def test_an_unknown_kind_of_file_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    path = write(tmp_path / name, "hello")
    problem = f"is of an unknown kind {kind!r}; readable are .csv, .tsv, .jsonl, .ndjson, .parquet,"
    rest = re.escape(" .txt, .epub, also as .gz, .xz or .zst")
    with pytest.raises(DataError, match=re.escape(problem) + rest):
        TextSource(path)


def test_a_path_to_nothing_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(f"no file or folder {tmp_path / 'a.csv'}; chec")):
        TextSource(tmp_path / "a.csv")


def test_a_folder_with_nothing_readable_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.pdf", "hello")
    with pytest.raises(DataError, match=re.escape(f"no readable file in the folder {tmp_path}; ")):
        TextSource(tmp_path)


# Rows


@pytest.mark.parametrize("suffix", PACKERS)
def test_rows_of_a_table_come_with_their_lines(tmp_path: Path, suffix: str) -> None:
    csv = write(tmp_path / "a.CSV", CSV, suffix)
    assert list(read_rows(csv)) == [
        (line, {"id": str(number), "Joke": text})
        for line, number, text in zip((2, 3, 5, 6), (1, 2, 3, 4), TEXTS, strict=True)
    ]
    assert file_kind(csv) == ".csv"
    jsonl = write(tmp_path / "a.jsonl", JSONL, suffix)
    assert list(read_rows(jsonl)) == [(n, {"id": n - 1, "Joke": t}) for n, t in enumerate(TEXTS, 1)]


def test_a_bad_row_does_not_end_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'a,b\n1,2\n1,2,3\n"x" y,2\n\n3,4\n"open,5\n')
    assert list(read_rows(path)) == [
        (2, {"a": "1", "b": "2"}),
        (3, BadRow("3 fields where the header has 2; put quotes round texts that hold ','")),
        (4, BadRow("',' expected after '\"'")),
        (6, {"a": "3", "b": "4"}),
        (7, BadRow("unexpected end of data")),
    ]


def test_a_bad_line_does_not_end_json_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", '{"a": \n[]\n\n{"a": 1}\n')
    assert list(read_rows(path, ".jsonl")) == [
        (1, BadRow("not JSON: Expecting value")),
        (2, BadRow("a list, not an object")),
        (4, {"a": 1}),
    ]


def test_a_broken_header_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", '"a" b,c\n1,2\n')
    with pytest.raises(DataError, match=r"a\.csv, line 1: ',' expected after"):
        list(read_rows(path))


def test_a_file_that_is_no_table_has_no_rows(tmp_path: Path) -> None:
    problem = r"a\.txt is no table of a known kind; these are \.csv, \.tsv, \.jsonl, \.ndjson"
    with pytest.raises(DataError, match=problem):
        read_rows(write(tmp_path / "a.txt", "hello"))


def test_lines_end_where_they_are_said_to(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "one\rstill\r\ntwo\n")
    with open_text(path, newline="\n") as stream:
        assert list(stream) == ["one\rstill\r\n", "two\n"]


def test_the_shared_jokes_are_read_in_full(shared_data: Path) -> None:
    source: Any = TextSource(shared_data / "jokes" / "valid.csv.gz")
    texts = list(source)
    assert len(texts) > 1_000
    assert all(text.strip() for text in texts)


def test_where_no_row_may_be_bad_the_first_one_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"a": 1}\n[]\n')
    rows = good_rows(path)
    assert next(rows) == (1, {"a": 1})
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: a list, not an object"):
        next(rows)
    with pytest.raises(DataError, match=r"there is no file .*none\.csv; check the path"):
        next(good_rows(tmp_path / "none.csv"))


# Parquet, URLs and the hub


def test_a_parquet_file_gives_the_texts_of_its_column(tmp_path: Path) -> None:
    table = pa.table({"id": range(5), "content": [*TEXTS, None]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    source = TextSource(tmp_path)
    assert list(source.named()) == [(f"a.parquet:{n}", text) for n, text in enumerate(TEXTS, 1)]
    assert source.dropped == 1


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    assert "a.parquet is no readable parquet file: " in failure(write(tmp_path / "a.parquet", "hi"))


def test_a_file_and_a_folder_behind_a_url_are_read() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/texts/b.jsonl.gz", gzip.compress(JSONL.encode()))
    memory.pipe("/texts/more/a.txt", b"one text")
    pq.write_table(pa.table({"text": ["packed"]}), memory.open("/texts/c.parquet", "wb"))
    try:
        assert list(TextSource("memory://texts/b.jsonl.gz")) == TEXTS
        assert list(TextSource("memory://texts")) == [*TEXTS, "packed", "one text"]
    finally:
        memory.rm("/texts", recursive=True)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("memory://nothing/there.txt", "there is no file or folder memory://nothing/there.txt"),
        ("gopher://a/b.txt", "gopher://a/b.txt cannot be read: "),
    ],
)
def test_a_url_to_nothing_or_of_no_known_kind_is_refused(url: str, problem: str) -> None:
    with pytest.raises(DataError, match=re.escape(problem)):
        TextSource(url)


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("a.csv.zst", ["zstandard"]),
        ("a.parquet", ["pyarrow.parquet"]),
        ("memory://a/b.txt", ["upath"]),
        ("hub:owner/name", ["datasets"]),
    ],
)
def test_what_needs_a_library_that_is_missing_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, modules: list[str]
) -> None:
    path = name if ":" in name else str(write(tmp_path / name, ""))
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r'pip install "gpt1\[(data|hub)\]"'):
        list(TextSource(path))


def test_a_data_set_of_the_hub_is_read_row_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    pq.write_table(pa.table({"id": [1, 2], "text": ["one", "two"]}), tmp_path / "train.parquet")

    def from_folder(name: str, config: str | None, **how: Any) -> Any:
        asked.append((name, config, how))
        return real("parquet", data_files=str(tmp_path / "train.parquet"), **how)

    real = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", from_folder)
    assert list(TextSource("hub:owner/name/part").named()) == [
        ("hub:owner/name/part:1", "one"),
        ("hub:owner/name/part:2", "two"),
    ]
    assert asked == [("owner/name", "part", {"split": "train", "streaming": True})]


def test_a_data_set_that_cannot_be_fetched_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(DataError, match=r"owner/name cannot be read from the hub: no route; check"):
        list(TextSource("hub:owner/name"))


def test_a_name_that_is_none_of_the_hub_is_refused() -> None:
    with pytest.raises(DataError, match=r"'hub:name' names no data set; write hub:owner/name"):
        TextSource("hub:name")


def test_hidden_files_and_folders_are_no_part_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path / ".a.txt", "hidden")
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".git" / "b.txt", "hidden")
    (tmp_path / "c").mkdir()
    write(tmp_path / "c" / "d.txt", "shown")
    assert list(TextSource(tmp_path)) == ["shown"]
