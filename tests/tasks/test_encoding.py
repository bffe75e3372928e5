"""Token ids of examples: the paper's layouts, and what is cut where a text is too long."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt1.errors import DataError
from gpt1.tasks.encoding import Special, common_length, encode_examples
from gpt1.tasks.example import Example, choice, pair, similarity, text
from gpt1.tokenizer import Tokenizer
from tasks.worlds import WORDS, examples, new_tokenizer

TOKENIZER = new_tokenizer()
S, D, E = (TOKENIZER.token_id(name) for name in ("_start_", "_delimiter_", "_classify_"))


def ids(words: str) -> tuple[int, ...]:
    return tuple(TOKENIZER.encode(words))


def encode(example: Example, n_positions: int = 512) -> tuple[tuple[int, ...], ...]:
    [encoded], _ = encode_examples([example], TOKENIZER, n_positions)
    return encoded.sequences


# Layouts (GPT-1 section 3.3)


def test_a_text_stands_between_start_and_extract() -> None:
    assert encode(text("the old cat")) == ((S, *ids("the old cat"), E),)


def test_a_pair_has_a_delimiter() -> None:
    assert encode(pair("the cat", "a dog")) == ((S, *ids("the cat"), D, *ids("a dog"), E),)


def test_a_similarity_has_both_orders() -> None:
    a, b = ids("the cat"), ids("a dog")
    assert encode(similarity("the cat", "a dog")) == ((S, *a, D, *b, E), (S, *b, D, *a, E))


def test_a_choice_has_a_sequence_for_each_option_and_no_token_between_parts_of_the_context() -> (
    None
):
    [encoded], _ = encode_examples([choice(("the sea", "red"), ["cat", "old dog"])], TOKENIZER, 512)
    context = (S, *ids("the sea"), *ids("red"), D)
    assert encoded.sequences == ((*context, *ids("cat"), E), (*context, *ids("old dog"), E))
    assert encoded.shared == len(context)


def test_other_tokens_can_stand_in_the_places_of_the_special_ones() -> None:
    bare = Tokenizer.train([" ".join(WORDS)] * 4, vocab_size=120)
    [encoded], _ = encode_examples([pair("the cat", "a dog")], bare, 512, Special(-1, -2, -3))
    assert encoded.sequences == ((-1, *ids("the cat"), -2, *ids("a dog"), -3),)


def test_story_cloze_has_the_arrays_of_the_released_code() -> None:
    """Ids, positions and mask as the released fine-tuning script lays them out."""
    stories = [
        ("the cat sees the sea and likes the sea", "the cat likes a dog", "a man hears"),
        ("a dog " * 30, "old " * 3, "red " * 30),
    ]
    n_positions, max_len = 40, 40 // 2 - 2
    encoded, _ = encode_examples(
        [choice(story, [one, other]) for story, one, other in stories], TOKENIZER, n_positions
    )
    for (story, one, other), example in zip(stories, encoded, strict=True):
        if len(ids(story)) > max_len or len(ids(other)) > max_len:
            continue  # there the released code cuts the ending, and this package does not
        for ending, sequence in zip((one, other), example.sequences, strict=True):
            authors = [S, *ids(story)[:max_len], D, *ids(ending)[:max_len], E]
            x = np.zeros((n_positions, 2), np.int64)
            x[: len(authors), 0] = authors
            x[:, 1] = np.arange(n_positions)
            mask = np.zeros(n_positions)
            mask[: len(authors)] = 1
            assert x[: int(mask.sum()), 0].tolist() == list(sequence)
            assert x[: int(mask.sum()), 1].tolist() == list(range(len(sequence)))


# Truncation


def test_two_long_texts_keep_the_254_tokens_of_the_authors_code() -> None:
    [sequence] = encode(pair("cat " * 300, "dog " * 400))
    cat, dog = ids("cat")[0], ids("dog")[0]
    assert (sequence.count(cat), sequence.count(dog)) == (254, 254)
    assert len(sequence) == 511


def test_a_short_text_leaves_its_share_to_the_other() -> None:
    [sequence] = encode(pair("cat " * 3, "dog " * 90), n_positions=40)
    assert len(sequence) == 40
    assert sequence.count(ids("dog")[0]) == 34


def test_options_and_question_are_kept_and_the_passage_is_cut() -> None:
    example = choice(("sea " * 200, "the old man"), ["red cat", "a dog " * 10])
    for sequence, option in zip(
        encode(example, 60), (ids("red cat"), ids("a dog " * 10)), strict=True
    ):
        assert sequence[-1 - len(option) :] == (*option, E)
        assert ids("the old man") == sequence[-5 - len(option) : -2 - len(option)]
    assert max(map(len, encode(example, 60))) == 60


def test_what_was_cut_is_counted() -> None:
    _, cut = encode_examples([text("cat " * 10), text("cat " * 50)], TOKENIZER, 22)
    assert (cut.examples, cut.cut, cut.tokens, cut.tokens_cut) == (2, 1, 60, 30)
    assert str(cut) == "1 of 2 examples are too long for the model and lose 50.0% of all tokens"
    _, cut = encode_examples([text("cat")], TOKENIZER, 22)
    assert str(cut) == "no example is too long"


@given(example=examples(longest=40), n_positions=st.integers(8, 30))
def test_every_sequence_fits_and_loses_only_ends(example: Example, n_positions: int) -> None:
    whole = encode(example)
    cut = encode(example, n_positions)
    assert max(map(len, cut)) <= n_positions
    if max(map(len, whole)) <= n_positions:
        assert cut == whole
    for sequence, before in zip(cut, whole, strict=True):
        assert [t for t in sequence if t in (S, D, E)] == [t for t in before if t in (S, D, E)]
        remaining: Any = iter(before)
        assert all(token in remaining for token in sequence), "a subsequence"


def test_a_model_without_room_is_refused() -> None:
    with pytest.raises(DataError, match="n_positions is 4, which has no room for 2 texts"):
        encode(pair("cat", "dog"), n_positions=4)


@given(lengths=st.lists(st.integers(0, 30), min_size=1, max_size=6), room=st.integers(1, 100))
def test_the_common_length_is_the_largest_that_fits(lengths: list[int], room: int) -> None:
    if sum(lengths) <= room:
        return
    best = common_length(lengths, room)

    def size(longest: int) -> int:
        return sum(min(length, longest) for length in lengths)

    assert size(best) <= room < size(best + 1)


def test_words_of_the_world_are_one_token_each() -> None:
    assert all(len(ids(word)) == 1 for word in WORDS)
