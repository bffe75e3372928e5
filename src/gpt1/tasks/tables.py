"""Rows of tables as data sets come: with and without header, quoted and not, packed or parquet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gpt1.data.files import file_kind, open_text
from gpt1.data.rows import TABLES, BadRow, read_rows
from gpt1.tasks.task import Row, Rows, Task

KINDS = TABLES
"""Kinds of files that are tables, those of text also as .gz, .xz or .zst."""

_CSV_FIELD = re.compile(r'(?:[^"\t\n]*|"[^"]*(?:""[^"]*)*"\r?)(?:\t|\n|\Z)')


def table_rows(task: Task, file: Path) -> Rows:
    """The rows of a table.

    A .tsv file has one row a line, and quotes are part of the text, unless the task says otherwise.
    So has a .txt file, except that it may also be JSON lines.

    Args:
        task: Knows the columns of files without header.
        file: One of `KINDS`, or .txt.

    Yields:
        The place of each row, and the row or why it cannot be read.

    Raises:
        DataError: If the file as a whole cannot be read.
        MissingExtraError: If pyarrow is not there for a parquet file.
    """
    kind = file_kind(file)
    rows = _tab_rows(task, file) if kind in (".tsv", ".txt") else read_rows(file)
    for line, row in rows:
        yield f"{'row' if kind == '.parquet' else 'line'} {line}", row


def _tab_rows(task: Task, file: Path) -> Iterator[tuple[int, Row | BadRow]]:
    with open_text(file, newline="\n") as stream:
        first = stream.readline().lstrip()
    if first.startswith("{"):
        return read_rows(file, ".jsonl")
    if task.tsv_quotes and _is_quoted(file):
        return read_rows(file, ".tsv")
    known = {name.lower() for column in task.columns.items() for name in (column[0], *column[1])}
    return _plain_rows(file, task.header, known)


def _plain_rows(
    file: Path, header: tuple[str, ...], known: set[str]
) -> Iterator[tuple[int, Row | BadRow]]:
    """Lines cut at tabs; the first is the header if there must be one or it has a known name."""
    with open_text(file, newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            fields = line.removesuffix("\n").removesuffix("\r").split("\t")
            if number == 1 and (not header or known.intersection(map(str.lower, fields))):
                header = tuple(fields)
            elif len(fields) == len(header):
                yield number, dict(zip(header, fields, strict=True))
            elif fields != [""]:
                yield number, BadRow(f"{_fields(len(fields))} where {len(header)} are expected")


def _fields(count: int) -> str:
    return f"{count} field{'s' * (count != 1)}"


def _is_quoted(file: Path) -> bool:
    """Whether all quotes are as a CSV writer sets them: round whole fields, doubled inside."""
    with open_text(file, newline="\n") as stream:
        text = stream.read()
    at = 0
    while at < len(text):
        field = _CSV_FIELD.match(text, at)
        if field is None:
            return False
        at = field.end()
    return '"' in text
