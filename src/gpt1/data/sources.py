"""Texts from files: csv, tsv, jsonl, txt, each also as .gz or .xz, or a folder of them.

Nothing is read before it is asked for, and never more than a row (or one .txt file) at a time.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import logging
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

from gpt1.errors import DataError

log = logging.getLogger(__name__)

COLUMN_NAMES = ("text", "joke", "sentence", "content", "story", "body")
"""Names a text column usually has, best first."""

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}


class Column(NamedTuple):
    """The column texts are read from.

    Attributes:
        name: Its name.
        reason: Why this one: for people.
    """

    name: str
    reason: str


class TextSource:
    """The texts of a file or folder; can be iterated over again and again.

    Args:
        path: A .csv, .tsv, .jsonl (or .ndjson) or .txt file, also compressed as .gz or .xz, or a
            folder of such files, read in the order of their names. A .txt file is one text.
        text_column: Column (csv, tsv) or key (jsonl) of the text; found by name or length
            otherwise.

    Attributes:
        dropped: Rows without text in the last complete pass.

    Raises:
        DataError: If there is nothing to read at ``path`` or a file is of an unknown kind.
    """

    def __init__(self, path: str | Path, text_column: str | None = None) -> None:
        self.path = Path(path)
        self.files = _files(self.path)
        self.text_column = text_column
        self.dropped = 0
        self._columns: dict[tuple[str, ...], Column] = {}

    def __iter__(self) -> Iterator[str]:
        self.dropped = 0
        for file in self.files:
            for text in self._texts(file):
                if text.strip():
                    yield text
                else:
                    self.dropped += 1

    def _texts(self, file: Path) -> Iterator[str]:
        if _kind(file) == ".txt":
            with open_text(file) as stream:
                yield stream.read()
            return
        rows = _ROWS[_kind(file)](file)
        first = list(islice(rows, 100))
        if not first:
            return
        column = self._column(file, [row for _, row in first])
        for line, row in chain(first, rows):
            yield _text(file, line, row, column.name)

    def _column(self, file: Path, rows: list[dict[str, Any]]) -> Column:
        keys = tuple(rows[0])
        if keys not in self._columns:
            self._columns[keys] = column = choose_column(rows, self.text_column, file)
            log.info("%s: texts from column %r (%s)", file.name, column.name, column.reason)
        return self._columns[keys]


def choose_column(rows: list[dict[str, Any]], wanted: str | None, file: Path) -> Column:
    """The column that holds the text.

    Args:
        rows: The first rows of the file.
        wanted: Its name, where the user gave one.
        file: Where the rows are from.

    Returns:
        The wanted column; else one with a usual name; else the one with the longest strings.

    Raises:
        DataError: If the wanted column is not there, or no column holds strings.
    """
    names = list(rows[0])
    if wanted is not None:
        if wanted not in names:
            raise DataError(f"{file} has no column {wanted!r}; its columns are {names}")
        return Column(wanted, "as asked for")
    by_lower = {name.lower(): name for name in reversed(names)}
    for usual in COLUMN_NAMES:
        if usual in by_lower:
            return Column(by_lower[usual], "by its name")
    lengths = {
        name: sum(len(row[name]) for row in rows if isinstance(row.get(name), str))
        for name in names
    }
    longest = max(lengths, key=lengths.__getitem__, default="")
    if not lengths.get(longest):
        raise DataError(f"{file} has no column of text; its columns are {names}")
    return Column(longest, "it has the longest strings; name another with --text-column")


def _text(file: Path, line: int, row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{file}, line {line}: {column!r} is {type(value).__name__} {value!r:.40}, not a string"
        )
    return value


def read_rows(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of one table, with the line each of them ends on.

    Args:
        path: A .csv, .tsv, .jsonl or .ndjson file, also compressed as .gz or .xz.

    Raises:
        DataError: If there is no such file, it is of another kind or cannot be read; at once, or
            when the broken row is reached.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"there is no file {file}; check the path")
    kind = _kind(file)
    if kind not in _ROWS:
        raise DataError(
            f"{file} is of the kind {kind!r}, not a table; readable are {', '.join(_ROWS)}, "
            "each also as .gz or .xz"
        )
    return _ROWS[kind](file)


def _csv_rows(file: Path, delimiter: str) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(2**31 - 1)
    with open_text(file) as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        line = 0
        try:
            header = next(reader, [])
            line = reader.line_num
            for fields in filter(None, reader):
                if len(fields) > len(header):
                    raise DataError(
                        f"{file}, line {reader.line_num}: {len(fields)} fields where the header "
                        f"has {len(header)}; put quotes round texts that hold {delimiter!r}"
                    )
                line = reader.line_num
                yield line, dict(zip(header, fields, strict=False))
        except csv.Error as error:
            # The broken row begins on the line after the last whole one.
            raise DataError(f"{file}, line {line + 1}: {error}") from None


def _jsonl_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open_text(file) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{file}, line {number}: not JSON: {error.msg}") from None
            if not isinstance(row, dict):
                raise DataError(f"{file}, line {number}: a {type(row).__name__}, not an object")
            yield number, row


_ROWS: dict[str, Callable[[Path], Iterator[tuple[int, dict[str, Any]]]]] = {
    ".csv": lambda file: _csv_rows(file, ","),
    ".tsv": lambda file: _csv_rows(file, "\t"),
    ".jsonl": _jsonl_rows,
    ".ndjson": _jsonl_rows,
}
KINDS = (*_ROWS, ".txt")


def _kind(file: Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in OPENERS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _files(path: Path) -> list[Path]:
    """The files to read, in order; all problems with the path are told here."""
    if path.is_dir():
        found = sorted(f for f in path.iterdir() if f.is_file() and _kind(f) in KINDS)
        if not found:
            raise DataError(f"no readable file in the folder {path}; readable: {', '.join(KINDS)}")
        return found
    if not path.is_file():
        raise DataError(f"there is no file or folder {path}; check the path")
    if _kind(path) not in KINDS:
        raise DataError(
            f"{path} is of an unknown kind {_kind(path)!r}; readable are {', '.join(KINDS)}, "
            "each also as .gz or .xz"
        )
    return [path]


def utf8_lines(stream: BinaryIO, name: str) -> Iterator[str]:
    """The lines of a stream of UTF-8, as they come.

    Args:
        stream: Bytes.
        name: Of the stream, for messages.

    Raises:
        DataError: If it is not UTF-8, with the offset of the first wrong byte.
    """
    offset = 0
    for line in stream:
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            wrong = offset + error.start
            raise DataError(f"{name} is not UTF-8: byte {wrong}: {error.reason}") from None
        offset += len(line)


@contextmanager
def open_text(file: Path) -> Iterator[TextIO]:
    """The file as UTF-8 text, unpacked on the way; a byte-order mark is skipped.

    Raises:
        DataError: If it is not UTF-8 (with the offset of the first wrong byte) or cannot be
            unpacked.
    """
    opener = OPENERS.get(file.suffix.lower(), open)
    with opener(file, "rb") as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as stream:
        try:
            yield stream
        except UnicodeDecodeError as error:
            offset = _bad_byte(file, opener)
            raise DataError(f"{file} is not UTF-8: byte {offset}: {error.reason}") from None
        except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{file} cannot be unpacked: {error}") from None


def _bad_byte(file: Path, opener: Callable[..., Any]) -> int:
    """Offset of the first byte that is not UTF-8."""
    offset = 0
    with opener(file, "rb") as raw:
        for line in raw:
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return offset + error.start
            offset += len(line)
    return offset
