"""The authors' text pipeline, compared with ftfy and spaCy."""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import re
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt1.pretokenize import depends_on_neighbours, split_chunk, split_line, standardize, words
from gpt1.text import english_rules as rules

Split = Callable[[str], list[str]]
ORTH = 65  # spaCy's number of the attribute that is a token's text


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return pytest.importorskip("spacy").blank("en").tokenizer


@pytest.fixture(scope="module")
def expected(tokenizer: Any) -> Split:
    """The pipeline as the authors wrote it."""
    ftfy = pytest.importorskip("ftfy")

    def pipeline(text: str) -> list[str]:
        tokens = tokenizer(authors_standardize(ftfy.fix_text(text)))
        return ["\n" if token.text == "\n " else token.text.lower() for token in tokens]

    return pipeline


@pytest.fixture(scope="module")
def spacy_split(tokenizer: Any) -> Split:
    return lambda line: [token.text for token in tokenizer(line)]


def authors_standardize(text: str) -> str:
    for fancy, plain in ("—-", "–-", "―-", "´'"):
        text = text.replace(fancy, plain)
    text = text.replace("…", "...")
    runs = "|".join(re.escape(mark) + "+" for mark in r"""-~!";?+,)(\/*[]}{|_""")
    text = re.sub(f"({runs})", r" \1 ", text)
    text = re.sub(r"\s*\n\s*", " \n ", text)
    return re.sub(r"[^\S\n]+", " ", text).strip()


SHORT_PIECES = [
    *["'", "’", "‘", "''", '"', ".", "..", "...", ":", "<", ">", "=", "@", "#", "$", "%", "&"],
    *["^", "°", "´", "`", "“", "”", "«", "…", "—", "-", "/", "\\", "(", ")", "_", "*", "+", "~"],
    *[
        "|",
        "?",
        "!",
        ",",
        ";",
        "§",
        "€",
        "£",
        "US$",
        "¿",
        "。",
        "·",
        "「",
        "（",
        "\u2329",
        "\u232a",
    ],
    *["🙂", "❤️", "👍🏽", "👨‍👩‍👧", "™", "½", "²", "\u0301", "\u200d", "\ufe0f", "\xad", "\u200b"],
    *["a", "b", "c", "d", "f", "k", "m", "o", "p", "s", "x", "A", "C", "D", "F", "K", "O", "S"],
    *["0", "1", "3", "5", "10", "12", "33", "192.168", "127", "8.8.8.8", "٣", "km", "kg²", "µg"],
    *["ä", "é", "Ü", "ß", "ж", "Ж", "Ω", "ά", "中", "の", "ב", "م", "كم", "ǅ", "ʔ", "İ", "𝒜", "𠀀"],
    *["com", ".com", ".co.uk", "www.", "http://", ":80", "am", "p.m.", " ", " ", " ", "\n", "\xa0"],
]
ENGLISH_PIECES = [
    *["don't", "I'm", "we'll've", "Shouldn't", "CAN'T", "cannot", "gonna", "y'all", "it's", "Its"],
    *["'em", "'Cause", "o'clock", "goin'", "the dogs' tails", "Dr.", "e.g.", "Ph.D.", "U.S.A."],
    *["5pm", "11a.m.", "3.14", "$10,000", "£5", "20°C.", "100%", "6ft", "10km/h", "(555) 123-4567"],
    *["www.example.com", "http://a.bc/d?e=f#g", "me@example.org", "@you", "#tag", "well-known"],
    *[":-)", ":D", ":(", ":o)", "<3", "xD", "^_^", "w/o", "and/or", "--", "?!", "'quoted'", "“so”"],
    *[
        "naïve",
        "café",
        "Straße",
        "日本語",
        "ok.Then",
        "end.",
        "end..",
        "and",
        "a",
        "I",
        "\n\n",
        " ",
    ],
]


def joined(pieces: list[str], separators: list[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(st.sampled_from(pieces), st.sampled_from(separators))
    return st.lists(pairs.map("".join), max_size=12).map("".join)


@given(joined(SHORT_PIECES, [""]))
@settings(max_examples=300)
def test_lines_of_odd_pieces_have_the_words_spacy_finds(spacy_split: Split, text: str) -> None:
    for line in standardize(text).split(" \n "):
        assert split_line(line) == spacy_split(line)


@given(joined(ENGLISH_PIECES, ["", " ", ". ", ", ", "'", "\n"]))
@settings(max_examples=150)
def test_english_has_the_words_of_the_authors_pipeline(expected: Split, text: str) -> None:
    assert words(text) == expected(text)


@given(st.text(max_size=30))
@settings(max_examples=150)
def test_any_text_has_the_words_of_the_authors_pipeline(expected: Split, text: str) -> None:
    assert words(text) == expected(text)


@given(joined(SHORT_PIECES, [""]))
def test_standardised_text_equals_the_authors(text: str) -> None:
    assert standardize(text) == authors_standardize(text)


@given(joined(SHORT_PIECES, [""]))
def test_standardised_text_stays_as_it_is(text: str) -> None:
    once = standardize(text)
    assert standardize(once) == once


@given(joined(SHORT_PIECES, [""]))
def test_splitting_loses_no_character(text: str) -> None:
    for chunk in standardize(text).split():
        assert "".join(split_chunk(chunk)) == chunk


@given(joined(SHORT_PIECES, [""]))
def test_only_chunks_that_say_so_depend_on_their_neighbours(text: str) -> None:
    chunks = standardize(text).replace("\n", "x").split()
    alone = [split_chunk(chunk) for chunk in chunks]
    if not any(map(depends_on_neighbours, chunks)):
        assert split_line(" ".join(chunks)) == list(chain.from_iterable(alone))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I'm sure you can't.", "i 'm sure you ca n't ."),
        ("Well, we're ill at 5pm!!", "well , we 're ill at 5 pm ! !"),
        ("Dr. Who’s “friend” left…", """dr. who 's " friend " left ..."""),
        ("a well-known --- fact", "a well - known --- fact"),
        ("see www.Example.com.", "see www.example.com ."),
        ("It's 20°C. Ok.Then 6ft", "it 's 20 ° c . ok . then 6 ft"),
    ],
)
def test_words_of_known_texts(text: str, found: str) -> None:
    assert words(text) == found.split(" ")


