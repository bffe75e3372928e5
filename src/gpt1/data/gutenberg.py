"""Books of Project Gutenberg without what is printed before and after them.

Since 2003 two lines stand round a book: ``*** START OF THE PROJECT GUTENBERG EBOOK EMMA ***`` and
the same with END. Older files end their header with ``*END*THE SMALL PRINT! ...`` and the book
with ``End of the Project Gutenberg Etext of ...``.
"""

from __future__ import annotations

import re

HEADER_CHARS = 40_000
"""Where in a text the header ends at the latest; the longest ones are half as long."""
FOOTER_CHARS = 60_000
"""Where from its end the footer begins at the earliest; the licence has 19,000 characters."""

_TITLE = r"(?:(?:[^\n]|\n(?!\s*\n)){0,400}?\*{3})?[^\n]*"  # a long title takes several lines
_STARTS = re.compile(
    rf"^[ \t]*\*{{3}} ?START OF TH(?:E|IS) PROJECT GUTENBERG{_TITLE}"
    r"|^[ \t]*\*END ?\*? ?THE SMALL PRINT![^\n]*",
    re.MULTILINE | re.IGNORECASE,
)
_END = re.compile(
    r"^[ \t]*(?:\*{3} ?END OF TH(?:E|IS) PROJECT GUTENBERG"
    r"|(?:This is the )?End of (?:the |this )?Project Gutenberg(?:['’]s)?\b"
    r"|\*{3} ?START: FULL LICENSE)",
    re.MULTILINE | re.IGNORECASE,
)
_CREDITS = re.compile(
    r"\s*(?:Produced by|E-?text prepared by|This e-?text was (?:produced|prepared) by)"
    r"(?:[^\n]|\n(?!\s*\n))*",
    re.IGNORECASE,
)


def strip_gutenberg(text: str) -> str:
    """The book between header and footer; any other text as it is.

    Args:
        text: A whole file.

    Returns:
        What stands between the two, without the line that says who produced the file and without
        blank lines round it.
    """
    starts = [found.end() for found in _STARTS.finditer(text, 0, HEADER_CHARS)]
    start = max(starts, default=0)
    if start and (credits := _CREDITS.match(text, start)):
        start = credits.end()
    end = _END.search(text, max(start, len(text) - FOOTER_CHARS))
    if not start and end is None:
        return text
    return text[start : end.start() if end else None].strip()
