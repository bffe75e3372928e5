"""Stop strings, and the text of a continuation as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpt1.config import GenerationConfig
from gpt1.generation.stopping import CompletionBuilder, StopText
from lively import small_tokenizer

TOKENIZER = small_tokenizer()
END_OF_TEXT = TOKENIZER.token_id("<|endoftext|>")

pieces = st.lists(st.text("ab\n", max_size=4), max_size=8)
stops = st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3)


def reference(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """The text before the stop string that is complete first, the longer of two."""
    for end in range(len(text) + 1):
        for one in sorted(stop, key=len, reverse=True):
            if text[:end].endswith(one):
                return text[: end - len(one)], True
    return text, False


@given(pieces, stops)
@example(["a", "b", "a"], ["aba", "b"])
@example(["aab"], ["ab", "aab"])
@example(["\n", "\n"], ["\n\n\n"])
def test_text_is_cut_at_the_first_stop_string_whatever_its_pieces(
    pieces: list[str], stop: list[str]
) -> None:
    stopping, shown = StopText(stop), ""
    for piece in pieces:
        shown += stopping.push(piece)
        if stopping.stopped:
            break
    assert (shown + stopping.flush(), stopping.stopped) == reference("".join(pieces), stop)


@given(pieces, stops)
def test_only_what_could_begin_a_stop_string_is_held_back(
    pieces: list[str], stop: list[str]
) -> None:
    stopping, shown, text = StopText(stop), "", ""
    for piece in pieces:
        text += piece
        shown += stopping.push(piece)
        if stopping.stopped:
            return
        held = text[len(shown) :]
        assert not held or any(one.startswith(held) for one in stop)


def test_without_stop_strings_text_passes_at_once() -> None:
    assert [StopText(()).push(piece) for piece in ("a", "", "bc")] == ["a", "", "bc"]


def build(prompt: str, ids: list[int], stop: Sequence[str] = (), limit: int = 99) -> Any:
    builder = CompletionBuilder(
        TOKENIZER,
        TOKENIZER.encode(prompt),
        GenerationConfig(stop=tuple(stop), max_new_tokens=limit),
    )
    for token in ids:
        builder.push(token)
        if builder.stopped:
            break
    builder.finish()
    return builder.completion


words = st.sampled_from(["the", "fox", "'", "s", ":", '"', "-", ".", "12", "30", "t", "isn", ","])
prompts = st.lists(words, max_size=6).map(" ".join)
token_ids = st.lists(st.integers(0, TOKENIZER.vocab_size - 1), max_size=12)


@settings(deadline=None)
@given(prompts, token_ids)
@example("the :", [])
@example("isn '", TOKENIZER.encode("t : the"))
def test_prompt_and_text_together_are_the_decoded_ids(prompt: str, ids: list[int]) -> None:
    completion = build(prompt, ids)
    prompt_ids = TOKENIZER.encode(prompt)
    assert completion.prompt + completion.text == TOKENIZER.decode(prompt_ids + ids)
    assert (completion.prompt_ids, completion.ids) == (prompt_ids, ids)


@settings(deadline=None)
@given(prompts, token_ids)
def test_the_prompt_keeps_its_own_characters(prompt: str, ids: list[int]) -> None:
    shown = build(prompt, ids).prompt
    assert shown.replace(" ", "") == TOKENIZER.decode(TOKENIZER.encode(prompt)).replace(" ", "")


@settings(deadline=None)
@given(prompts, token_ids, st.lists(st.sampled_from(["the", ":", "'", " ", "e f"]), max_size=2))
def test_texts_only_ever_grow(prompt: str, ids: list[int], stop: list[str]) -> None:
    config = GenerationConfig(stop=tuple(stop))
    builder = CompletionBuilder(TOKENIZER, TOKENIZER.encode(prompt), config)
    seen = [""]
    for token in ids:
        builder.push(token)
        seen.append(builder.completion.prompt + builder.completion.text)
        if builder.stopped:
            break
    builder.finish()
    seen.append(builder.completion.prompt + builder.completion.text)
    assert all(after.startswith(before) for before, after in pairwise(seen))


def test_a_stop_string_in_the_prompt_does_not_stop() -> None:
    completion = build("the fox:", TOKENIZER.encode("the dog: why"), [":"])
    assert (completion.prompt, completion.text) == ("the fox:", " the dog")
    assert completion.finish_reason == "stop"


def test_a_stop_string_may_span_tokens() -> None:
    completion = build("the", TOKENIZER.encode("quick brown fox jumps"), ["own fo"])
    assert completion.text == " quick br"


def test_an_incomplete_stop_string_is_shown_at_the_end() -> None:
    assert build("the", TOKENIZER.encode("quick brown"), ["brown fox"]).text == " quick brown"


def test_the_limit_ends_a_text_for_its_length() -> None:
    ids = TOKENIZER.encode("quick brown")
    assert build("the", ids, limit=len(ids)).finish_reason == "length"


def test_fewer_ids_than_the_limit_mean_a_stop() -> None:
    ids = TOKENIZER.encode("quick brown")
    assert build("the", ids, limit=len(ids) + 1).finish_reason == "stop"


def test_a_stop_string_at_the_limit_means_a_stop() -> None:
    ids = TOKENIZER.encode("quick brown")
    assert build("the", ids, ["brown"], limit=len(ids)).finish_reason == "stop"


def test_special_tokens_are_not_shown() -> None:
    ids = [TOKENIZER.token_id("_start_"), *TOKENIZER.encode("fox")]
    assert build("the", ids).text == " fox"


@pytest.mark.parametrize("ids", [[END_OF_TEXT], []])
def test_a_prompt_of_the_end_of_text_token_is_empty(ids: list[int]) -> None:
    builder = CompletionBuilder(TOKENIZER, [END_OF_TEXT, *ids], GenerationConfig())
    builder.finish()
    assert builder.completion.prompt + builder.completion.text == ""
