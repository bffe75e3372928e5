"""Bulk encoding of plain text: words repeat, so each is split into tokens once and looked up after.

Serves ASCII text, where the BERT rules are simple: lower-case, letters and digits make words, each
punctuation mark is one. Everything else goes through the Rust pipeline.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import WhitespaceSplit

MOST_WORDS = 200_000
"""Words that are remembered; beyond that, memory starts anew."""

_END = "\x00"
"""Put behind each text; none that is served holds it."""

_WORDS = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~\x00]").findall
# The BERT rules drop these, and thereby join what stands on either side.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]").search
_BERT_NORMALIZER = {
    "type": "BertNormalizer",
    "clean_text": True,
    "handle_chinese_chars": True,
    "strip_accents": None,
    "lowercase": True,
}


class WordCache:
    """Encodes plain texts by looking up their words.

    Args:
        rust: The pipeline to imitate; its special tokens are not parsed.

    Attributes:
        usable: Whether the pipeline splits ASCII text by the BERT rules.
    """

    def __init__(self, rust: Tokenizer) -> None:
        self._bpe = Tokenizer(rust.model)
        self._bpe.pre_tokenizer = WhitespaceSplit()
        self._ids: dict[str, tuple[int, ...]] = {_END: (-1,)}
        self.usable = _splits_by_bert_rules(rust)

    def serves(self, text: str) -> bool:
        """Whether the text is plain enough to be encoded here."""
        return self.usable and text.isascii() and not _CONTROL(text)

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Encode texts, all of which it `serves`.

        Args:
            texts: Plain texts.

        Returns:
            The ids of all texts behind one another, equal to those of the Rust pipeline, and how
            many ids each text has.
        """
        words = _WORDS(_END.join([*texts, ""]).lower())
        if len(self._ids) > MOST_WORDS:
            self._ids = {_END: (-1,)}
        known = self._ids  # other threads may start anew meanwhile
        new = list(set(words).difference(known))
        known.update(zip(new, self._split(new), strict=True))
        marked = np.fromiter(chain.from_iterable(map(known.__getitem__, words)), np.int32)
        ends = np.flatnonzero(marked < 0)
        return marked[marked >= 0], np.diff(ends, prepend=-1) - 1

    def _split(self, words: list[str]) -> list[tuple[int, ...]]:
        """Ids of each word; one text of all words takes a sixth of the time of a text each."""
        encoding = self._bpe.encode(" ".join(words))
        ids: list[list[int]] = [[] for _ in words]
        for number, token_id in zip(encoding.word_ids, encoding.ids, strict=True):
            ids[number or 0].append(token_id)
        return list(map(tuple, ids))


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
