"""Which characters of a text became which of its repaired form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt1.text.alignment import align


def spans(old: str, new: str) -> list[str]:
    return [old[start:end] for start, end in align(old, new)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("dog", "dog", ["d", "o", "g"]),
        ("\u201cdog\u201d", '"dog"', ["\u201c", "d", "o", "g", "\u201d"]),
        ("a xyz b", "a w b", ["a", " ", "xyz", " ", "b"]),
        ("a xyzb", "a b", ["a", " ", "b"]),
        ("a \ufb01t", "a fit", ["a", " ", "\ufb01", "\ufb01", "t"]),
        ("a xyz w\nq", "a r\nq", ["a", " ", "xyz w", "\n", "q"]),
        ("", "ab", ["", ""]),
        ("ab", "", []),
    ],
)
def test_changes_are_found_and_the_rest_is_matched(old: str, new: str, expected: list[str]) -> None:
    assert spans(old, new) == expected


@given(st.text("ab \n", max_size=30), st.text("ab \n", max_size=30))
def test_spans_are_inside_in_order_and_one_a_character(old: str, new: str) -> None:
    found = align(old, new)
    assert len(found) == len(new)
    assert all(0 <= start <= end <= len(old) for start, end in found)
    assert found == sorted(found)


def test_a_long_text_with_a_change_in_each_line_is_aligned() -> None:
    old = "the dog &amp; the cat sat\n" * 20_000
    new = old.replace("&amp;", "&")
    assert spans(old, new)[-4:] == ["s", "a", "t", "\n"]
