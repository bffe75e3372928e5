"""What is held out: with what is trained on it is the whole text, and its share is the one set."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gpt1.data.held_out import HeldOut

FRACTIONS = st.floats(0, 0.5)


@given(st.text(), FRACTIONS, st.integers(1, 500), st.data())
def test_both_parts_are_the_text_and_no_word_is_cut(
    text: str, fraction: float, documents: int, data: st.DataObject
) -> None:
    number = data.draw(st.integers(1, documents))
    train, valid = HeldOut(fraction, documents).parts(number, text)
    assert train + valid == text
    assert not (train and valid) or valid[0] in " \n"


@given(FRACTIONS, st.integers(1, 400))
def test_the_documents_that_are_held_out_are_as_many_as_the_share_says(
    fraction: float, documents: int
) -> None:
    rule = HeldOut(fraction, documents)
    held = [number for number in range(1, documents + 1) if not rule.parts(number, "a b" * 9)[0]]
    if 0 < fraction * documents < 1:
        assert held == []
    else:
        assert len(held) == int(documents * fraction)
        gaps = {b - a for a, b in pairwise(held)}
        assert not gaps or max(gaps) - min(gaps) <= 1, "they are spread evenly"


@given(st.integers(1, 99), st.lists(st.sampled_from(["word", "a"]), min_size=60, max_size=300))
def test_of_few_documents_the_last_part_is_held_out(documents: int, words: list[str]) -> None:
    text = " ".join(words)
    train, valid = HeldOut(0.01, documents).parts(1, text)
    wanted = Fraction(len(text), 100)
    assert wanted <= len(valid) <= wanted + 6, "up to a word more, since none is cut"
    assert train
