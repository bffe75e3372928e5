"""How often each word occurs in texts, in bounded memory: what a vocabulary is learned from."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from gpt1.errors import TokenizerError
from gpt1.text.original_mode import NEWLINE, chunks_of, split_chunk

Word = TypeVar("Word", str, bytes)

MOST_WORDS = 2_000_000
"""Different words that are counted (some 300 MB); with more, the rarest are forgotten."""
BLOCK_CHARS = 1 << 24
"""Characters whose words are counted before the counts are added up."""

_log = logging.getLogger(__name__)


def count_bert_words(texts: Iterable[str], normalizer: normalizers.Normalizer) -> dict[str, int]:
    """Count the words that mode ``bert`` finds, on all cores.

    Args:
        texts: Repaired texts or parts of them.
        normalizer: Of the tokenizer.

    Raises:
        TokenizerError: If there are none.
    """
    rust = Tokenizer(models.BPE())
    rust.normalizer = normalizer
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def count(block: list[str]) -> Mapping[str, int]:
        # With no alphabet the trainer only counts; its state is where the counts can be read.
        trainer = trainers.BpeTrainer(vocab_size=0, limit_alphabet=0, show_progress=False)
        rust.train_from_iterator(block, trainer)
        words: dict[str, int] = json.loads(trainer.__getstate__())["BpeTrainer"]["words"]
        return words

    return _checked(_sum(map(count, _blocks(texts))))


def count_original_words(texts: Iterable[str]) -> dict[str, int]:
    """Count the words that mode ``original`` finds; newlines are not counted.

    Args:
        texts: Repaired texts or parts of them.

    Raises:
        TokenizerError: If there are none.
    """
    chunks = _sum(Counter(chunks_of(block)) for block in _blocks(texts))
    words: Counter[str] = Counter()
    for chunk, count in chunks.items():
        for word in split_chunk(chunk.decode())[0]:
            words[word.lower()] += count
    del words[NEWLINE]
    return _checked(words)


def _checked(counts: dict[str, int]) -> dict[str, int]:
    if not counts:
        raise TokenizerError("the training texts hold no word; pass at least one")
    return counts


def _sum(blocks: Iterable[Mapping[Word, int]]) -> Counter[Word]:
    """All counts, of the commonest words at least."""
    total: Counter[Word] = Counter()
    for counts in blocks:
        total.update(counts)
        if len(total) > MOST_WORDS:
            least = sorted(total.values(), reverse=True)[MOST_WORDS // 2]
            _log.warning(
                "more than %d different words: those seen %d times or less so far are forgotten",
                MOST_WORDS,
                least,
            )
            total = Counter({word: count for word, count in total.items() if count > least})
    return total


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size >= BLOCK_CHARS:
            yield block
            block, size = [], 0
    if block:
        yield block
