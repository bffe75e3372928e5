"""Mode ``original`` gives the ids of the authors' pipeline: ftfy, their rules, spaCy, their BPE."""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import pickle
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpt1.tokenizer
from gpt1.errors import ConfigError, TokenizerError
from gpt1.pretokenize import words
from gpt1.text import original_mode, word_cache
from gpt1.text.original_mode import OriginalMode
from gpt1.tokenizer import Tokenizer

NEWLINE_ID = 40477
SPECIAL = ["_start_", "<|endoftext|>"]
TEXTS = [
    "I'm sure you can't... she's the U.S. dog's friend, isn't she? \"Yes!\" (No.)",
    "Two lines\n\n  and -- a third \u2014 well\u2026",
] * 3
HOSTILE = st.text(
    st.one_of(
        st.sampled_from(" \t\n\r\x00\x0c\x1c\x85\u00a0\u2028\u2003\u3000\ud83d\ude00\ud800\ufeff"),
        st.sampled_from("aAbcdDnotsSEe.'\"-:;()<>&_=8\u2019\u201c\u2014\u2026\u00b4!?/*~#@%$"),
        st.sampled_from(
            "\u00e9\u0301\u0130\u00df\u03a3\u05d0\u0661\u4e2d\ud55c\U0001f600\u200d\u00c3"
        ),
        st.characters(),
    ),
    max_size=60,
)
ENGLISH_CHUNKS = """
I'm can't don't. cannot ca n't U.S. Mr. e.g. ... \u2026 -- \u2014 :) :-) '' 'em ''We "so" 10:30
$5.00 1,234 well-known and/or x_y hello.World (a) a.m. 8am gonna Ma'am o'clock it\u2019s &amp; <b>
\u00e2\u20ac\u2122 http://a.b/c?d=e a@b.com
"""
ENGLISH = st.lists(
    st.sampled_from([*ENGLISH_CHUNKS.split(), "\n", "\n\n", "\u00a0", ""]), max_size=12
).map(" ".join)


@pytest.fixture(scope="module")
def openai(shared_data: Path) -> Tokenizer:
    return Tokenizer.load(shared_data / "openai-bpe")


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    """A small vocabulary of this mode."""
    tokenizer = Tokenizer.train(TEXTS, vocab_size=150, min_frequency=1, mode="original")
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


@pytest.fixture(scope="module")
def authors(shared_data: Path) -> Callable[[str], list[int]]:
    """The authors' pipeline over the libraries they used, in today's versions."""
    ftfy = pytest.importorskip("ftfy")
    spacy = pytest.importorskip("spacy")
    split = spacy.blank("en").tokenizer
    folder = shared_data / "openai-bpe"
    ids: dict[str, int] = json.loads((folder / "encoder_bpe_40000.json").read_text("utf-8"))
    lines = (folder / "vocab_40000.bpe").read_text("utf-8").split("\n")[1:-1]
    ranks = {tuple(line.split()): rank for rank, line in enumerate(lines)}

    @cache
    def bpe(word: str) -> list[int]:
        if word.rstrip(" ") == "\n":
            return [ids["\n</w>"]]
        symbols = [*word[:-1], word[-1] + "</w>"]
        while len(symbols) > 1:
            pair = min(pairwise(symbols), key=lambda pair: ranks.get(pair, len(ranks)))
            if pair not in ranks:
                break
            symbols = merged(symbols, pair)
        return [ids.get(symbol, 0) for symbol in symbols]

    def encode(text: str) -> list[int]:
        found = split(standardized(ftfy.fix_text(text)))
        return [token_id for token in found for token_id in bpe(token.text.lower())]

    return encode


