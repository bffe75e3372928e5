"""Bulk encoding by looking up words gives the ids of the Rust pipeline."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Rust
from tokenizers import normalizers, pre_tokenizers

from gpt1.text import word_cache
from gpt1.text.bert_mode import BertMode
from gpt1.tokenizer import Tokenizer

BERT = normalizers.BertNormalizer(lowercase=True)
TEXTS = ["the old man's dog didn't bark, did it? no. (it slept!)", "a b c 1 22 333 _x_ #tag 50%"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A tokenizer that has seen every ASCII character but the rarest."""
    alphabet = [" ".join(map(chr, range(33, 126)))]
    return Tokenizer.train([*TEXTS, *alphabet], vocab_size=220, min_frequency=1)


@pytest.fixture(scope="module")
def cache(tokenizer: Tokenizer) -> BertMode:
    return BertMode(lambda: tokenizer._marked, json.loads(tokenizer._marked.to_str()))


def rust(tokenizer: Tokenizer) -> Rust:
    """The pipeline that the cache imitates."""
    pipeline = Rust.from_str(tokenizer._marked.to_str())
    pipeline.encode_special_tokens = True
    return pipeline


def rows(cache: BertMode, texts: list[str]) -> list[list[int]]:
    """The ids of each text."""
    ids, lengths = cache.look_up(texts)
    assert (ids.dtype, lengths.dtype) == (np.int32, np.int64)
    assert len(lengths) == len(texts)
    assert len(ids) == lengths.sum()
    return [row.tolist() for row in np.split(ids, np.cumsum(lengths))[:-1]]


@given(st.lists(st.text(st.characters(max_codepoint=127), max_size=40), max_size=6))
def test_plain_texts_get_the_ids_of_the_pipeline(
    tokenizer: Tokenizer, cache: BertMode, texts: list[str]
) -> None:
    plain = [text for text in texts if cache.is_plain(text)]
    expected = [rust(tokenizer).encode(text).ids for text in plain]
    assert rows(cache, plain) == expected
    assert rows(cache, plain) == expected, "looked up"


@given(st.lists(st.text("ab", min_size=1, max_size=20), max_size=30))
def test_words_are_told_apart_by_all_their_letters(
    tokenizer: Tokenizer, cache: BertMode, words: list[str]
) -> None:
    expected = [rust(tokenizer).encode(word).ids for word in words]
    assert rows(cache, words) == expected
    assert rows(cache, words) == expected, "looked up"


@pytest.mark.parametrize("length", [7, 8, 9, 15, 16, 17, 24])
def test_words_that_begin_alike_stay_apart(
    tokenizer: Tokenizer, cache: BertMode, length: int
) -> None:
    words = ["e" * length, "e" * (length - 1), "e" * (length + 1), "e" * length + "s"]
    for _ in range(2):
        assert rows(cache, words) == [rust(tokenizer).encode(word).ids for word in words]


def test_words_that_share_a_slot_stay_apart(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_cache, "_SLOT_BITS", 1)
    monkeypatch.setattr(word_cache, "_SHIFT", np.uint64(63))
    cache = BertMode(lambda: tokenizer._marked, json.loads(tokenizer._marked.to_str()))
    for _ in range(2):
        assert rows(cache, TEXTS) == [rust(tokenizer).encode(text).ids for text in TEXTS]


def test_threads_share_a_cache(tokenizer: Tokenizer) -> None:
    cache = BertMode(lambda: tokenizer._marked, json.loads(tokenizer._marked.to_str()))
    texts = [[f"{word} {i % 7}" for word in TEXTS] for i in range(64)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda batch: rows(cache, batch), texts))
    assert found == [[rust(tokenizer).encode(text).ids for text in batch] for batch in texts]


@given(st.lists(st.text(max_size=40), max_size=6))
def test_a_mixed_batch_keeps_its_order(tokenizer: Tokenizer, texts: list[str]) -> None:
    repaired = [text.encode("utf-8", "replace").decode() for text in texts]
    assert tokenizer.encode_batch(repaired) == [rust(tokenizer).encode(t).ids for t in repaired]


@pytest.mark.parametrize("text", ["café", "\x00", "a\x7fb", "“hello”", "a\x1fb"])
def test_other_texts_are_left_to_the_pipeline(cache: BertMode, text: str) -> None:
    assert not cache.is_plain(text)


def test_special_tokens_typed_as_text_stay_text(tokenizer: Tokenizer) -> None:
    marked = Tokenizer(tokenizer._marked.to_str())
    marked.add_special_tokens(["_start_"])
    assert marked.encode("_start_ <unk>") == tokenizer.encode("_start_ <unk>")
    assert marked.encode("_start_", allow_special=True) == [marked.token_id("_start_")]


def test_memory_starts_anew_when_it_is_full(
    cache: BertMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(cache, TEXTS)
    monkeypatch.setattr(word_cache, "MOST_WORDS", 3)
    assert rows(cache, TEXTS) == before
    cache.look_up(["the dog"])
    assert set(cache._cache._numbers) == {b"", b"the", b"dog"}


def test_a_pipeline_of_other_rules_is_not_imitated(tokenizer: Tokenizer) -> None:
    for change in (
        {"normalizer": normalizers.BertNormalizer(lowercase=False)},
        {"normalizer": normalizers.Sequence([normalizers.Replace("a", "b"), BERT])},
        {"pre_tokenizer": pre_tokenizers.Whitespace()},
    ):
        changed = Rust.from_str(tokenizer._marked.to_str())
        for name, value in change.items():
            setattr(changed, name, value)
        mode = BertMode(lambda: tokenizer._marked, json.loads(changed.to_str()))
        assert not mode.is_plain("plain"), change
