"""Which columns hold what."""

from __future__ import annotations

from typing import Any

import pytest

from gpt1.errors import DataError
from gpt1.tasks.columns import Columns, choose_columns

TABLES: list[tuple[dict[str, Any], dict[str, str], Columns]] = [
    ({"text": "a", "label": "x"}, {}, Columns(("text",), (), "label")),
    ({"ID": "1", "Review": "a", "Stars": "5"}, {}, Columns(("Review",), (), "Stars")),
    ({"id": "1", "words": "a", "kind": 3}, {}, Columns(("words",), (), "kind")),
    ({"": "0", "note": "a", "label": "x"}, {}, Columns(("note",), (), "label")),
    ({"title": "t", "text": "a", "label": "x"}, {}, Columns(("text",), (), "label")),
    ({"a": "x y", "b": "x", "c": "z"}, {"text": "a", "label": "c"}, Columns(("a",), (), "c")),
    ({"a": "x y", "stars": 4}, {"value": "stars"}, Columns(("a",), (), "stars", True)),
    ({"text": "x", "label": "1", "n": 4}, {"label": "n"}, Columns(("text",), (), "n")),
    (
        {"text": "x", "body": "y", "odd": 4},
        {"text": "body", "label": "odd"},
        Columns(("body",), (), "odd"),
    ),
    (
        {"sentence1": "a", "sentence2": "b", "label": 1},
        {},
        Columns(("sentence1", "sentence2"), (), "label"),
    ),
    (
        {"hypothesis": "a", "premise": "b", "gold_label": "x"},
        {},
        Columns(("premise", "hypothesis"), (), "gold_label"),
    ),
    (
        {"question": "a", "sentence": "b", "label": "x"},
        {},
        Columns(("question", "sentence"), (), "label"),
    ),
    (
        {"a": "x", "b": "y", "score": 0.5},
        {"first": "b", "second": "a"},
        Columns(("b", "a"), (), "score"),
    ),
    (
        {"context": "a", "options": ["b", "c"], "label": 1},
        {},
        Columns(("context",), ("options",), "label"),
    ),
    (
        {"Story": "a", "ending2": "c", "ending1": "b", "label": 1},
        {},
        Columns(("Story",), ("ending1", "ending2"), "label"),
    ),
    (
        {"stem": "a", "option a": "b", "option b": "c", "answer": "A"},
        {},
        Columns(("stem",), ("option a", "option b"), "answer"),
    ),
    (
        {"q": "a", **{f"option{n}": "x" for n in (10, 9, 1)}, "label": 1},
        {},
        Columns(("q",), ("option1", "option9", "option10"), "label"),
    ),
    (
        {"q": "a", "x": "b", "y": "c", "r": "1"},
        {"context": "q", "option1": "y", "option2": "x", "label": "r"},
        Columns(("q",), ("y", "x"), "r"),
    ),
    ({"q": "a", "o": ["b"], "r": 0}, {"options": "o"}, Columns(("q",), ("o",), "r")),
    ({"q": "a", "choices": ["b"], "r": 0}, {"context": "q"}, Columns(("q",), ("choices",), "r")),
]


@pytest.mark.parametrize(("row", "named", "columns"), TABLES)
def test_columns_are_found_by_what_is_named_by_usual_names_or_as_the_only_ones_left(
    row: dict[str, Any], named: dict[str, str], columns: Columns
) -> None:
    assert choose_columns([row], named) == columns


@pytest.mark.parametrize(
    ("row", "named", "missing"),
    [
        ({"a": "x", "b": "y", "label": "z"}, {}, "text"),
        ({"a": 1, "label": "z"}, {}, "text"),
        ({"text": "x", "a": "y", "b": "z"}, {}, "label"),
        ({"text": "x"}, {}, "label"),
        ({"q": "x", "a": "y", "label": "z"}, {"context": "q"}, "options"),
    ],
)
def test_what_cannot_be_told_is_an_error_that_shows_how_to_name_it(
    row: dict[str, Any], named: dict[str, str], missing: str
) -> None:
    problem = (
        f"cannot tell which column is the {missing}; the columns are {', '.join(row)}; name them, "
        "for example text=review,label=stars"
    )
    with pytest.raises(DataError, match=problem):
        choose_columns([row], named)


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ({"text": "c"}, "there is no column 'c'; the columns are a, b"),
        ({"label": "c"}, "there is no column 'c'; the columns are a, b"),
        ({"texts": "a"}, "'texts' is nothing a column can be; it can be text, first, second, con"),
        ({"first": "a"}, "name both texts, first and second, and at least option1 and option2"),
        ({"option1": "a"}, "name both texts, first and second, and at least option1 and option2"),
        ({"text": "a", "context": "b"}, "a table has either text or context, but columns of both"),
    ],
)
def test_columns_that_are_named_wrongly_are_refused(named: dict[str, str], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        choose_columns([{"a": "x", "b": "y"}], named)


def test_a_column_that_some_rows_lack_is_a_column() -> None:
    rows = [{"text": "a"}, {"text": "b", "label": 1}]
    assert choose_columns(rows) == Columns(("text",), (), "label")
