"""A bad word is out of reach however it would be spelled; nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt1.generation.bad_words import BadWords

LETTERS = "ab'"
PIECES = [
    letters + end for letters in [*LETTERS, "ab", "ba", "aa", "aba", "bab'"] for end in ("", "</w>")
]


def spelled(ids: list[int]) -> list[str]:
    """The words of a text; the last may be unfinished."""
    return "".join(PIECES[token] for token in ids).removesuffix("</w>").split("</w>")


def ends_with(ids: list[int], bad: str) -> bool:
    """Whether the last words of a text are, together, a bad word."""
    words = spelled(ids)
    return any("".join(words[i:]) == bad for i in range(len(words)))


texts = st.lists(st.integers(0, len(PIECES) - 1), max_size=8)
words = st.lists(st.text(LETTERS, min_size=1, max_size=5), min_size=1, max_size=3)


@given(texts, words)
def test_exactly_what_would_complete_a_bad_word_is_forbidden(
    ids: list[int], bad: list[str]
) -> None:
    _, forbidden = BadWords(bad, PIECES).forbidden(ids, is_last=False)
    for token, piece in enumerate(PIECES):
        completes = any(ends_with([*ids, token], word) for word in bad)
        assert (token in forbidden) == (completes and piece.endswith("</w>"))


@given(texts, words)
def test_the_last_token_may_not_leave_an_unfinished_bad_word(
    ids: list[int], bad: list[str]
) -> None:
    _, forbidden = BadWords(bad, PIECES).forbidden(ids, is_last=True)
    for token in range(len(PIECES)):
        assert (token in forbidden) == any(ends_with([*ids, token], word) for word in bad)


@given(texts, words)
def test_a_text_may_not_end_in_an_unfinished_bad_word(ids: list[int], bad: list[str]) -> None:
    may_end, _ = BadWords(bad, PIECES).forbidden(ids, is_last=False)
    is_open = bool(ids) and not PIECES[ids[-1]].endswith("</w>")
    assert may_end == (not is_open or not any(ends_with(ids, word) for word in bad))


@pytest.mark.parametrize("text", [["ab", "ab</w>"], ["b", "ab</w>"], ["ab", "b</w>"]])
def test_a_longer_word_that_holds_a_bad_one_is_free(text: list[str]) -> None:
    *before, last = [PIECES.index(piece) for piece in text]
    assert last not in BadWords(["ab"], PIECES).forbidden(before, is_last=False)[1]
