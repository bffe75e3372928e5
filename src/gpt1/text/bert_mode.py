"""Tokenizer mode ``bert``: the splitting of every current transformers release for GPT-1.

The Rust library does it, lower-casing, stripping accents and splitting at whitespace and
punctuation (`tokenization_openai.py`). For plain ASCII text these rules are simple and words are
looked up instead: letters and digits make words, each punctuation mark is one.
"""

from __future__ import annotations

import json
import operator
import os
import re
from collections.abc import Sequence
from itertools import compress

import numpy as np
from tokenizers import Tokenizer

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
_BERT_NORMALIZER = {
    "type": "BertNormalizer",
    "clean_text": True,
    "handle_chinese_chars": True,
    "strip_accents": None,
    "lowercase": True,
}


class BertMode:
    """Ids of texts split by the BERT rules.

    Args:
        rust: The whole pipeline; its special tokens are not parsed.

    Attributes:
        blank: Where a long text may be cut without a change of its ids. Some control
            characters are whitespace to Python but join words in the BERT normalizer.
    """

    blank = re.compile("[ \t\n\r]")

    def __init__(self, rust: Tokenizer) -> None:
        self._rust = rust
        self._words = word_model(rust.model)
        self._cache = WordCache(self._split)
        self._usable = _splits_by_bert_rules(rust)

    @staticmethod
    def repair(text: str) -> str:
        """Replace lone surrogates, which Rust strings cannot hold, one for one."""
        return _SURROGATE.sub("\ufffd", text)

    def encode(self, texts: Sequence[str]) -> IdsAndSizes:
        """Ids of repaired texts, and how many each has: plain ones looked up, others by Rust."""
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

    def _split(self, words: list[bytes]) -> Split:
        ids, sizes = encode_words(self._words, [word.decode() for word in words])
        return Split(ids, sizes, np.zeros(len(words), np.bool_))


def _word_bounds(data: bytes) -> tuple[Places, Places]:
    """Where words start, and where they end (exclusive)."""
    classes = np.frombuffer(b"%c%b%c" % (_SPACE, data.translate(_CLASSES), _SPACE), np.uint8)
    before, after = classes[:-1], classes[1:]
    # A mark always is at a bound; a letter or digit where its neighbour is none.
    starts = np.flatnonzero(after > (before == _ALNUM))
    return starts, np.flatnonzero(before > (after == _ALNUM))


def _splits_by_bert_rules(rust: Tokenizer) -> bool:
    """Whether nothing but replacements of other characters precedes the BERT rules."""
    spec = json.loads(rust.to_str())
    normalizer = spec["normalizer"] or {}
    steps = normalizer.get("normalizers", [normalizer])
    harmless = all(
        step["type"] == "Replace" and not step["pattern"].get("String", "a").isascii()
        for step in steps[:-1]
    )
    splitter = spec["pre_tokenizer"] or {}
    return harmless and steps[-1] == _BERT_NORMALIZER and splitter == {"type": "BertPreTokenizer"}
