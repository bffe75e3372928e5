"""Bulk encoding of plain text: words repeat, so each is split into tokens once and looked up after.

Serves ASCII text, where the BERT rules are simple: lower-case, letters and digits make words, each
punctuation mark is one. Everything else goes through the Rust pipeline.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import chain

from tokenizers import Tokenizer

MOST_WORDS = 200_000
"""Words that are remembered; beyond that, memory starts anew."""

_WORDS = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]").findall
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
        rust: The pipeline that a new word goes through; special tokens must not be parsed.

    Attributes:
        usable: Whether the pipeline splits ASCII text by the BERT rules.
    """

    def __init__(self, rust: Tokenizer) -> None:
        self._rust = rust
        self._ids: dict[str, tuple[int, ...]] = {}
        self.usable = _splits_by_bert_rules(rust)

    def serves(self, text: str) -> bool:
        """Whether the text is plain enough to be encoded here."""
        return self.usable and text.isascii() and not _CONTROL(text)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, all of which it `serves`; equal to those of the Rust pipeline."""
        words = [_WORDS(text.lower()) for text in texts]
        if len(self._ids) > MOST_WORDS:
            self._ids = {}
        known = self._ids  # other threads may start anew meanwhile
        new = list(set(chain.from_iterable(words)).difference(known))
        for word, encoding in zip(new, self._rust.encode_batch_fast(new), strict=True):
            known[word] = tuple(encoding.ids)
        return [list(chain.from_iterable(map(known.__getitem__, row))) for row in words]


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
