"""Tokenizer mode ``bert``: the splitting of every current transformers release for GPT-1.

The Rust library does it, lower-casing, stripping accents and splitting at whitespace and
punctuation (`tokenization_openai.py`). For plain ASCII text these rules are simple and words are
looked up instead: letters and digits make words, each punctuation mark is one. Where the C++
library is there, it does that, and other text is looked up from space to space.
"""

from __future__ import annotations

import json
import operator
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import chain, compress
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from gpt1.native.words import NEWLINE, ODD, SINGLE, SPACE, WORD, Rules, Vocabulary, WordTable
from gpt1.text.vocabulary import BERT_NORMALIZER
from gpt1.text.word_cache import IdsAndSizes, Places, Split, WordCache, encode_words, word_model

CACHE_UP_TO_CORES = 8
"""With more cores, the Rust pipeline on all of them overtakes looking up words on one."""

_SURROGATE = re.compile("[\ud800-\udfff]")
# The BERT rules drop these, and thereby join what stands on either side.
_CONTROL = bytes({*range(32), 127}.difference(b"\t\n\r"))
_SPACE, _ALNUM, _MARK = range(3)
_CLASSES = bytes(
    _ALNUM if chr(byte).isalnum() else _MARK if 32 < byte < 127 else _SPACE for byte in range(256)
)


def _class_of(byte: int) -> int:
    if byte > 127 or (byte and byte in _CONTROL):
        return ODD
    plain = {_SPACE: SPACE, _ALNUM: WORD, _MARK: SINGLE}
    return NEWLINE if byte == ord("\n") else plain[_CLASSES[byte]]


class BertMode:
    """Ids of texts split by the BERT rules.

    Args:
        rust: Tells the whole pipeline; its special tokens are not parsed.
        spec: It, as in a `tokenizer.json`.
        vocabulary: Its model in the C++ library, or None to do without.

    Attributes:
        blank: Where a long text may be cut without a change of its ids. Some control
            characters are whitespace to Python but join words in the BERT normalizer.
    """

    blank = re.compile("[ \t\n\r]")

    def __init__(
        self,
        rust: Callable[[], Tokenizer],
        spec: Mapping[str, Any],
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self._marked, self._spec = rust, spec
        self._usable = _splits_by_bert_rules(spec)
        self._table = None
        if vocabulary and self._usable:
            classes = bytes(map(_class_of, range(256)))
            self._table = WordTable(vocabulary, Rules("bert", classes, self._split_odd))

    @cached_property
    def _rust(self) -> Tokenizer:
        return _without_special_tokens(self._marked(), self._spec)

    @cached_property
    def _words(self) -> Tokenizer:
        return word_model(self._rust.model)

    @cached_property
    def _cache(self) -> WordCache:
        return WordCache(self._split)

    @staticmethod
    def repair(text: str) -> str:
        """Replace lone surrogates, which Rust strings cannot hold, one for one."""
        return text if text.isascii() else _SURROGATE.sub("\ufffd", text)

    def repair_all(self, texts: list[str]) -> list[str]:
        """`repair` each text, most of which need none."""
        return texts if "".join(texts).isascii() else list(map(self.repair, texts))

    def encode(self, texts: Sequence[str]) -> IdsAndSizes:
        """Ids of repaired texts, and how many each has: plain ones looked up, others by Rust."""
        if self._table:
            data = "\0".join([*texts, ""])
            if data.count("\0") > len(texts):  # it is dropped, as are other control characters
                data = "\0".join([*(text.replace("\0", "\1") for text in texts), ""])
            return self._table.encode(data.encode())
        cached = (os.cpu_count() or 1) <= CACHE_UP_TO_CORES
        if cached and self.is_plain("".join(texts)):
            return self.look_up(texts)
        plain = [cached and self.is_plain(text) for text in texts]
        others = list(compress(texts, map(operator.not_, plain)))
        encodings = iter(self._rust.encode_batch_fast(others))
        flat, lengths = self.look_up(list(compress(texts, plain)))
        looked_up = iter(np.split(flat, np.cumsum(lengths)))
        rows = [
            next(looked_up) if is_plain else np.array(next(encodings).ids, np.int32)
            for is_plain in plain
        ]
        return np.concatenate(rows), np.array([len(row) for row in rows])

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of one text and the characters of it that each stands for."""
        encoding = self._rust.encode(self.repair(text))
        return encoding.ids, encoding.offsets

    def is_plain(self, text: str) -> bool:
        """Whether the words of the text can be looked up."""
        if not (self._usable and text.isascii()):
            return False
        return len(text.encode().translate(None, _CONTROL)) == len(text)

    def look_up(self, texts: Sequence[str]) -> IdsAndSizes:
        """Ids of plain texts, equal to those of the Rust pipeline, and how many each has."""
        data = "\n".join(texts).lower().encode()
        starts, ends = _word_bounds(data)
        # One more for the newline behind each text.
        text_ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1)
        return self._cache.encode(data, starts, ends, text_ends)

    def _split_odd(self, stretches: list[bytes]) -> Split:
        encodings = self._rust.encode_batch_fast([stretch.decode() for stretch in stretches])
        ids = [encoding.ids for encoding in encodings]
        sizes = np.fromiter(map(len, ids), np.int64, len(ids))
        return Split(
            np.fromiter(chain.from_iterable(ids), np.int32), sizes, np.zeros(len(ids), np.bool_)
        )

    def _split(self, words: list[bytes]) -> Split:
        ids, sizes = encode_words(self._words, [word.decode() for word in words])
        return Split(ids, sizes, np.zeros(len(words), np.bool_))


def _without_special_tokens(rust: Tokenizer, spec: Mapping[str, Any]) -> Tokenizer:
    """The pipeline, in which special tokens are ordinary text."""
    if _are_special(spec):
        plain = Tokenizer(rust.model)  # shares the model, which takes long to build
        plain.normalizer, plain.pre_tokenizer = rust.normalizer, rust.pre_tokenizer
        return plain
    plain = Tokenizer.from_str(json.dumps(spec))
    # State of the object that no file keeps.
    plain.encode_special_tokens = True
    return plain


def _are_special(spec: Mapping[str, Any]) -> bool:
    """Whether all added tokens are; others are parsed anywhere."""
    return all(token["special"] for token in spec["added_tokens"])


def _word_bounds(data: bytes) -> tuple[Places, Places]:
    """Where words start, and where they end (exclusive)."""
    classes = np.frombuffer(b"%c%b%c" % (_SPACE, data.translate(_CLASSES), _SPACE), np.uint8)
    before, after = classes[:-1], classes[1:]
    # A mark always is at a bound; a letter or digit where its neighbour is none.
    starts = np.flatnonzero(after > (before == _ALNUM))
    return starts, np.flatnonzero(before > (after == _ALNUM))


def _splits_by_bert_rules(spec: Mapping[str, Any]) -> bool:
    """Whether nothing but replacements of other characters precedes the BERT rules."""
    normalizer = spec["normalizer"] or {}
    steps = normalizer.get("normalizers", [normalizer])
    harmless = all(
        step["type"] == "Replace" and _is_other(step["pattern"].get("String", "a"))
        for step in steps[:-1]
    )
    splitter = spec["pre_tokenizer"] or {}
    by_rules = steps[-1] == BERT_NORMALIZER and splitter == {"type": "BertPreTokenizer"}
    return harmless and by_rules and _are_special(spec)


def _is_other(pattern: str) -> bool:
    return len(pattern) == 1 and not pattern.isascii()
