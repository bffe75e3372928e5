"""Texts from files, folders, URLs and data sets of the hub.

Nothing is read before it is asked for, and never more than a row, a few rows of a parquet file, a
megabyte of another table or one book at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

from gpt1.data.columns import Column, choose_column, license_of
from gpt1.data.documents import BAD_ROW, EMPTY, Document, Dropped
from gpt1.data.epub import read_epub
from gpt1.data.files import PACKED, file_kind, is_remote, open_text, place_of
from gpt1.data.hub import PREFIX, HubData, hub_data, hub_rows
from gpt1.data.rows import TABLES, BadRow, read_rows, text_lists
from gpt1.errors import DataError

log = logging.getLogger(__name__)

KINDS = (*TABLES, ".txt", ".epub")
"""Kinds of files that hold texts."""

_FIRST = 100  # rows by which the column is chosen
_LISTED = (".csv", ".tsv", ".jsonl", ".ndjson")

Source: TypeAlias = Path | HubData
"""A file, here or behind a URL, or a data set on the hub."""


class TextSource:
    """The texts of a file, a folder or a data set; can be iterated over again and again.

    Args:
        path: A .csv, .tsv, .jsonl (or .ndjson), .parquet, .epub or .txt file, those of text also
            packed as .gz, .xz or .zst; or a folder of such files and of more folders, read in the
            order of their names; either also as a URL that fsspec knows, such as
            "s3://bucket/books"; or a data set on the hub, "hub:owner/name" or
            "hub:owner/name/subset", of which the split "train" is read. A .txt or .epub file is one
            text.
        text_column: Column (csv, tsv, parquet, hub) or key (jsonl) of the text; found by name or
            length otherwise.

    Attributes:
        files: What is read, in order.
        dropped: Rows without text in the last complete pass.

    Raises:
        DataError: If there is nothing to read at ``path`` or a file is of an unknown kind.
        MissingExtraError: If it is a URL and its library is not installed.
    """

    def __init__(self, path: str | Path, text_column: str | None = None) -> None:
        self.files = find_sources(path)
        self.dropped = 0
        self._reader = Reader(text_column, _say_column)

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._texts())

    def _texts(self) -> Iterator[Iterable[str]]:
        self.dropped = 0
        for file in self.files:
            done = 0
            for texts in self._reader.lists(file):
                if texts is None:
                    yield (text for _, text in self._named(file, done))
                else:
                    kept = [text for text in texts if text and not text.isspace()]
                    self.dropped += len(texts) - len(kept)
                    done += len(texts)
                    yield kept

    def named(self) -> Iterator[tuple[str, str]]:
        """Where each text is from, and the text.

        Yields:
            ``("jokes.csv:12", text)``: the file and the line on which the row ends; of a .txt file
            its name alone.

        Raises:
            DataError: If a file or a row cannot be read.
        """
        self.dropped = 0
        for file in self.files:
            yield from self._named(file)

    def _named(self, file: Source, done: int = 0) -> Iterator[tuple[str, str]]:
        """What a file holds beyond the rows that are done."""
        for document in islice(self._reader.read(file), done, None):
            if isinstance(document, Document):
                yield document.name, document.text
            elif document.reason == EMPTY:
                self.dropped += 1
            else:
                line = document.name.rpartition(":")[2]
                raise DataError(f"{file}, line {line}: {document.detail}")


class Reader:
    """Reads files to documents.

    Args:
        text_column: As of a `TextSource`.
        tell: Told of each file of a new kind of table which column is taken.
    """

    def __init__(
        self, text_column: str | None, tell: Callable[[Source, Column], None] | None = None
    ) -> None:
        self.text_column = text_column
        self.tell = tell
        self._columns: dict[tuple[str, ...], Column] = {}

    def read(self, file: Source) -> Iterator[Document | Dropped]:
        """The documents of a file; a row without text or one that cannot be read is `Dropped`.

        Raises:
            DataError: If the file cannot be read, or not to its end.
            MissingExtraError: If the library for its kind is not installed.
        """
        try:
            for document in self._documents(file):
                is_blank = isinstance(document, Document) and not document.text.strip()
                yield Dropped(document.name, EMPTY) if is_blank else document
        except OSError as error:
            raise DataError(f"{file} cannot be read: {error}") from error

    def lists(self, file: Source) -> Iterator[list[str] | None]:
        """The texts of a file in lists, as `gpt1.data.rows.text_lists` reads those of a table.

        Raises:
            DataError: As `read`.
        """
        if not isinstance(file, Path) or file_kind(file) not in _LISTED:
            yield None
            return
        try:
            first = [row for _, row in islice(read_rows(file), _FIRST)]
            good = [row for row in first if not isinstance(row, BadRow)]
            yield from text_lists(file, self._column(file, good).name) if good else [None]
        except OSError as error:
            raise DataError(f"{file} cannot be read: {error}") from error

    def _documents(self, file: Source) -> Iterator[Document | Dropped]:
        kind = "" if isinstance(file, HubData) else file_kind(file)
        if isinstance(file, HubData):
            yield from self._rows(file, hub_rows(file))
        elif kind == ".txt":
            with open_text(file) as stream:
                yield Document(file.name, stream.read())
        elif kind == ".epub":
            yield Document(file.name, *read_epub(file))
        else:
            yield from self._rows(file, read_rows(file))

    def _rows(
        self, file: Source, rows: Iterator[tuple[int, dict[str, Any]]] | Iterator[tuple[int, Any]]
    ) -> Iterator[Document | Dropped]:
        first = list(islice(rows, _FIRST))
        good = [row for _, row in first if not isinstance(row, BadRow)]
        column = self._column(file, good).name if good else ""
        for line, row in chain(first, rows):
            name = f"{file.name}:{line}"
            if isinstance(row, BadRow):
                yield Dropped(name, BAD_ROW, row.reason)
            else:
                yield _document(name, row, column)

    def _column(self, file: Source, rows: list[dict[str, Any]]) -> Column:
        keys = tuple(rows[0])
        if keys not in self._columns:
            self._columns[keys] = choose_column(rows, self.text_column, file)
            if self.tell:
                self.tell(file, self._columns[keys])
        return self._columns[keys]


def _say_column(file: Source, column: Column) -> None:
    log.info("%s: texts from column %r (%s)", file.name, column.name, column.reason)


def _document(name: str, row: dict[str, Any], column: str) -> Document | Dropped:
    value = row.get(column)
    if value is None:
        return Dropped(name, EMPTY)
    if not isinstance(value, str):
        wrong = f"{column!r} is {type(value).__name__} {value!r:.40}, not a string"
        return Dropped(name, BAD_ROW, wrong)
    return Document(name, value, license_of(row))


def find_sources(path: str | Path) -> list[Source]:
    """What is to be read, in order; all problems with the path are told here.

    Args:
        path: As of a `TextSource`.

    Raises:
        DataError: As of a `TextSource`.
        MissingExtraError: As of a `TextSource`.
    """
    if str(path).startswith(PREFIX):
        return [hub_data(str(path))]
    place = place_of(path)
    try:
        return [*_files(place)]
    except (OSError, ImportError) as error:
        if not is_remote(place):
            raise
        raise DataError(f"{path} cannot be read: {error}") from error


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(f for f in path.rglob("*") if file_kind(f) in KINDS and f.is_file())
        found = [f for f in found if not _is_hidden(f, path)]
        if not found:
            raise DataError(f"no readable file in the folder {path}; readable: {', '.join(KINDS)}")
        return found
    if not path.is_file():
        raise DataError(f"there is no file or folder {path}; check the path")
    if file_kind(path) not in KINDS:
        raise DataError(
            f"{path} is of an unknown kind {file_kind(path)!r}; readable are {', '.join(KINDS)}, "
            f"{PACKED}"
        )
    return [path]


def _is_hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.parts[len(folder.parts) :])
