"""Tokenizer mode ``original``: the pipeline of GPT-1's authors (their `text_utils.py`).

Text is repaired as by ftfy, standardised, split into words as by spaCy's English tokenizer, and
only then lower-cased and split by BPE. Standardisation leaves chunks without whitespace, and the
ids of a chunk depend on little else: chunks are looked up, and only new ones go through the rules.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from gpt1.native.words import NEWLINE as NEWLINE_CLASS
from gpt1.native.words import SPACE, STEM, TAIL, WORD, Rules, Vocabulary, WordTable
from gpt1.pretokenize import (
    depends_on_neighbours,
    special_stems,
    split_line,
    split_tail,
    standardize,
)
from gpt1.text.alignment import Span, align
from gpt1.text.english_rules import SEPARATORS, special_cases
from gpt1.text.repair import needs_repair, repair
from gpt1.text.word_cache import IdsAndSizes, Places, Split, WordCache, word_model

NEWLINE = "\n"
"""The word that any whitespace with a newline in it becomes."""

MOST_KNOWN_IDS = 1_000_000
"""Ids of lower-case words that are remembered beside those of chunks; then memory starts anew."""

_STANDARD = {"\u2014": "-", "\u2013": "-", "\u2015": "-", "\u2026": "...", "\u00b4": "'"}
_WIDE_SPACES = [chr(code) for code in range(128, 0x3001) if chr(code).isspace()]
_ID_BYTES = array("i").itemsize
_TEXT_END = "\0"  # repaired text holds none
_SPACE, _NEWLINE, _MARK, _OTHER = SPACE, NEWLINE_CLASS, WORD, 255


def _class_of(character: str) -> int:
    if character == NEWLINE:
        return _NEWLINE
    if character.isspace() or character == _TEXT_END:
        return _SPACE
    return _MARK + SEPARATORS.index(character) if character in SEPARATORS else _OTHER


_CLASSES = bytes([*map(_class_of, map(chr, range(128))), *[_OTHER] * 128])
_CHUNK = re.compile(
    r"\s+|[-\u2014\u2013\u2015]+|"
    + "|".join(rf"{re.escape(mark)}+" for mark in SEPARATORS)
    + rf"|[^\s{re.escape(SEPARATORS)}\u2014\u2013\u2015]+"
)


class OriginalMode:
    """Ids of texts as GPT-1's authors made them.

    Args:
        rust: Tells the Rust tokenizer, whose vocabulary and merges are used.
        vocabulary: The same in the C++ library, or None to do without.

    Attributes:
        blank: Where a long repaired text may be cut without a change of its ids: not in a run of
            newlines, nor where a word depends on its neighbours.
    """

    blank = re.compile(r"(?<=[a-z])\s(?=[a-z])")

    def __init__(self, rust: Callable[[], Tokenizer], vocabulary: Vocabulary | None = None) -> None:
        self._rust = rust
        self._vocabulary = vocabulary
        self._table = None
        if vocabulary:
            rules = Rules("original", _CLASSES, self._split_new, _beyond_the_library)
            self._table = WordTable(vocabulary, rules)
        self._known: dict[str, bytes] = {}
        self._known_bytes = 0

    @cached_property
    def _words(self) -> Tokenizer:
        return word_model(self._rust().model)

    @cached_property
    def _cache(self) -> WordCache:
        return WordCache(self._split)

    @staticmethod
    def repair(text: str) -> str:
        """What ftfy makes of the text, without whitespace at its ends."""
        return repair(text).strip()

    def repair_all(self, texts: list[str]) -> list[str]:
        """`repair` each text, most of which need none."""
        if not needs_repair("".join(texts).replace("&", "")):
            texts = [repair(text) if "&" in text else text for text in texts]
            return list(map(str.strip, texts))
        return list(map(self.repair, texts))

    def encode(self, texts: Sequence[str]) -> IdsAndSizes:
        """Ids of repaired texts, and how many each has.

        Newlines at the ends of a text count as words here, so that the parts of a text that was cut
        have the ids of the whole.
        """
        data = standard_bytes(_TEXT_END.join([*texts, ""]))
        if self._table:
            return self._table.encode(data)
        starts, ends = chunk_bounds(data)
        text_ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord(_TEXT_END))
        return self._cache.encode(data, starts, ends, text_ends)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[Span]]:
        """Ids of one text and the characters of it that each stands for."""
        repaired = repair(text)
        origin = align(text, repaired)
        words: list[str] = []
        spans: list[Span] = []
        for word, places in _words_of(repaired):
            words.append(word)
            spans += [(origin[start][0], origin[end - 1][1]) for start, end in places]
            spans.append((0, 0))  # the space between words
        encoding = self._words.encode(" ".join(words))
        return encoding.ids, [(spans[i][0], spans[j - 1][1]) for i, j in encoding.offsets]

    def _split(self, chunks: list[bytes]) -> Split:
        # Many small lists or tuples would keep Python's garbage collector busy.
        words: list[str] = []
        counts: list[int] = []
        social = np.zeros(len(chunks), np.bool_)
        special = special_cases()
        for number, line in enumerate(_TEXT_END.encode().join(chunks).decode().split(_TEXT_END)):
            if line.isalpha() and line.isascii() and line not in special:
                words.append(line)
                counts.append(1)
            else:
                found, social[number] = split_chunk(line)
                words += found
                counts.append(len(found))
        ids, sizes = self._look_up([word.lower() for word in words])
        firsts = np.cumsum([0, *counts[:-1]])
        return Split(ids, np.add.reduceat(sizes, firsts), social)

    def _split_new(self, chunks: list[bytes]) -> Split:
        """Split what the C++ library does not know: chunks, and tails of them (see `TAIL`)."""
        is_tail = np.array([chunk.startswith(TAIL) for chunk in chunks])
        whole = np.flatnonzero(~is_tail)
        found = [np.empty(0, np.int32)] * len(chunks)
        is_social = np.zeros(len(chunks), np.bool_)
        if len(whole):
            ids, sizes, is_social[whole] = self._split([chunks[number] for number in whole])
            for number, part in zip(whole, np.split(ids, np.cumsum(sizes)[:-1]), strict=True):
                found[number] = part
        for number in np.flatnonzero(is_tail):
            found[number], is_social[number] = self._split_tail(chunks[number][1:].decode())
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        return Split(np.concatenate(found), lengths, is_social)

    def _split_tail(self, end: str) -> tuple[NDArray[np.int32], bool]:
        (first, *rest), joinable = split_tail(end[:2], end[2:])
        ids, _ = self._look_up([word.lower() for word in rest])
        return np.append(np.int32(len(first) - 2), ids), joinable

    def _look_up(self, words: list[str]) -> IdsAndSizes:
        """The ids of all lower-case words, and how many each has."""
        if self._vocabulary:
            encoded = [word.encode() for word in words]
            if max(map(len, encoded), default=0) <= self._vocabulary.LONGEST:
                return self._vocabulary.encode(encoded)
        ids = self._look_up_each(words)
        sizes = np.fromiter(map(len, ids), np.int64, len(ids)) // _ID_BYTES
        return np.frombuffer(b"".join(ids), np.int32), sizes

    def _look_up_each(self, words: Iterable[str]) -> list[bytes]:
        """The ids of each word: ``dog``, ``Dog``, ``dog.`` and ``dog's`` share those of ``dog``."""
        if self._known_bytes > MOST_KNOWN_IDS * _ID_BYTES:
            self._known, self._known_bytes = {}, 0
        known, tokenize = self._known, self._rust().model.tokenize
        found = []
        for word in words:
            ids = known.get(word)
            if ids is None:
                ids = known[word] = array("i", [token.id for token in tokenize(word)]).tobytes()
                self._known_bytes += len(ids)
            found.append(ids)
        return found


