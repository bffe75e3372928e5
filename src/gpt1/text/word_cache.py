"""Bulk encoding of text whose words repeat: each is split into tokens once and looked up after.

Words are stretches of bytes; which ones, and what their ids are, is the business of the tokenizer's
mode. Everything that is done for each byte or each word is done by NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from threading import Lock
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models
from tokenizers.pre_tokenizers import CharDelimiterSplit

Places: TypeAlias = NDArray[np.int64]
IdsAndSizes: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int64]]
"""Ids of several words or texts, behind one another, and how many each has."""

MOST_WORDS = 400_000
"""Words that are remembered; beyond that, memory starts anew."""
MOST_IDS = 4_000_000
"""Ids of all of them, which bounds what very long words take."""

_LONGEST = 16
"""Bytes of the longest word that has a key: two integers of eight bytes each, filled with zeros."""

_SLOT_BITS = 18
_SHIFT = np.uint64(64 - _SLOT_BITS)

# Which bits of a key's half belong to a word of so many bytes; a last row for words without key.
_MASKS = np.array(
    [[(1 << 8 * min(max(n - skip, 0), 8)) - 1 for n in range(_LONGEST + 2)] for skip in (0, 8)],
    np.uint64,
)
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)


class Split(NamedTuple):
    """What several words consist of.

    Attributes:
        ids: Of all words, behind one another.
        sizes: How many of them each word has.
        social: Whether the ids of each word depend on other words of its line: that is then looked
            up as one word.
    """

    ids: NDArray[np.int32]
    sizes: NDArray[np.int64]
    social: NDArray[np.bool_]


class WordCache:
    """Ids of words by looking them up. Thread-safe.

    Each word has a number. A table with a slot per hash guesses it for all words at once, and a
    word's whole key confirms it, so that words of one hash are never confused. A dict knows the
    numbers of the rest: words whose slot is another's, and words too long for a key.

    Args:
        split: Splits words that are new, none empty and none twice.
    """

    def __init__(self, split: Callable[[list[bytes]], Split]) -> None:
        self._split = split
        self._lock = Lock()
        self._forget()

    def _forget(self) -> None:
        self._slots = np.zeros(1 << _SLOT_BITS, np.int64)
        # Number 0, of free slots, is no word.
        self._numbers = {b"": 0}
        self._keys = np.zeros((2, 1), np.uint64)
        self._social = np.zeros(1, np.bool_)
        self._ids = np.empty(0, np.int32)  # of all words, behind one another
        self._sizes = np.zeros(1, np.int64)  # how many of them each word has
        self._firsts = np.zeros(1, np.int64)  # and where they begin

    def encode(self, data: bytes, starts: Places, ends: Places, text_ends: Places) -> IdsAndSizes:
        """Encode the words of texts.

        Args:
            data: UTF-8 that holds all texts; no word has a zero byte.
            starts: Where in it each word begins.
            ends: Where each ends (exclusive), beyond its start.
            text_ends: Where each text ends.

        Returns:
            The ids of all texts, and how many each text has.
        """
        with self._lock:
            if len(self._numbers) > MOST_WORDS or len(self._ids) > MOST_IDS:
                self._forget()
            words = self._look_up(data, starts, ends)
            apart = self._apart(words, data, starts, text_ends)
            if not apart.all():
                starts, ends = starts[apart], ends[np.append(apart[1:], True)]
                words = self._look_up(data, starts, ends)
            sizes = self._sizes[words]
            stops = np.cumsum(sizes)
            places = np.repeat(self._firsts[words] - (stops - sizes), sizes)
            places += np.arange(len(places))
            ids = self._ids[places]
        words_until = np.searchsorted(starts, text_ends)
        return ids, np.diff(np.append(0, stops)[words_until], prepend=0)

    def _apart(
        self, words: NDArray[np.int64], data: bytes, starts: Places, text_ends: Places
    ) -> NDArray[np.bool_]:
        """Whether each word is looked up apart from the one before it."""
        social = self._social[words]
        if not social.any():
            return np.ones(len(words), np.bool_)
        is_newline = np.frombuffer(data, np.uint8)[starts] == ord("\n")
        text = np.searchsorted(text_ends, starts)
        begins = is_newline | (np.diff(text, prepend=-1) > 0)
        begins[1:] |= is_newline[:-1]
        line = np.cumsum(begins)
        apart: NDArray[np.bool_] = begins | ~np.isin(line, line[social])
        return apart

    def _look_up(self, data: bytes, starts: Places, ends: Places) -> NDArray[np.int64]:
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
        new_ids, new_sizes, new_social = self._split(words)
        new_keys = np.array(words, f"S{_LONGEST}").view("<u8").reshape(-1, 2).T
        first = len(self._sizes)
        keys = np.append(self._keys, new_keys, axis=1)
        social = np.append(self._social, new_social)
        ids = np.append(self._ids, new_ids)
        sizes = np.append(self._sizes, new_sizes)
        firsts = np.cumsum(sizes) - sizes
        # All at once and numbers last: an interrupt in between must not shift the ids of words.
        self._keys, self._social, self._ids = keys, social, ids
        self._sizes, self._firsts = sizes, firsts
        self._numbers.update(zip(words, count(first), strict=False))


def word_model(model: models.BPE) -> Tokenizer:
    """BPE of words that are joined by spaces; special tokens and whitespace mean nothing to it."""
    rust = Tokenizer(model)
    rust.pre_tokenizer = CharDelimiterSplit(" ")
    return rust


def encode_words(rust: Tokenizer, words: Sequence[str]) -> IdsAndSizes:
    """Ids of many words; one text of all takes a sixth of the time of a text each.

    Args:
        rust: Made by `word_model`.
        words: None empty or with a space.

    Returns:
        The ids of all words, and how many each word has.
    """
    encoding = rust.encode(" ".join(words))
    word_ids = np.array(encoding.word_ids, np.int64)
    return np.array(encoding.ids, np.int32), np.bincount(word_ids, minlength=len(words))


def _keys(
    data: bytes, starts: Places, lengths: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The first and second eight bytes of each word; words beyond `_LONGEST` are cut."""
    windows: NDArray[np.uint64] = np.ndarray(
        len(data) + 9, "<u8", data + bytes(_LONGEST), strides=(1,)
    )
    rows = np.minimum(lengths, _LONGEST + 1)
    return windows[starts] & _MASKS[0][rows], windows[starts + 8] & _MASKS[1][rows]
