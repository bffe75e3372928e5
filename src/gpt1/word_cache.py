"""Bulk encoding of plain text: words repeat, so each is split into tokens once and looked up after.

Serves ASCII text, where the BERT rules are simple: lower-case, letters and digits make words, each
punctuation mark is one. Everything else goes through the Rust pipeline.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import WhitespaceSplit

MOST_WORDS = 200_000
"""Words that are remembered; beyond that, memory starts anew."""

_LONGEST = 16
"""Bytes of the longest word that has a key: two integers of eight bytes each, filled with zeros."""

_SLOT_BITS = 18
_SHIFT = np.uint64(64 - _SLOT_BITS)

# The BERT rules drop these, and thereby join what stands on either side.
_CONTROL = bytes({*range(32), 127}.difference(b"\t\n\r"))
_SPACE, _ALNUM, _MARK = range(3)
_CLASSES = bytes(
    _ALNUM if chr(byte).isalnum() else _MARK if 32 < byte < 127 else _SPACE for byte in range(256)
)
# Which bits of a key's half belong to a word of so many bytes; a last row for words without key.
_MASKS = np.array(
    [[(1 << 8 * min(max(n - skip, 0), 8)) - 1 for n in range(_LONGEST + 2)] for skip in (0, 8)],
    np.uint64,
)
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)
_BERT_NORMALIZER = {
    "type": "BertNormalizer",
    "clean_text": True,
    "handle_chinese_chars": True,
    "strip_accents": None,
    "lowercase": True,
}


class WordCache:
    """Encodes plain texts by looking up their words. Thread-safe.

    Each word has a number. A table with a slot per hash guesses it for all words at once, and a
    word's whole key confirms it, so that words of one hash are never confused. A dict knows the
    numbers of the rest: words whose slot is another's, and words too long for a key.

    Args:
        rust: The pipeline to imitate; its special tokens are not parsed.

    Attributes:
        usable: Whether the pipeline splits ASCII text by the BERT rules.
    """

    def __init__(self, rust: Tokenizer) -> None:
        self._bpe = Tokenizer(rust.model)
        self._bpe.pre_tokenizer = WhitespaceSplit()
        self._lock = Lock()
        self.usable = _splits_by_bert_rules(rust)
        self._forget()

    def _forget(self) -> None:
        self._slots = np.zeros(1 << _SLOT_BITS, np.int64)
        # Number 0, of free slots, is no word.
        self._numbers = {b"": 0}
        self._keys = np.zeros((2, 1), np.uint64)
        self._ids = np.empty(0, np.int32)  # of all words, behind one another
        self._sizes = np.zeros(1, np.int64)  # how many of them each word has
        self._firsts = np.zeros(1, np.int64)  # and where they begin

    def serves(self, text: str) -> bool:
        """Whether the text is plain enough to be encoded here."""
        if not (self.usable and text.isascii()):
            return False
        return len(text.encode().translate(None, _CONTROL)) == len(text)

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Encode texts, all of which it `serves`.

        Args:
            texts: Plain texts.

        Returns:
            The ids of all texts behind one another, equal to those of the Rust pipeline, and how
            many ids each text has.
        """
        data = "\n".join(texts).lower().encode()
        starts, ends = _word_bounds(data)
        with self._lock:
            if len(self._numbers) > MOST_WORDS:
                self._forget()
            words = self._look_up(data, starts, ends)
            sizes = self._sizes[words]
            stops = np.cumsum(sizes)
            places = np.repeat(self._firsts[words] - (stops - sizes), sizes)
            places += np.arange(len(places))
            ids = self._ids[places]
        # One more for the newline behind each text.
        text_ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1)
        words_until = np.searchsorted(starts, text_ends)
        return ids, np.diff(np.append(0, stops)[words_until], prepend=0)

    def _look_up(
        self, data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The number of each word; words seen for the first time get one."""
        lengths = ends - starts
        low, high = _keys(data, starts, lengths)
        slots = (low * _FACTORS[0] ^ high * _FACTORS[1]) >> _SHIFT
        numbers: NDArray[np.int64] = self._slots[slots]
        is_short = lengths <= _LONGEST
        first, second = self._keys
        rest = np.flatnonzero(~((first[numbers] == low) & (second[numbers] == high) & is_short))
        if len(rest):
            free = (numbers[rest] == 0) & is_short[rest]
            bounds = zip(starts[rest].tolist(), ends[rest].tolist(), strict=True)
            numbers[rest] = self._look_up_each([data[start:end] for start, end in bounds])
            # The first word keeps its slot: frequent ones come early.
            self._slots[slots[rest[free]]] = numbers[rest[free]]
        return numbers

    def _look_up_each(self, words: list[bytes]) -> list[int]:
        new = [word for word in dict.fromkeys(words) if word not in self._numbers]
        if new:
            self._learn(new)
        return list(map(self._numbers.__getitem__, words))

    def _learn(self, words: list[bytes]) -> None:
        """Split new words; one text of all words takes a sixth of the time of a text each."""
        encoding = self._bpe.encode(b" ".join(words).decode())
        new_sizes = np.bincount(np.array(encoding.word_ids, np.int64), minlength=len(words))
        new_keys = np.array(words, f"S{_LONGEST}").view("<u8").reshape(-1, 2).T
        first = len(self._sizes)
        keys = np.append(self._keys, new_keys, axis=1)
        ids = np.append(self._ids, np.array(encoding.ids, np.int32))
        sizes = np.append(self._sizes, new_sizes)
        firsts = np.cumsum(sizes) - sizes
        # All at once and numbers last: an interrupt in between must not shift the ids of words.
        self._keys, self._ids, self._sizes, self._firsts = keys, ids, sizes, firsts
        self._numbers.update(zip(words, count(first), strict=False))


def _word_bounds(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where words start, and where they end (exclusive)."""
    classes = np.frombuffer(b"%c%b%c" % (_SPACE, data.translate(_CLASSES), _SPACE), np.uint8)
    before, after = classes[:-1], classes[1:]
    # A mark always is at a bound; a letter or digit where its neighbour is none.
    starts = np.flatnonzero(after > (before == _ALNUM))
    return starts, np.flatnonzero(before > (after == _ALNUM))


def _keys(
    data: bytes, starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The first and second eight bytes of each word; words beyond `_LONGEST` are cut."""
    windows: NDArray[np.uint64] = np.ndarray(
        len(data) + 9, "<u8", data + bytes(_LONGEST), strides=(1,)
    )
    rows = np.minimum(lengths, _LONGEST + 1)
    return windows[starts] & _MASKS[0][rows], windows[starts + 8] & _MASKS[1][rows]


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