@pytest.mark.parametrize(
    ("text", "found"),
    [("1\n\n \t2\r\n3 ", ["1", "\n", "2", "\n", "3"]), ("", []), (" \n ", [])],
)
def test_a_newline_word_stands_between_lines_that_have_words(text: str, found: list[str]) -> None:
    assert words(text) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("x''y", ["x''y"]),
        ("''y", ["''", "y"]),
        ("x' ''y", ["x", "'", "'", "'", "y"]),
        (":D''", [":D", "''"]),
        ("( :D''", ["(", ":", "D", "''"]),
        ("x:p.", ["x", ":p", "."]),
        ("x:o )", ["x", ":", "o", ")"]),
        ("x:o", ["x", ":o"]),
    ],
)
def test_neighbours_decide_whether_split_special_cases_join(
    spacy_split: Split, line: str, found: list[str]
) -> None:
    assert split_line(line) == spacy_split(line) == found


@pytest.mark.parametrize(
    ("chunk", "depends"),
    [("x:o", True), ("''y", True), (":o", False), ("a:b", False), ("don't", False), ("?", False)],
)
def test_chunks_depend_on_neighbours_where_a_special_case_shows_up_late(
    chunk: str, depends: bool
) -> None:
    assert depends_on_neighbours(chunk) is depends


def test_special_cases_are_spacys(tokenizer: Any) -> None:
    unreachable = {*rules.SEPARATORS, *"—\n\t \xa0"}
    cases = rules.special_cases()
    theirs = {
        case: tuple(token[ORTH] for token in tokens)
        for case, tokens in tokenizer.rules.items()
        if unreachable.isdisjoint(case)
    }
    assert cases.items() <= theirs.items()
    unlisted = theirs.keys() - cases.keys()
    assert [case for case in unlisted if (*split_chunk(case),) != theirs[case]] == []


def test_no_special_case_is_longer_than_is_said() -> None:
    assert max(map(len, rules.special_cases())) == rules.LONGEST_SPECIAL_CASE


@pytest.mark.parametrize("kind", ["ALPHA", "ALPHA_LOWER", "ALPHA_UPPER"])
def test_letters_are_spacys(kind: str) -> None:
    classes = pytest.importorskip("spacy.lang.char_classes")
    ours = rules.letters()[["ALPHA", "ALPHA_LOWER", "ALPHA_UPPER"].index(kind)]
    every = "".join(map(chr, range(0x110000)))
    theirs = re.findall(f"[{getattr(classes, kind)}]", every)
    assert re.findall(f"[{ours}]", every) == theirs


@pytest.mark.parametrize(
    "chunk",
    [
        "'",
        "''x",
        "a.b.",
        "a.B",
        "a@",
        "a@b.",
        "a.com:x@",
        "a:",
        "'s",
        "..'",
        "$",
        "<3",
        "🙂",
        ":",
        "é",
    ],
)
def test_a_long_chunk_splits_as_a_short_one_does(spacy_split: Split, chunk: str) -> None:
    assert split_chunk(chunk * 200) == spacy_split(chunk * 200)


@pytest.mark.parametrize(
    "text", ["a", "'", "!", "a.b.", "a@b.", "http://a", " ", " \n", ":x", "a:", "1.1.1.1@", "-"]
)
def test_endless_chunks_are_split_too(text: str) -> None:
    long = standardize(text * 100_000)
    assert "".join(split_line(long.replace("\n", ""))) == long.replace(" ", "").replace("\n", "")


def texts_of(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_of(part)


def jokes(shared_data: Path) -> Iterator[str]:
    for path in sorted(shared_data.glob("jokes/*.csv.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                yield from row


def tasks(shared_data: Path) -> Iterator[str]:
    for path in sorted(shared_data.glob("tasks/*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                yield from texts_of(json.loads(line))


def books(shared_data: Path) -> Iterator[str]:
    for path in sorted(shared_data.glob("books/*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                for text in texts_of(json.loads(line)):
                    yield from (text[at : at + 50_000] for at in range(0, len(text), 50_000))


def test_a_slice_of_the_jokes_has_the_words_of_the_authors_pipeline(
    shared_data: Path, expected: Split
) -> None:
    for joke in islice(jokes(shared_data), 0, None, 40):
        assert words(joke) == expected(joke)


def test_a_slice_of_the_books_has_the_words_of_the_authors_pipeline(
    shared_data: Path, expected: Split
) -> None:
    for text in islice(books(shared_data), 6):
        assert words(text) == expected(text)


@pytest.mark.slow
@pytest.mark.parametrize("source", [jokes, tasks, books])
def test_every_chunk_has_the_words_spacy_finds(
    shared_data: Path, spacy_split: Split, source: Callable[[Path], Iterator[str]]
) -> None:
    chunks: set[str] = set()
    for text in source(shared_data):
        chunks.update(standardize(text).split())
    different = [chunk for chunk in chunks if split_chunk(chunk) != spacy_split(chunk)]
    assert not different


@pytest.mark.slow
def test_all_jokes_have_the_words_of_the_authors_pipeline(
    shared_data: Path, expected: Split
) -> None:
    for joke in jokes(shared_data):
        assert words(joke) == expected(joke)
