"""Text to ids by the C++ library: what `gpt1.text.word_cache` does, without leaving it for a word.

See `csrc/words.cpp`, where byte-pair encoding follows the `tokenizers` library.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from ctypes import Structure, byref, c_int64, c_void_p
from itertools import chain
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt1.native.library import library
from gpt1.text.word_cache import IdsAndSizes, Split

MOST_WORDS = 400_000
"""Words that are remembered; beyond that, memory starts anew."""
MOST_BYTES = 32_000_000
"""Of all ids and of long words."""

SPACE, NEWLINE, SINGLE, ODD, WORD = range(5)
"""Classes of bytes.

A byte of class ``SINGLE`` is a word; other words are stretches of bytes of one class, ``WORD`` or
above. In mode ``bert``, all between two spaces is one word if any of its bytes is ``ODD``.
"""

MODES = {"bert": 0, "original": 1}
"""Modes, by the library's numbers."""

TAIL, STEM = b"\1", b"\2"
"""What stands before what is known beside words, in mode ``original``.

Behind `TAIL`: the end of a word, its last two letters as q or Q, with what follows them; its ids
are how many bytes of that belong to the first word, and the ids of the others.
"""
_PLAIN: dict[str, Any] = {
    **dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), False),
    "dropout": None,
    "continuing_subword_prefix": "",
}


class _Result(Structure):
    _fields_ = [
        *(("ids", c_void_p), ("count", c_int64), ("lengths", c_void_p), ("texts", c_int64)),
        *(("missing", c_void_p), ("missing_size", c_int64), ("words", c_int64), ("bytes", c_int64)),
    ]


class Vocabulary:
    """Pieces and merges. Thread-safe; see `Vocabulary.of`.

    Args:
        loaded: The library.
        handle: Its vocabulary, which this object frees.
    """

    LONGEST = 64
    """Bytes of the longest word that it encodes."""

    def __init__(self, loaded: ctypes.CDLL, handle: int) -> None:
        self.library, self.handle = loaded, handle
        weakref.finalize(self, _free, loaded.gpt1_vocabulary_free, handle, os.getpid())

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Vocabulary | None:
        """A vocabulary from the ``model`` of a `tokenizer.json`.

        Returns:
            None where there is no library, if the model has an option that it does not know, or if
            its merges are not pairs of pieces that make a piece.
        """
        loaded = library()
        known = all(model.get(name) in (value, None) for name, value in _PLAIN.items())
        if loaded is None or not known:
            return None
        ids, merges = model["vocab"], model.get("merges", ())
        pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
        if {*map(type, pairs)} - {list} or {*map(len, pairs)} - {2}:
            return None
        pieces = _joined(sorted(ids, key=ids.__getitem__))
        parts = _joined(list(chain.from_iterable(pairs)))
        if pieces is None or parts is None:
            return None
        unknown = ids[model["unk_token"]]
        handle = loaded.gpt1_vocabulary_new(pieces, len(pieces), parts, len(parts), unknown)
        return cls(loaded, handle) if handle else None

    def encode(self, words: Sequence[bytes]) -> IdsAndSizes:
        """Encode words.

        Args:
            words: Without zero bytes, each of 1 to `LONGEST` bytes.

        Returns:
            The ids of all words, and how many each has.
        """
        data = b"\0".join(words)
        ids, sizes = np.empty(len(data), np.int32), np.empty(len(words), np.int64)
        count = self.library.gpt1_vocabulary_encode(
            self.handle, data, len(data), ids.ctypes.data, sizes.ctypes.data
        )
        return ids[:count], sizes


def _joined(parts: list[str]) -> bytes | None:
    """Texts with zero bytes between them; None if that is ambiguous, or they are no texts."""
    try:
        joined = "\0".join(parts).encode()
    except (TypeError, UnicodeEncodeError):
        return None
    plain = joined.count(b"\0") == max(0, len(parts) - 1) and "" not in parts
    return joined if plain else None


class Rules(NamedTuple):
    """How text becomes words, as far as the library does not know it.

    Attributes:
        mode: One of `MODES`.
        classes: A class for each byte.
        split: Splits words that are beyond the library's rules, none empty and none twice.
        beyond: Words the library is to have split though they look simple, and `STEM` before stems
            for which `TAIL` does not hold.
    """

    mode: str
    classes: bytes
    split: Callable[[list[bytes]], Split]
    beyond: Callable[[], list[bytes]] = list


class WordTable:
    """Ids of texts whose words are looked up. Thread-safe, and whole in a forked process.

    Args:
        vocabulary: Encodes words.
        rules: Make words of text.
    """

    def __init__(self, vocabulary: Vocabulary, rules: Rules) -> None:
        self._vocabulary = vocabulary
        self._rules = rules
        self._memory: _Memory | None = None

    def encode(self, texts: bytes) -> IdsAndSizes:
        """Encode texts.

        Args:
            texts: UTF-8, with a zero byte behind each text.

        Returns:
            The ids of all texts, and how many each text has.
        """
        memory = self._memory
        # What a forked process inherits may be locked, by a thread that it has not, and half done.
        if memory is None or memory.is_full or memory.process != os.getpid():
            memory = self._memory = _Memory(self._vocabulary, self._rules)
        with memory.lock:
            return memory.encode(texts)


class _Memory:
    """The words of one process."""

    def __init__(self, vocabulary: Vocabulary, rules: Rules) -> None:
        self.vocabulary = vocabulary  # lives as long as the words that use it
        self.library = vocabulary.library
        self.split = rules.split
        self.lock = Lock()
        self.process = os.getpid()
        self.result = _Result()
        mode = MODES[rules.mode]
        self.handle = self.library.gpt1_words_new(vocabulary.handle, mode, rules.classes)
        weakref.finalize(self, _free, self.library.gpt1_words_free, self.handle, self.process)
        beyond = b"\0".join(rules.beyond())
        self.library.gpt1_words_mark(self.handle, beyond, len(beyond))

    @property
    def is_full(self) -> bool:
        return bool(self.result.words > MOST_WORDS or self.result.bytes > MOST_BYTES)

    def encode(self, texts: bytes) -> IdsAndSizes:
        result = self.result
        self.library.gpt1_words_encode(self.handle, texts, len(texts), byref(result))
        while result.missing_size:
            missing = ctypes.string_at(result.missing, result.missing_size)[:-1].split(b"\0")
            self.learn(list(dict.fromkeys(missing)))
            self.library.gpt1_words_finish(self.handle, byref(result))
        ids = np.empty(result.count, np.int32)
        lengths = np.empty(result.texts, np.int64)
        ctypes.memmove(ids.ctypes.data, result.ids, ids.nbytes)
        ctypes.memmove(lengths.ctypes.data, result.lengths, lengths.nbytes)
        return ids, lengths

    def learn(self, words: list[bytes]) -> None:
        if not words:
            return
        ids, sizes, social = self.split(words)
        data = b"\0".join(words)
        arrays: list[NDArray[Any]] = [
            np.ascontiguousarray(ids, np.int32),
            np.ascontiguousarray(sizes, np.int64),
            np.ascontiguousarray(social, np.uint8),  # `SOCIAL` in the library
        ]
        self.library.gpt1_words_learn(
            self.handle, data, len(data), *(array.ctypes.data for array in arrays)
        )


def _free(free: Callable[[int], None], handle: int, process: int) -> None:
    if process == os.getpid():  # in a forked one it may be half done
        free(handle)
