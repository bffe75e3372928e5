"""Which columns of a table hold the texts and their licences."""

from __future__ import annotations

from typing import Any, NamedTuple

from gpt1.errors import DataError

COLUMN_NAMES = ("text", "joke", "sentence", "content", "story", "body")
"""Names a text column usually has, best first."""
LICENSE_NAMES = ("license", "licence")
"""Names of a column with the licence of a document."""


class Column(NamedTuple):
    """The column texts are read from.

    Attributes:
        name: Its name.
        reason: Why this one: for people.
    """

    name: str
    reason: str


def choose_column(rows: list[dict[str, Any]], wanted: str | None, file: object) -> Column:
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


def license_of(row: dict[str, Any]) -> str | None:
    """The licence a row states, if there is a column for it."""
    stated = (row.get(name) for name in LICENSE_NAMES)
    return next((value for value in stated if isinstance(value, str) and value.strip()), None)