def _beyond_the_library() -> list[bytes]:
    cases = [case.encode() for case in special_cases()]
    return cases + [STEM + stem.encode() for stem in sorted(special_stems())]


def standard_bytes(text: str) -> bytes:
    """Repaired text as UTF-8, with its typographic characters and wide spaces in plain form."""
    if text.isascii():
        return text.encode()
    for space in _WIDE_SPACES:
        text = text.replace(space, " ")
    for fancy, plain in _STANDARD.items():
        text = text.replace(fancy, plain)
    return text.encode()


def chunk_bounds(data: bytes) -> tuple[Places, Places]:
    """Where the chunks of standard text start and where they end (exclusive), newlines included."""
    classes = np.frombuffer(data.translate(_CLASSES), np.uint8)
    starts = np.flatnonzero(np.diff(classes, prepend=_SPACE, append=_SPACE))
    kinds = classes[starts[:-1]]
    is_chunk = kinds != _SPACE
    kinds, ends = kinds[is_chunk], starts[1:][is_chunk]
    starts = starts[:-1][is_chunk]
    is_newline = kinds == _NEWLINE
    ends[is_newline] = starts[is_newline] + 1
    # Of newlines with nothing but space between them, the first stands for all.
    is_first = ~(is_newline & np.append(False, is_newline[:-1]))
    return starts[is_first], ends[is_first]


def split_chunk(line: str) -> tuple[Sequence[str], bool]:
    """The words of a chunk, or of a line that the cache looks up as one.

    Returns:
        The words, in the case they are written in, and whether they depend on other chunks.
    """
    special = special_cases()
    # Most chunks are plain words, many with a full stop.
    core = line[:-1]
    if line[-1] == "." and core.isalpha() and core.isascii() and core[-1].islower():
        if core not in special and line not in special:
            return (core, "."), False
    elif line == NEWLINE:
        return (line,), False
    if not _CHUNK.fullmatch(line):
        return split_line(standardize(line)), False
    return split_line(line), depends_on_neighbours(line)


def chunks_of(texts: Sequence[str]) -> list[bytes]:
    """The chunks of repaired texts, in order; a newline is one."""
    data = standard_bytes(_TEXT_END.join(texts))
    starts, ends = chunk_bounds(data)
    return [data[i:j] for i, j in zip(starts.tolist(), ends.tolist(), strict=True)]


def _words_of(repaired: str) -> Iterator[tuple[str, list[Span]]]:
    """Each lower-cased word of a text, and for each of its characters where it comes from."""
    first, last = len(repaired) - len(repaired.lstrip()), len(repaired.rstrip())
    chunks: list[str] = []
    places: list[Span] = []
    for match in _CHUNK.finditer(repaired, first, last):
        chunk, start = match.group(), match.start()
        if NEWLINE in chunk:
            yield from _words_of_line(chunks, places)
            yield NEWLINE, [match.span()]
            chunks, places = [], []
        elif not chunk.isspace():
            plain = [_STANDARD.get(character, character) for character in chunk]
            chunks.append("".join(plain))
            places += [(start + i, start + i + 1) for i, new in enumerate(plain) for _ in new]
    yield from _words_of_line(chunks, places)


def _words_of_line(chunks: list[str], places: list[Span]) -> Iterator[tuple[str, list[Span]]]:
    begin = 0
    for word in split_line(" ".join(chunks)):
        here = places[begin : begin + len(word)]
        begin += len(word)
        lower = word.lower()
        if len(lower) != len(word):
            here = [place for c, place in zip(word, here, strict=True) for _ in c.lower()]
        yield lower, here