def merged(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    """The symbols with each occurrence of the pair joined, from the left."""
    found: list[str] = []
    for symbol in symbols:
        if found and (found[-1], symbol) == pair:
            found[-1] += symbol
        else:
            found.append(symbol)
    return found


def standardized(text: str) -> str:
    """What the authors do to repaired text."""
    for fancy, plain in {
        "\u2014": "-",
        "\u2013": "-",
        "\u2015": "-",
        "\u2026": "...",
        "\u00b4": "'",
    }.items():
        text = text.replace(fancy, plain)
    runs = "|".join(re.escape(mark) + "+" for mark in '-~!";?+,)(\\/*[]}{|_')
    text = re.sub(f"({runs})", r" \1 ", text)
    text = re.sub(r"\s*\n\s*", " \n ", text)
    return re.sub(r"[^\S\n]+", " ", text).strip()


def jokes(shared_data: Path) -> Iterator[str]:
    for name in ("train", "valid"):
        with gzip.open(shared_data / "jokes" / f"{name}.csv.gz", "rt", encoding="utf-8") as file:
            yield from (row["Joke"] for row in csv.DictReader(file))


def book_parts(shared_data: Path, number: int) -> Iterator[str]:
    """The books of a file, each in parts of some paragraphs."""
    path = shared_data / "books" / f"books-{number:02}.jsonl.xz"
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            text: str = json.loads(line)["text"]
            yield from (text[i : i + 20_000] for i in range(0, len(text), 20_000))


def task_texts(shared_data: Path) -> Iterator[str]:
    for path in sorted((shared_data / "tasks").rglob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                yield from strings(json.loads(line))


def strings(value: Any) -> Iterator[str]:
    """All strings in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def plain_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Word by word, without any cache."""
    tokenize = tokenizer._marked.model.tokenize
    return [token.id for word in words(text) for token in tokenize(word)]


# The authors' ids


def test_a_sentence_gets_the_ids_of_the_authors(openai: Tokenizer) -> None:
    assert openai.mode == "original"
    assert openai.encode("I'm very positive, can't...\n\n\u201cOK\u201d") == [
        249, 719, 963, 6353, 240, 993, 538, 749, NEWLINE_ID, 244, *openai.encode("ok"), 244,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "step", "most"), [(jokes, 9, 2500), (book_parts, 40, 15), (task_texts, 499, 1500)]
)
def test_some_real_texts_get_the_ids_of_the_authors(
    openai: Tokenizer,
    authors: Callable[[str], list[int]],
    shared_data: Path,
    source: Callable[..., Iterator[str]],
    step: int,
    most: int,
) -> None:
    arguments = (shared_data, 1) if source is book_parts else (shared_data,)
    texts = list(islice(source(*arguments), 0, step * most, step))
    assert openai.encode_batch(texts) == list(map(authors, texts))


@pytest.mark.slow
@pytest.mark.parametrize("source", [jokes, task_texts, book_parts])
def test_all_real_texts_get_the_ids_of_the_authors(
    openai: Tokenizer,
    authors: Callable[[str], list[int]],
    shared_data: Path,
    source: Callable[..., Iterator[str]],
) -> None:
    arguments = (shared_data, 2) if source is book_parts else (shared_data,)
    texts = list(dict.fromkeys(islice(source(*arguments), 500_000)))
    texts = texts[:250] if source is book_parts else texts
    assert openai.encode_batch(texts) == list(map(authors, texts))


@given(HOSTILE | ENGLISH)
@settings(max_examples=200, deadline=None)
def test_any_text_gets_the_ids_of_the_authors(
    openai: Tokenizer, authors: Callable[[str], list[int]], text: str
) -> None:
    assert openai.encode(text) == authors(text)


# All ways give the same ids


@given(st.lists(HOSTILE | ENGLISH, max_size=5))
@settings(max_examples=150, deadline=None)
def test_alone_in_batches_streams_and_flat_the_ids_are_the_same(
    trained: Tokenizer, texts: list[str]
) -> None:
    expected = [plain_ids(trained, text) for text in texts]
    assert [trained.encode(text) for text in texts] == expected
    assert trained.encode_batch(texts) == expected
    assert list(trained.encode_stream(texts, batch_size=2)) == expected
    flat, lengths = trained.encode_flat(texts)
    assert flat.tolist() == [token_id for ids in expected for token_id in ids]
    assert lengths.tolist() == [len(ids) for ids in expected]


@given(st.lists(ENGLISH | st.text("ab \n\t.'-", max_size=40), max_size=4).map("\n".join))
@settings(deadline=None)
def test_cutting_a_long_text_leaves_its_ids(trained: Tokenizer, text: str) -> None:
    whole = plain_ids(trained, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpt1.tokenizer, "PIECE_CHARS", 3)
        patch.setattr(gpt1.tokenizer, "BATCH_CHARS", 7)
        assert trained.encode_batch([text, "a b", text])[::2] == [whole, whole]


@given(st.lists(ENGLISH, max_size=4))
@settings(deadline=None)
def test_a_full_memory_starts_anew(trained: Tokenizer, texts: list[str]) -> None:
    fresh = trained.with_mode("original")
    fresh._encoder = mode = OriginalMode(lambda: fresh._marked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_cache, "MOST_WORDS", 2)
        patch.setattr(original_mode, "MOST_KNOWN_IDS", 2)
        for text in texts:
            assert fresh.encode(text) == plain_ids(trained, text)
        fresh.encode("the dog")
        fresh.encode("a b")
    assert set(mode._cache._numbers) == {b"", b"a", b"b"}


def test_a_word_that_depends_on_its_line_is_split_with_it(trained: Tokenizer) -> None:
    texts = ["''We' ' ' )", "''We\n' ' )", "a ''We ' b", "''We", "' ''We :-) x"]
    expected = [plain_ids(trained, text) for text in texts]
    assert trained.encode_batch(texts) == expected
    assert trained.encode_batch(texts[::-1]) == expected[::-1]


def test_threads_share_a_tokenizer(trained: Tokenizer) -> None:
    texts = [[f"{text} {number % 7}." for text in TEXTS] for number in range(40)]
    fresh = trained.with_mode("original")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(fresh.encode_batch, texts))
    assert found == [[plain_ids(trained, text) for text in batch] for batch in texts]


