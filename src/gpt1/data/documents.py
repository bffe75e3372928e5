"""A text on its way from a file to tokens, or what stands in its place."""

from __future__ import annotations

from typing import NamedTuple


class Document(NamedTuple):
    """A text and where it is from.

    Attributes:
        name: Its file, and its line or row where there are several in a file.
        text: All of it.
        license: As its file states it.
    """

    name: str
    text: str
    license: str | None = None


class Dropped(NamedTuple):
    """What stands in the place of a document that is left out.

    Attributes:
        name: Of the document.
        reason: One or two words, the same for all documents that are left out for it.
        detail: More about it: for people.
    """

    name: str
    reason: str
    detail: str = ""


EMPTY = "empty"
"""The reason of a document that is blank."""
BAD_ROW = "bad row"
"""The reason of a row that cannot be read."""
