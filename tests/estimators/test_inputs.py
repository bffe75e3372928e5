"""What cannot be X, and what is said about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from gpt1.errors import DataError
from gpt1.estimators.inputs import choices, labels, pairs, texts
from gpt1.tasks.example import choice

TWO = pd.DataFrame({"a": ["x"], "b": ["y"]})


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ("a text", r"X is one str \('a text'\) but must be a list of texts, such as \[text\]"),
        (None, "X is None but must be a list of texts"),
        ({"a": 1}, "X is one dict .* but must be a list of texts"),
        (3, r"one int \(3\) was passed where a list, an array, a column or a frame is read"),
        (["a", None], r"X\[1\] is None \(NoneType\) but must be a text; fill or leave out rows"),
        (pd.Series(["a", np.nan]), r"X\[1\] is nan \(float\) but must be a text"),
        (pl.Series(["a", None]), r"X\[1\] is None \(NoneType\) but must be a text"),
        ([b"a"], r"X\[0\] is b'a' \(bytes\) but must be a text"),
        ([["a"]], r"X\[0\] is \['a'\] \(list\) but must be a text"),
        (TWO, r"X has 2 columns \(a, b\) but one text a row is read; pass one of them, such as"),
        (np.zeros((3, 2)), r"X has 2 columns \(0, 1\) but one text a row is read"),
    ],
)
def test_what_is_not_texts_is_refused(x: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        texts(x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ("a text", "X is one str .* but must be a list of pairs, such as"),
        (["ab"], r"X\[0\] is 'ab' but must be two texts, \(first, second\)"),
        ([("a", "b", "c")], r"X\[0\] is \('a', 'b', 'c'\) but must be two texts"),
        ([3], r"X\[0\] is 3 but must be two texts"),
        ([("a", None)], r"X\[0\]\[1\] is None \(NoneType\) but must be a text"),
        (TWO[["a"]], r"X has 1 columns \(a\) but two texts a row are read"),
    ],
)
def test_what_is_not_pairs_is_refused(x: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pairs(x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ("a text", "X is one str .* but must be a list of choices"),
        (["ab"], r"X\[0\] is 'ab' but must be \(context, \[option, ...\]\)"),
        ([("a", "bc")], r"X\[0\] has 'bc' where a list of texts is read"),
        ([("a", ["b"])], r"X\[0\]: a choice has 1 options but needs at least 2"),
        ([("a", ["b", 3])], r"an option of X\[0\] is 3 \(int\) but must be a text"),
        ([(None, ["b", "c"])], r"the context of X\[0\] has None where a list of texts is read"),
        ([{"context": "a", "options": None}], "cannot tell which columns are the options; the col"),
        ([{"context": "a"}], "cannot tell which columns are the options; the columns are context"),
    ],
)
def test_what_is_not_choices_is_refused(x: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        choices(x)


def test_a_choice_may_be_a_row_of_an_array() -> None:
    rows = np.empty((1, 2), object)
    rows[0] = "a", ["b", "c"]
    assert choices(rows) == [choice("a", ["b", "c"])]


def test_labels_are_plain_values() -> None:
    found = labels(np.array([1, 2], np.int8), 2)
    assert [type(label) for label in found] == [int, int]
    assert labels(pl.Series([True]), 1) == [True]
