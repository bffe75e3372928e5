"""Which columns of a table of one's own hold the texts, the options and the label."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from gpt1.data.columns import COLUMN_NAMES
from gpt1.errors import DataError
from gpt1.tasks.task import Row

TEXT_NAMES = (*COLUMN_NAMES, "review", "message", "comment", "tweet", "question", "headline")
PAIR_NAMES = (
    ("first", "second"),
    *((f"{word}1", f"{word}2") for word in ("sentence", "text", "question")),
    *((f"{word}_a", f"{word}_b") for word in ("sentence", "text")),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("query", "passage"),
)
CONTEXT_NAMES = ("context", "question", "passage", "story", "prompt", "premise", "text", "sentence")
OPTIONS_NAMES = ("options", "choices", "endings")
LABEL_NAMES = (
    *("label", "labels", "class", "category", "target", "gold_label", "answer"),
    *("score", "stars", "rating", "sentiment"),
)
"""Names columns usually have, best first."""

ROLE = re.compile(r"text|first|second|context|options|option\d+|label|value")
OPTION = re.compile(r"(option|choice|ending|answer)[ _]?(\d+|[a-z])", re.IGNORECASE)
NO_TEXT = re.compile(r"id|index|idx|.*_id|unnamed.*|", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """Which column holds what.

    Attributes:
        texts: Columns of texts: one, or two of a pair, or of a choice its context.
        options: Columns of the options of a choice, or the one that holds a list of them.
        label: Column of the label; empty where there is none.
        is_value: Whether the label is said to be a value and not a class.
    """

    texts: tuple[str, ...]
    options: tuple[str, ...]
    label: str
    is_value: bool = False


class _Table:
    """The columns of a table that have no role yet."""

    def __init__(self, rows: Sequence[Row], named: Mapping[str, str]) -> None:
        self.rows = rows
        self.all = list(dict.fromkeys(name for row in rows for name in row))
        taken = set(named.values())
        self.free = [name for name in self.all if name not in taken]

    def take(self, *names: str) -> tuple[str, ...]:
        """Columns of these names, whatever their case; nothing if one of them is not free."""
        by_lower = {name.lower(): name for name in reversed(self.free)}
        found = tuple(by_lower[name] for name in names if name in by_lower)
        if len(found) < len(names):
            return ()
        self.free = [name for name in self.free if name not in found]
        return found

    def take_first(self, *names: str) -> tuple[str, ...]:
        """The column of the first of these names that is free."""
        return next(filter(None, map(self.take, names)), ())

    def take_only(self, *, text: bool) -> tuple[str, ...]:
        """The one free column, of those that hold texts where one is wanted."""
        free = [name for name in self.free if not NO_TEXT.fullmatch(name)]
        if text:
            free = [name for name in free if self._holds_texts(name)]
        return self.take(free[0].lower()) if len(free) == 1 else ()

    def holds_lists(self, name: str) -> bool:
        """Whether the first value of a column is a list."""
        return isinstance(next((row[name] for row in self.rows if name in row), None), list)

    def _holds_texts(self, name: str) -> bool:
        values = [row[name] for row in self.rows if row.get(name) not in (None, "")]
        return bool(values) and not all(map(is_number, values)) and isinstance(values[0], str)


def is_number(value: Any) -> bool:
    """Whether it is a number, or a string of one; not a finite one is none."""
    try:
        return abs(float(value)) < float("inf")
    except (TypeError, ValueError):
        return False


def choose_columns(
    rows: Sequence[Row], named: Mapping[str, str] | None = None, *, need_label: bool = True
) -> Columns:
    """Find out which column holds what.

    Args:
        rows: Of the table, at least one.
        named: Columns as the user names them, by "text", or "first" and "second", or "context" and
            "options" or "option1", "option2" and so on, and "label", or "value" for a number to
            predict. Those that are not named are found: by their usual names, else as the only ones
            left.
        need_label: Refuse a table without a label.

    Raises:
        DataError: If a named column is not there, or they cannot be found.
    """
    named = dict(named or {})
    if not need_label:
        there = {name for row in rows for name in row}
        named = {r: n for r, n in named.items() if r not in ("label", "value") or n in there}
    table = _Table(rows, named)
    _check_names(named, table.all)
    label = tuple(named[role] for role in ("label", "value") if role in named)[:1]
    label = label or table.take_first(*LABEL_NAMES)
    texts, options = _named_texts(named)
    if not texts and not options:
        options = _options(table)
        texts = _texts(table, is_choice=bool(options))
    elif not texts:
        texts = _texts(table, is_choice=True)
    elif "context" in named:
        options = options or _options(table)
    label = label or (table.take_only(text=False) if need_label else ())
    missing = "text" if not texts else "label" if need_label and not label else "options"
    if not texts or (need_label and not label) or ("context" in named and not options):
        raise DataError(
            f"cannot tell which column is the {missing}; the columns are {', '.join(table.all)}; "
            "name them, for example text=review,label=stars, or first=a,second=b,label=c, or "
            "context=a,option1=b,option2=c,label=d"
        )
    return Columns(texts, options, label[0] if label else "", "value" in named)


def _check_names(named: Mapping[str, str], columns: Sequence[str]) -> None:
    for role, column in named.items():
        if not ROLE.fullmatch(role):
            raise DataError(
                f"{role!r} is nothing a column can be; it can be text, first, second, context, "
                "options, option1 (and so on), label or value"
            )
        if column not in columns:
            raise DataError(
                f"there is no column {column!r}; the columns are {', '.join(map(str, columns))}"
            )
    kinds = {role.rstrip("0123456789") for role in named}
    if len({"first", "second"} & kinds) == 1 or ("option" in kinds and "option2" not in named):
        raise DataError("name both texts, first and second, and at least option1 and option2")
    for one, other in combinations(("text", "first", "context"), 2):
        if {one, other} <= kinds:
            raise DataError(f"a table has either {one} or {other}, but columns of both are named")


def _named_texts(named: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns of texts and of options the user named."""
    numbered = sorted((r for r in named if re.fullmatch(r"option\d+", r)), key=lambda r: int(r[6:]))
    texts = tuple(named[role] for role in ("text", "first", "second", "context") if role in named)
    return texts, tuple(named[role] for role in (*numbered, "options") if role in named)


def _options(table: _Table) -> tuple[str, ...]:
    """Columns of options: one of lists, or at least two that are numbered or lettered alike."""
    for name in OPTIONS_NAMES:
        if any(free.lower() == name and table.holds_lists(free) for free in table.free):
            return table.take(name)
    found = [(m[1].lower(), m[2].rjust(3), m[0]) for m in map(OPTION.fullmatch, table.free) if m]
    alike = [name for word, _, name in sorted(found) if word == found[0][0]]
    return table.take(*map(str.lower, alike)) if len(alike) > 1 else ()


def _texts(table: _Table, *, is_choice: bool) -> tuple[str, ...]:
    if is_choice:
        return table.take_first(*CONTEXT_NAMES) or table.take_only(text=True)
    pair = next(filter(None, (table.take(*names) for names in PAIR_NAMES)), ())
    return pair or table.take_first(*TEXT_NAMES) or table.take_only(text=True)
