"""Repairs text as GPT-1's pipeline did first (paper, section 4.1): as ``ftfy.fix_text`` does.

The result equals ftfy 6.3's with default settings, which undoes mojibake, HTML entities, odd
character widths, ligatures, curly quotes, line breaks and control characters, line by line.
"""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from html.entities import html5
from itertools import groupby

from gpt1.text import mojibake

MAX_SEGMENT = 1_000_000
"""Characters of a line that are repaired together; longer lines are cut."""

_QUOTES = {**dict.fromkeys("\u02bc‘’‚‛", "'"), **dict.fromkeys("“”„‟", '"')}
_LIGATURES = (
    {"Ĳ": "IJ", "ĳ": "ij", "ŉ": "'n", "Ǆ": "DŽ", "ǅ": "Dž", "ǆ": "dž", "Ǉ": "LJ", "ǈ": "Lj"}
    | {"ǉ": "lj", "Ǌ": "NJ", "ǋ": "Nj", "ǌ": "nj", "Ǳ": "DZ", "ǲ": "Dz", "ǳ": "dz"}
    | {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "ſt", "ﬆ": "st"}
)
_WIDTHS = {char: unicodedata.normalize("NFKC", char) for char in map(chr, range(0xFF01, 0xFFF0))}
_REPLACEMENTS = str.maketrans(
    {**_WIDTHS, **_LIGATURES, **_QUOTES, "\u3000": " ", **dict.fromkeys("\r\u2028\u2029", "\n")}
)

_ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,24};")
_TERMINAL_ESCAPE = re.compile(r"\x1b\[[\d;]*[a-zA-Z]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]")
_LONG_MARKS = re.compile(r"[^\w\x00-\u02ff]{128,}")

_PLAIN = bytes([*b"\t\n\f", *range(0x20, 0x7F)]).replace(b"&", b"")
# Ranges of letters and signs that no step but the quotes' and the encoding's changes, alone or by
# composing with a neighbour. It need not be complete: a line with others is only slower.
_STABLE = (
    "\xa0-\u0131\u0134-\u0148\u014a-\u01c3\u01cd-\u01f0\u01f4-\u02ff\u0388-\u0482\u048a-\u052f"
    "\u2002-\u2027\u202a-\u2069\u2070-\u20cf\u2100-\u2125\u212c-\u2328\u2500-\u27ff"
    "\u3001-\u3029\u3030-\u3098\u309b-\u30ff\u3400-\u9fff\uac00-\ud7a3\U0001f300-\U0001faff"
)


def repair(text: str) -> str:
    r"""Makes text what its author meant, as far as one can tell.

    Args:
        text: Any text, in any script; lone surrogates are allowed.

    Returns:
        The text in Unicode normal form C with straight quotes, ``\n`` line breaks and no
        mojibake. HTML entities are decoded up to the first line that has a ``<``.
    """
    if not needs_repair(text):
        return text
    pieces = []
    first_tag = text.find("<")
    done = 0
    while suspect := _suspicious().search(text, done):
        start, end = _segment_around(text, done, suspect.start())
        has_entities = not 0 <= first_tag < end
        pieces += [_straighten(text[done:start]), _repair_segment(text[start:end], has_entities)]
        done = end
    return "".join([*pieces, _straighten(text[done:])])


def _segment_around(text: str, done: int, position: int) -> tuple[int, int]:
    """The line, or part of a long line, that has the position; ``done`` ends a segment."""
    line = text.rfind("\n", done, position) + 1 or done
    start = position - (position - line) % MAX_SEGMENT
    end = text.find("\n", start, start + MAX_SEGMENT) + 1
    return start, end or min(start + MAX_SEGMENT, len(text))


def _straighten(text: str) -> str:
    for curly, straight in _QUOTES.items():
        text = text.replace(curly, straight)
    return text


def _repair_segment(text: str, has_entities: bool) -> str:
    budget = mojibake.passes()
    for _ in budget:
        fixed = _ENTITY.sub(_unescape, text) if has_entities else text
        fixed = mojibake.undo_mojibake(fixed, budget)
        fixed = mojibake.replace_c1_controls(fixed)
        fixed = fixed.replace("\r\n", "\n").translate(_REPLACEMENTS)
        fixed = _join_surrogates(fixed)
        fixed = _CONTROL.sub("", _TERMINAL_ESCAPE.sub("", fixed))
        fixed = _compose(fixed)
        if fixed == text:
            break
        text = fixed
    return text


def _unescape(match: re.Match[str]) -> str:
    entity = match[0]
    name = entity[1:]
    if name in html5:
        return html5[name]
    unescaped = html.unescape(entity)
    if name.startswith("#"):
        return entity if ";" in unescaped else unescaped
    # Names that somebody upper-cased with the text: P&EACUTE;REZ.
    shouted = name.isupper() and unescaped == entity
    return html5.get(name.lower(), entity).upper() if shouted else entity


def _join_surrogates(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _compose(text: str) -> str:
    # Python orders marks by insertion, in quadratic time where many stand in a row.
    return unicodedata.normalize("NFC", _LONG_MARKS.sub(_order_marks, text))


def _order_marks(match: re.Match[str]) -> str:
    marks = "".join(unicodedata.normalize("NFD", mark) for mark in match[0])
    stretches = groupby(marks, key=lambda mark: unicodedata.combining(mark) == 0)
    return "".join(
        mark for _, stretch in stretches for mark in sorted(stretch, key=unicodedata.combining)
    )


def needs_repair(text: str) -> bool:
    """Whether `repair` may change a text; False for most English ones without ``&``."""
    return not text.isascii() or bool(text.encode().translate(None, _PLAIN))


@functools.cache
def _suspicious() -> re.Pattern[str]:
    """Finds what may need more than straight quotes; begins with a class, so search is fast."""
    entity = _ENTITY.pattern.replace("&", "(?<=&)", 1)
    return re.compile(rf"[^\t\n\f -%'-~](?:(?<=[^&{_STABLE}])|{entity}|{mojibake.HINT})")
