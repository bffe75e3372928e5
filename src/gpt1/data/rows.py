"""Rows of tables: csv, tsv, JSON lines and parquet."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gpt1.data.files import file_kind, open_bytes, open_text
from gpt1.errors import DataError, MissingExtraError
from gpt1.native.rows import Table, csv_column

_BATCH_ROWS = 1024
_BATCH_BYTES = 1 << 20


class BadRow(NamedTuple):
    """What stands in the place of a row that cannot be read.

    Attributes:
        reason: Why: for people.
    """

    reason: str


def read_rows(file: Path, kind: str | None = None) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """Rows of a table by column, each with the number of its line.

    Args:
        file: Of one of the `TABLES`, those of text also as .gz, .xz or .zst.
        kind: Which one; default: as its name says.

    Yields:
        Number of the line, from 1, and the row, or why it cannot be read.

    Raises:
        DataError: If the file is of an unknown kind, not UTF-8, or cannot be unpacked.
    """
    kind = kind or file_kind(file)
    if kind not in _ROWS:
        raise DataError(f"{file} is no table of a known kind; these are {', '.join(TABLES)}")
    return _ROWS[kind](file)


def good_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of `read_rows`, where none may be bad.

    Raises:
        DataError: Also at a row that cannot be read, or if there is no such file.
    """
    if not file.is_file():
        raise DataError(f"there is no file {file}; check the path")
    for line, row in read_rows(file):
        if isinstance(row, BadRow):
            raise DataError(f"{file}, line {line}: {row.reason}")
        yield line, row


def text_lists(file: Path, column: str) -> Iterator[list[str] | None]:
    """The texts of a column, faster than `read_rows`, as far as the rows are plain ones.

    Args:
        file: As of `read_rows`.
        column: Its name.

    Yields:
        Texts of successive rows from the first one on, empty where a row has none; last, None if
        that is not all, and what follows needs `read_rows`.

    Raises:
        DataError: If the file is not UTF-8, or cannot be unpacked.
    """
    kind = file_kind(file)
    if kind in _DELIMITERS:
        yield from _csv_texts(file, _DELIMITERS[kind], column)
    elif _ROWS.get(kind) is _jsonl_rows:
        yield from _jsonl_texts(file, column)
    else:
        yield None


def _csv_texts(file: Path, delimiter: str, column: str) -> Iterator[list[str] | None]:
    with open_text(file) as stream:
        header = next(csv.reader(stream, delimiter=delimiter))
    table = Table(delimiter, len(header), header.index(column))
    is_header, is_last = True, False
    with open_bytes(file) as raw:
        data = raw.read(len(codecs.BOM_UTF8)).removeprefix(codecs.BOM_UTF8) + raw.read(_BATCH_BYTES)
        while data and not is_last:
            more = raw.read(max(_BATCH_BYTES, len(data)))  # for a row that is longer than all there
            is_last = not more
            found = None if b"\0" in data else csv_column(table, data, is_last=is_last)
            if found is None or not _is_utf8(data[: found.read]) or len(set(header)) < len(header):
                yield None
                return
            texts = found.texts.decode().split("\0")[:-1]
            yield texts[is_header:]
            is_header = is_header and not texts
            data = data[found.read :] + more
            if found.is_wrong:
                yield None
                return


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _jsonl_texts(file: Path, column: str) -> Iterator[list[str] | None]:
    with open_text(file) as stream:
        while lines := stream.readlines(_BATCH_BYTES):
            texts = _json_texts(lines, column)
            yield texts
            if texts is None:
                return


def _json_texts(lines: list[str], column: str) -> list[str] | None:
    """The texts of lines that each hold one and nothing else, or None."""
    decode = json.JSONDecoder().raw_decode
    try:
        rows = [decode(line) for line in lines]
        texts = [row[column] for row, _ in rows]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    ends = (line[end:].strip() for line, (_, end) in zip(lines, rows, strict=True))
    return None if any(ends) or not all(isinstance(text, str) for text in texts) else texts


def _csv_rows(file: Path, delimiter: str) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    csv.field_size_limit(2**31 - 1)
    with open_text(file) as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        header: list[str] | None = None
        fields: list[str] | None = []
        while fields is not None:
            begins = reader.line_num + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                if header is None:
                    raise DataError(f"{file}, line {begins}: {error}") from None
                yield begins, BadRow(str(error))  # the next row begins on the next line
                continue
            if header is None:
                header = fields
            elif fields:
                yield reader.line_num, _csv_row(header, fields, delimiter)


def _csv_row(header: list[str], fields: list[str], delimiter: str) -> dict[str, Any] | BadRow:
    if len(fields) > len(header):
        return BadRow(
            f"{len(fields)} fields where the header has {len(header)}; put quotes round texts "
            f"that hold {delimiter!r}"
        )
    return dict(zip(header, fields, strict=False))


def _jsonl_rows(file: Path) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    with open_text(file) as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield number, _json_row(line)


def _json_row(line: str) -> dict[str, Any] | BadRow:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # also numbers and nesting beyond all measure
        return BadRow(f"not JSON: {getattr(error, 'msg', error)}")
    return row if isinstance(row, dict) else BadRow(f"a {type(row).__name__}, not an object")


def _parquet_rows(file: Path) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    try:
        from pyarrow.lib import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingExtraError(
            f'reading {file.name} needs pyarrow: pip install "gpt1[data]"'
        ) from None
    try:
        with file.open("rb") as raw, ParquetFile(raw) as table:
            batches = table.iter_batches(_BATCH_ROWS)
            yield from enumerate((row for batch in batches for row in batch.to_pylist()), start=1)
    except ArrowException as error:
        raise DataError(f"{file} is no readable parquet file: {error}") from None


_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_ROWS: dict[str, Callable[[Path], Iterator[tuple[int, dict[str, Any] | BadRow]]]] = {
    ".csv": lambda file: _csv_rows(file, _DELIMITERS[".csv"]),
    ".tsv": lambda file: _csv_rows(file, _DELIMITERS[".tsv"]),
    ".jsonl": _jsonl_rows,
    ".ndjson": _jsonl_rows,
    ".parquet": _parquet_rows,
}
TABLES = tuple(_ROWS)
"""Kinds of files that are tables."""
