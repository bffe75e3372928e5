"""Counting words in bounded memory."""

from __future__ import annotations

import logging

import pytest

from gpt1.errors import TokenizerError
from gpt1.text import word_counts
from gpt1.text.vocabulary import bert_normalizer
from gpt1.text.word_counts import count_bert_words, count_original_words
from gpt1.tokenizer import Tokenizer

TEXTS = ["The dog can't. the cat\n\nA dog", "dogs... the Dog"]


def test_words_of_both_modes_are_counted() -> None:
    bert = count_bert_words(TEXTS, bert_normalizer({}))
    assert bert == {
        "the": 3, "dog": 3, "can": 1, "'": 1, "t": 1, ".": 4, "cat": 1, "a": 1, "dogs": 1,
    }  # fmt: skip
    original = count_original_words(TEXTS)
    assert original == {
        "the": 3, "dog": 3, "ca": 1, "n't": 1, ".": 1, "cat": 1, "a": 1, "dogs": 1, "...": 1,
    }  # fmt: skip


def test_counts_of_blocks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = count_bert_words(TEXTS, bert_normalizer({})), count_original_words(TEXTS)
    monkeypatch.setattr(word_counts, "BLOCK_CHARS", 1)
    assert (count_bert_words(TEXTS, bert_normalizer({})), count_original_words(TEXTS)) == whole


@pytest.mark.parametrize("mode", ["original", "bert"])
def test_the_rarest_words_are_forgotten_where_there_are_too_many(
    mode: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    texts = ["dog dog dog fox fox", "dog fox " + " ".join(f"w{chr(97 + i)}" for i in range(20))]
    monkeypatch.setattr(word_counts, "BLOCK_CHARS", 10)
    monkeypatch.setattr(word_counts, "MOST_WORDS", 8)
    with caplog.at_level(logging.WARNING):
        trained = Tokenizer.train(texts, merges=20, mode=mode)
    assert "more than 8 different words: those seen 1 times or less so far" in caplog.text
    assert trained.pieces(trained.encode("dog fox")) == ["dog</w>", "fox</w>"]
    assert "w" not in trained.pieces(range(len(trained)))


def test_a_limit_that_is_not_reached_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Tokenizer.train(TEXTS, merges=9, mode="original").fingerprint
    monkeypatch.setattr(word_counts, "MOST_WORDS", 9)
    assert Tokenizer.train(TEXTS, merges=9, mode="original").fingerprint == before


def test_texts_without_words_are_refused() -> None:
    with pytest.raises(TokenizerError, match="hold no word"):
        count_original_words(["\n"])
