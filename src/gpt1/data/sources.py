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


class BadRow(NamedTuple):
    """What stands in the place of a row that cannot be read.

    Attributes:
        reason: Why: for people.
    """

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
        return (text for _, text in self.named())

    def named(self) -> Iterator[tuple[str, str]]:
        """Where each text is from, and the text.

        Yields:
            ``("jokes.csv:12", text)``: the file and the line on which the row ends; of a .txt file
            its name alone.
        """
        self.dropped = 0
        for file in self.files:
            for name, text in self._texts(file):
                if text.strip():
                    yield name, text
                else:
                    self.dropped += 1

    def _texts(self, file: Path) -> Iterator[tuple[str, str]]:
        if file_kind(file) == ".txt":
            with open_text(file) as stream:
                yield file.name, stream.read()
            return
        rows = good_rows(file)
        first = list(islice(rows, 100))
        if not first:
            return
        column = self._column(file, [row for _, row in first])
        for line, row in chain(first, rows):
            yield f"{file.name}:{line}", _text(file, line, row, column.name)

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


def read_rows(file: Path, kind: str | None = None) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """Rows of a table by column, each with the number of its line.

    Args:
        file: Of one of the `TABLES`, also compressed as .gz or .xz.
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
    except json.JSONDecodeError as error:
        return BadRow(f"not JSON: {error.msg}")
    return row if isinstance(row, dict) else BadRow(f"a {type(row).__name__}, not an object")


_ROWS: dict[str, Callable[[Path], Iterator[tuple[int, dict[str, Any] | BadRow]]]] = {
    ".csv": lambda file: _csv_rows(file, ","),
    ".tsv": lambda file: _csv_rows(file, "\t"),
    ".jsonl": _jsonl_rows,
    ".ndjson": _jsonl_rows,
}
TABLES = tuple(_ROWS)
KINDS = (*TABLES, ".txt")


def file_kind(file: Path) -> str:
    """The kind of a file by its name, such as ".csv", whether it is compressed or not."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in OPENERS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _files(path: Path) -> list[Path]:
    """The files to read, in order; all problems with the path are told here."""
    if path.is_dir():
        found = sorted(f for f in path.iterdir() if f.is_file() and file_kind(f) in KINDS)
        if not found:
            raise DataError(f"no readable file in the folder {path}; readable: {', '.join(KINDS)}")
        return found
    if not path.is_file():
        raise DataError(f"there is no file or folder {path}; check the path")
    if file_kind(path) not in KINDS:
        raise DataError(
            f"{path} is of an unknown kind {file_kind(path)!r}; readable are {', '.join(KINDS)}, "
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
def open_text(file: Path, newline: str = "") -> Iterator[TextIO]:
    """The file as UTF-8 text, unpacked on the way; a byte-order mark is skipped.

    Args:
        file: Also .gz or .xz.
        newline: What ends a line, as in `open`; default: any usual end, kept as it is.

    Raises:
        DataError: If it is not UTF-8 (with the offset of the first wrong byte) or cannot be
            unpacked.
    """
    opener = OPENERS.get(file.suffix.lower(), open)
    with opener(file, "rb") as raw, io.TextIOWrapper(raw, "utf-8-sig", newline=newline) as stream:
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
