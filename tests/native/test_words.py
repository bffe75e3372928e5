"""Words looked up by the C++ library have the ids of the plain path."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, models, normalizers
from tokenizers import Tokenizer as Rust

from gpt1.data.rows import good_rows
from gpt1.data.sources import TextSource
from gpt1.native import words
from gpt1.native.library import library
from gpt1.native.words import Vocabulary
from gpt1.text.bert_mode import BertMode
from gpt1.text.original_mode import OriginalMode
from gpt1.text.word_cache import Split, encode_words, word_model
from gpt1.tokenizer import Mode, Tokenizer

pytestmark = pytest.mark.skipif(library() is None, reason="the C++ library was not built")

LINES = [
    "I'm sure you can't... she's the U.S. dog's friend, isn't she? \"Yes!\" (No.) ''We' ' ' )",
    "Two lines\n\n  and -- a third \u2014 well\u2026 10:30 $5 8am. x:p. http://a.b/c?d=e <unk>",
    "The quick brown fox JUMPS over 13 lazy dogs. Ill. ill. Vs. vs. a. I. can't. cant. ok's.",
]
MODES = ("bert", "original")
TEXT = st.text(
    st.one_of(
        st.sampled_from(" \t\n\r\x00\x01\x0b\x0c\x1c\x7f\x85\u00a0\u2028\u3000\ufeff\ufffd"),
        st.sampled_from("aAbcdDnotsSEe.'\"-:;()<>&_=8\u2019\u201c\u2014\u2026\u00b4!?/*~#@%$"),
        st.sampled_from("\u00e9\u0301\u0130\u00df\u03a3\u4e2d\ud55c\U0001f600\u200d\ud800"),
        st.characters(),
    ),
    max_size=60,
)
WORDS = st.lists(
    st.sampled_from(" ".join(LINES).split(" ")) | st.text("aAbB.'\n", max_size=9), max_size=20
).map(" ".join)
PARTS = st.text("abé<", max_size=3)
each_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(LINES, vocab_size=170, min_frequency=1, mode="original")


@pytest.fixture(scope="module")
def openai(shared_data: Path) -> Tokenizer:
    return Tokenizer.load(shared_data / "openai-bpe")


def plainly(tokenizer: Tokenizer, mode: str) -> Tokenizer:
    """The same without the library."""
    plain = tokenizer.with_mode(mode)
    plain._encoder = plain_mode(plain)
    return plain


def plain_mode(tokenizer: Tokenizer) -> Mode:
    if tokenizer.mode == "original":
        return OriginalMode(lambda: tokenizer._marked)
    return BertMode(lambda: tokenizer._marked, json.loads(tokenizer._marked.to_str()))


def assert_same(tokenizer: Tokenizer, mode: str, texts: Sequence[str]) -> None:
    """First with nothing known, then with all."""
    fast = tokenizer.with_mode(mode)
    expected = plainly(tokenizer, mode).encode_flat(texts)
    for _ in range(2):
        found = fast.encode_flat(texts)
        assert [array.dtype for array in found] == [np.int32, np.int64]
        for array, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(array, other)


@each_mode
@given(texts=st.lists(TEXT | WORDS, max_size=6))
@settings(deadline=None, max_examples=60)
def test_any_texts_have_the_ids_of_the_plain_path(
    tokenizer: Tokenizer, mode: str, texts: list[str]
) -> None:
    assert_same(tokenizer, mode, texts)


@given(texts=st.lists(st.text(" \nab.'x:p)_", max_size=60), max_size=4))
@settings(deadline=None)
def test_unrepaired_parts_have_the_ids_of_the_plain_path(
    tokenizer: Tokenizer, texts: list[str]
) -> None:
    fast, plain = tokenizer.with_mode("original")._encoder, plain_mode(tokenizer)
    for array, other in zip(fast.encode(texts), plain.encode(texts), strict=True):
        np.testing.assert_array_equal(array, other)


@each_mode
@pytest.mark.parametrize("source", ["jokes/train.csv.gz", "tasks", "books/books-03.jsonl.xz"])
def test_some_real_texts_have_the_ids_of_the_plain_path(
    openai: Tokenizer, shared_data: Path, mode: str, source: str
) -> None:
    if source == "tasks":
        files = (shared_data / source).glob("*/*.jsonl.gz")
        texts = [text for file in files for text in strings(file)[:30]]
    else:
        texts = [text[:3_000] for text in islice(TextSource(shared_data / source), 200)]
    assert_same(openai, mode, texts)


@each_mode
@pytest.mark.slow
def test_all_real_texts_have_the_ids_of_the_plain_path(
    openai: Tokenizer, shared_data: Path, mode: str
) -> None:
    jokes = list(TextSource(shared_data / "jokes"))
    files = sorted((shared_data / "tasks").rglob("*.jsonl.gz"))
    tasks = [text for file in files for text in strings(file)]
    books = list(TextSource(shared_data / "books" / "books-05.jsonl.xz"))
    for texts in (jokes, tasks, books):
        assert_same(openai, mode, texts)


def strings(file: Path) -> list[str]:
    """Every string in the rows of a file."""
    rows = [row.values() for _, row in good_rows(file)]
    return [value for values in rows for value in values if isinstance(value, str)]


@each_mode
@pytest.mark.parametrize(
    "word", ["ab" * 40_000, "Dog" * 9, "abcdefghijklmnop", "x" * 17, "1" * 300]
)
def test_long_words_have_the_ids_of_the_plain_path(
    tokenizer: Tokenizer, mode: str, word: str
) -> None:
    assert_same(tokenizer, mode, [word, f"{word}.", f"{word}\u00e9 {word}'s", word[:-1]])


@given(
    merges=st.lists(st.tuples(PARTS, PARTS), max_size=30),
    ends=st.lists(st.booleans(), min_size=30, max_size=30),
    texts=st.lists(st.text("abé<xü", min_size=1, max_size=30), min_size=1, max_size=20),
)
@settings(deadline=None)
def test_any_merges_merge_as_in_the_tokenizers_library(
    merges: list[tuple[str, str]], ends: list[bool], texts: list[str]
) -> None:
    pairs = [(a, b + "</w>" * end) for (a, b), end in zip(merges, ends, strict=False) if a and b]
    pieces = dict.fromkeys(["<unk>", *"abé<", "a</w>", "b</w>", "é</w>"])
    for a, b in pairs:
        pieces |= dict.fromkeys([a, b, a + b])
    ids = {piece: number for number, piece in enumerate(pieces)}
    model = models.BPE(
        vocab=ids, merges=pairs, unk_token="<unk>", end_of_word_suffix="</w>", fuse_unk=False
    )
    vocabulary = Vocabulary.of(json.loads(model.__getstate__()))
    assert vocabulary is not None
    classes = bytes([words.SPACE] + [words.WORD] * 255)
    table = words.WordTable(vocabulary, words.Rules("bert", classes, nothing))
    found, sizes = table.encode("\0".join([*texts, ""]).encode())
    expected, expected_sizes = encode_words(word_model(model), texts)
    assert found.tolist() == expected.tolist()
    assert sizes.tolist() == expected_sizes.tolist()


def nothing(_: list[bytes]) -> Split:
    raise AssertionError("all can be derived")


@each_mode
def test_a_full_memory_starts_anew(
    tokenizer: Tokenizer, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, plain = tokenizer.with_mode(mode), plainly(tokenizer, mode)
    memory = fast._encoder._table._memory if fast.encode("a") else None  # type: ignore[attr-defined]
    monkeypatch.setattr(words, "MOST_WORDS", 3)
    for text in [*LINES, *LINES]:
        assert fast.encode(text) == plain.encode(text)
    assert memory is not fast._encoder._table._memory  # type: ignore[attr-defined]


@each_mode
def test_threads_share_a_table(tokenizer: Tokenizer, mode: str) -> None:
    fast, plain = tokenizer.with_mode(mode), plainly(tokenizer, mode)
    texts = [[f"{text} {number % 7}." for text in LINES] for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(fast.encode_batch, texts))
    assert found == [plain.encode_batch(batch) for batch in texts]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_does_not_wait_for_a_thread_it_has_not(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = tokenizer.with_mode("original")
    table = fast._encoder._table  # type: ignore[attr-defined]
    expected = fast.encode(LINES[0])
    inside, leave = Event(), Event()
    memory = table._memory

    def slow_split(chunks: list[bytes]) -> Split:
        inside.set()
        leave.wait()
        return split(chunks)

    split, memory.split = memory.split, slow_split
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(fast.encode, "new: words'.")
        inside.wait()
        memory.split = split
        child = os.fork()
        if not child:
            os._exit(fast.encode(LINES[0]) != expected)
        leave.set()
        assert os.waitpid(child, 0)[1] == 0
        assert busy.result() == plainly(tokenizer, "original").encode("new: words'.")


def test_added_tokens_that_are_not_special_are_left_to_the_plain_path(tokenizer: Tokenizer) -> None:
    rust = Rust.from_str(tokenizer._marked.to_str())
    rust.normalizer = normalizers.BertNormalizer(lowercase=True)
    rust.add_tokens([AddedToken("quick brown", normalized=False)])
    fast = Tokenizer(rust.to_str(), "bert")
    assert fast.encode("the quick brown fox") == rust.encode("the quick brown fox").ids


@pytest.mark.parametrize(
    "change",
    [{"dropout": 0.1}, {"fuse_unk": True}, {"ignore_merges": True}, {"vocab": {"<unk>": 0, "": 1}}],
)
def test_models_with_other_rules_are_left_to_the_plain_path(change: dict[str, object]) -> None:
    model = {"vocab": {"<unk>": 0}, "merges": [], "unk_token": "<unk>"}
    assert Vocabulary.of(model) is not None
    assert Vocabulary.of(model | change) is None


def test_without_the_library_the_plain_path_is_taken(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "library", lambda: None)
    assert tokenizer.with_mode("bert")._encoder._table is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("letters", [63, 64, 65, 300])
def test_words_too_long_for_the_library_are_split_by_rust(
    tokenizer: Tokenizer, letters: int
) -> None:
    texts = [f"a {'the' * 100}"[: letters + 2] + "'s", "x" * letters + "-" + "e" * letters + "..."]
    assert_same(tokenizer, "original", texts)
