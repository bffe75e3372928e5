"""Which characters of a text became which characters of its repaired form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]

_UNITS = (re.compile(r"[^\n]*\n|[^\n]+"), re.compile(r"\s*\S+|\s+"), re.compile(r"(?s)."))
"""What is aligned, from coarse to fine: lines, words, characters."""


def align(old: str, new: str) -> list[Span]:
    """For each character of ``new`` the (start, end) of ``old`` that it came from.

    Lines are matched with lines, then words with words, where both sides have as many; of the rest,
    what both begin and end with. Stretches of equal length are taken to correspond character by
    character. What is left is one change: each of its characters came from all of it. The time is
    linear.
    """
    return list(_align(old, new, 0, 0))


def _align(old: str, new: str, offset: int, level: int) -> list[Span]:
    if len(old) == len(new):
        return [(i, i + 1) for i in range(offset, offset + len(old))]
    if level == len(_UNITS):
        return [(offset, offset + len(old))] * len(new)
    before, after = _UNITS[level].findall(old), _UNITS[level].findall(new)
    if len(before) == len(after) and level < len(_UNITS) - 1:
        pairs = list(zip(before, after, strict=True))
    else:
        pairs = _trimmed(before, after)
    spans: list[Span] = []
    for left, right in pairs:
        spans += _align(left, right, offset, level + 1)
        offset += len(left)
    return spans


def _trimmed(before: Sequence[str], after: Sequence[str]) -> list[tuple[str, str]]:
    """The units both begin with, what is between, and the units both end with."""
    begin = _in_common(before, after)
    end = _in_common(before[begin:][::-1], after[begin:][::-1])
    last = len(before) - end
    return [
        *((unit, unit) for unit in before[:begin]),
        ("".join(before[begin:last]), "".join(after[begin : len(after) - end])),
        *((unit, unit) for unit in before[last:]),
    ]


def _in_common(before: Sequence[str], after: Sequence[str]) -> int:
    """How many units both begin with."""
    pairs = zip(before, after, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