# Hostile text


@pytest.mark.parametrize("mode", ["original", "bert"])
@pytest.mark.parametrize(
    "text",
    [
        "\ud800 dog \udfff\ud800",
        "a\x00b\x00",
        "\u202e\u05e9\u05dc\u05d5\u05dd\u202c \u0645\u0631\u062d\u0628\u0627",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
        "zero\u200bwidth\ufeff\u200c\u2060",
        "e" + "\u0301" * 1000 + " Z\u0351\u036b\u0343",
    ],
)
def test_hostile_text_encodes_to_valid_ids(trained: Tokenizer, mode: str, text: str) -> None:
    tokenizer = trained.with_mode(mode)
    encoding = tokenizer.encode_with_offsets(text)
    assert tokenizer.encode(text) == encoding.ids
    assert all(0 <= start <= end <= len(text) for start, end in encoding.offsets)
    assert isinstance(tokenizer.decode(encoding.ids), str)


@pytest.mark.parametrize("mode", ["original", "bert"])
@pytest.mark.parametrize("unit", ["the", "a.", "-", "'", "\n", " ", "\u00e9\u2019", "x-"])
def test_a_long_text_of_few_characters_encodes(trained: Tokenizer, mode: str, unit: str) -> None:
    ids = trained.with_mode(mode).encode(unit * 100_000)
    assert len(ids) <= len(unit) * 100_000


# Newlines


def test_whitespace_with_a_newline_is_one_word_between_texts_only(openai: Tokenizer) -> None:
    one, two = openai.encode("one"), openai.encode("two")
    assert openai.encode("\n one \t\n\n\r\n two \n") == [*one, NEWLINE_ID, *two]


def test_a_vocabulary_without_the_newline_word_has_unk_in_its_place() -> None:
    bert = Tokenizer.train(["one two"], merges=2)
    assert bert.mode == "bert"
    original = bert.with_mode("original")
    assert original.encode("one\ntwo") == [*bert.encode("one"), 0, *bert.encode("two")]


def test_a_vocabulary_with_the_newline_character_spells_the_newline_word() -> None:
    pieces = ["<unk>", "a", "a</w>", "\n", "\n</w>"]
    model = {"vocab": dict(zip(pieces, range(5), strict=True)), "merges": []}
    tokenizer = Tokenizer(bpe(model))
    assert (tokenizer.mode, tokenizer.encode("a\na")) == ("original", [2, 4, 2])


def bpe(model: dict[str, object]) -> str:
    """The text of a `tokenizer.json`."""
    kind = {"type": "BPE", "end_of_word_suffix": "</w>", "unk_token": "<unk>"}
    return json.dumps({"version": "1.0", "added_tokens": [], "model": kind | model})


# Offsets


@given(ENGLISH | HOSTILE)
@settings(deadline=None)
def test_offsets_lie_inside_the_text_in_order(trained: Tokenizer, text: str) -> None:
    encoding = trained.encode_with_offsets(text)
    assert encoding.ids == trained.encode(text)
    assert encoding.pieces == trained.pieces(encoding.ids)
    assert all(0 <= start <= end <= len(text) for start, end in encoding.offsets)
    starts = [start for start, _ in encoding.offsets]
    assert starts == sorted(starts)


def test_offsets_are_exact_where_repair_changes_single_characters(openai: Tokenizer) -> None:
    text = "\u201cIt\u2019s fine\u2026\u201d\nShe can\u2019t \u2014 Caf\u00e9"
    encoding = openai.encode_with_offsets(text)
    spans = [text[start:end] for start, end in encoding.offsets]
    assert spans[:8] == ["\u201c", "It", "\u2019s", "fine", "\u2026", "\u201d", "\n", "She"]
    assert spans[8:11] == ["ca", "n\u2019t", "\u2014"]
    assert "".join(spans[11:]) == "Caf\u00e9"


def test_offsets_survive_words_that_repair_makes_longer_or_shorter(openai: Tokenizer) -> None:
    text = "caf\u00c3\u00a9 &amp; dog \ufb01re, cat"
    encoding = openai.encode_with_offsets(text)
    spans = dict(zip(encoding.pieces, encoding.offsets, strict=True))
    assert text[slice(*spans["dog</w>"])] == "dog"
    assert text[slice(*spans["cat</w>"])] == "cat"
    assert text[slice(*spans["&</w>"])] in "&amp;"
    assert text[slice(*spans["fire</w>"])] == "\ufb01re"


# Special tokens


def test_special_tokens_typed_as_text_are_ordinary_characters(trained: Tokenizer) -> None:
    for text in ("_start_ dog", "dog<|endoftext|>", "&lt;|endoftext|&gt;"):
        assert set(trained.special_tokens.values()).isdisjoint(trained.encode(text))
        assert trained.encode_with_offsets(text).ids == trained.encode(text)


def test_special_tokens_in_trusted_text_stand_between_texts(trained: Tokenizer) -> None:
    text = "_start_ the dog's\n<|endoftext|>"
    start, end = map(trained.token_id, SPECIAL)
    ids = [start, *trained.encode("the dog's"), end]
    assert trained.encode(text, allow_special=True) == ids
    assert next(trained.encode_stream([text, "a"], allow_special=True)) == ids
    escaped = "&lt;|endoftext|&gt;"
    assert end not in trained.encode(escaped, allow_special=True)


# Training and files


def test_training_ends_with_the_newline_word(trained: Tokenizer) -> None:
    assert trained.mode == "original"
    assert trained.token_id("\n</w>") == trained.vocab_size - len(SPECIAL) - 1
    base = Tokenizer.train(TEXTS, merges=0, mode="original")
    assert len(Tokenizer.train(TEXTS, merges=7, min_frequency=1, mode="original")) == len(base) + 7


def test_training_learns_from_the_words_of_the_mode() -> None:
    learned = Tokenizer.train(["we can't. " * 50], merges=9, mode="original")
    assert "n't</w>" in learned.pieces(range(len(learned)))
    assert "\n" not in learned.pieces(range(len(learned)))


def test_training_in_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ConfigError, match="mode is 'gpt2' but must be one of original, bert"):
        Tokenizer.train(["a"], merges=1, mode="gpt2")


def test_training_on_newlines_alone_is_refused() -> None:
    with pytest.raises(TokenizerError, match="hold no word"):
        Tokenizer.train(["\n \n"], merges=1, mode="original")


def test_the_mode_is_saved_and_loaded(trained: Tokenizer, tmp_path: Path) -> None:
    trained.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert (again.mode, again.fingerprint) == ("original", trained.fingerprint)
    assert again.encode_batch(TEXTS) == trained.encode_batch(TEXTS)
    assert Tokenizer.load(tmp_path, mode="bert").mode == "bert"
    Tokenizer.load(tmp_path, mode="bert").save(tmp_path)
    assert Tokenizer.load(tmp_path / "tokenizer.json").mode == "bert"


def test_without_a_stored_mode_the_newline_word_decides(tmp_path: Path) -> None:
    for mode in ("original", "bert"):
        folder = tmp_path / mode
        Tokenizer.train(TEXTS, vocab_size=150, mode=mode).save(folder)
        (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}', encoding="utf-8")
        assert Tokenizer.load(folder).mode == mode
        (folder / "tokenizer_config.json").unlink()
        assert Tokenizer.load(folder).mode == mode


def test_a_stored_mode_that_cannot_be_read_is_named(trained: Tokenizer, tmp_path: Path) -> None:
    trained.save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json: not valid JSON"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"mode": "byte"}', encoding="utf-8")
    with pytest.raises(ConfigError, match="mode is 'byte' but must be one of original, bert"):
        Tokenizer.load(tmp_path)


def test_a_pickled_tokenizer_keeps_its_mode(trained: Tokenizer) -> None:
    again = pickle.loads(pickle.dumps(trained))
    assert (again.mode, again.fingerprint) == ("original", trained.fingerprint)
    assert again.encode_batch(TEXTS) == trained.encode_batch(TEXTS)


def test_modes_have_other_fingerprints(trained: Tokenizer) -> None:
    assert trained.with_mode("bert").fingerprint != trained.fingerprint


# Decoding


def test_most_jokes_survive_encoding_and_decoding(openai: Tokenizer, shared_data: Path) -> None:
    quotes = str.maketrans("\u201c\u201d\u2018\u2019\u00b4", "\"\"'''")
    texts = [joke.translate(quotes).lower() for joke in islice(jokes(shared_data), 2000)]
    texts = [re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", text)).strip() for text in texts]
    decoded = map(openai.decode, openai.encode_batch(texts))
    same = sum(text == again for text, again in zip(texts, decoded, strict=True))
    assert same / len(texts) > 0.83
