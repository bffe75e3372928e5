"""What the two tokenizer modes make of the same texts: where ids differ, and how many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, tee
from typing import Any, TypeAlias

from gpt1.backbone import Backbone
from gpt1.config import MODES
from gpt1.errors import DataError
from gpt1.evaluation.scoring import Perplexity, perplexity
from gpt1.text.detokenize import END_OF_WORD
from gpt1.tokenizer import Encoding, Tokenizer

MOST_WORDS = 200_000
"""Different words that are counted; with more, the rarer half is forgotten."""

Spellings: TypeAlias = "tuple[str, tuple[str, ...], tuple[str, ...]]"
"""A word of the text, its pieces in mode ``original`` and those in mode ``bert``."""


@dataclass(frozen=True)
class WordDifference:
    """A word that the modes split differently.

    Attributes:
        word: As it stands in the texts.
        count: How often it does.
        original: Its pieces in mode ``original``.
        bert: Its pieces in mode ``bert``.
    """

    word: str
    count: int
    original: tuple[str, ...]
    bert: tuple[str, ...]


@dataclass(frozen=True)
class TokenizerDifference:
    """How far the modes are apart on some texts.

    Attributes:
        texts: Number of texts.
        differing: How many of them have other ids in one mode than in the other.
        original_tokens: Ids of all texts in mode ``original``.
        bert_tokens: Ids of all texts in mode ``bert``.
        words: The words that differ most often.
    """

    texts: int
    differing: int
    original_tokens: int
    bert_tokens: int
    words: list[WordDifference]


def compare_modes(
    texts: Iterable[str], tokenizer: Tokenizer, *, top: int = 20
) -> TokenizerDifference:
    """Encode texts in both modes and find what differs, in bounded memory.

    Args:
        texts: Read once, lazily.
        tokenizer: Whose vocabulary is used, in both modes.
        top: How many words to list.

    Returns:
        What was found.

    Raises:
        DataError: If there is no text.
        TokenizerError: If a text is not a string.
    """
    modes = [tokenizer.with_mode(mode) for mode in MODES]
    spellings = _Spellings(modes)
    number = differing = original_tokens = bert_tokens = 0
    for text, original_ids, bert_ids in _with_ids(texts, modes):
        number += 1
        original_tokens += len(original_ids)
        bert_tokens += len(bert_ids)
        if original_ids != bert_ids:
            differing += 1
            spellings.count(text)
    if not number:
        raise DataError("there is no text to compare; check the data or the column")
    words = [
        WordDifference(word, count, original, bert)
        for (word, original, bert), count in spellings.counts.most_common(top)
    ]
    return TokenizerDifference(number, differing, original_tokens, bert_tokens, words)


def mode_losses(
    model: Backbone, texts: Iterable[str], tokenizer: Tokenizer
) -> Iterator[tuple[str, Perplexity]]:
    """Yield each mode and how well the model predicts the texts when they are split in it.

    Args:
        model: Any device, any dtype.
        texts: Can be iterated over again and again.
        tokenizer: Of the model; its own mode does not matter.

    Raises:
        DataError: If no text has two tokens.
    """
    for mode in MODES:
        yield mode, perplexity(model, _with_ids(texts, [tokenizer.with_mode(mode)]))


def _with_ids(texts: Iterable[str], modes: list[Tokenizer]) -> Iterator[tuple[Any, ...]]:
    """Each text with its ids in each mode."""
    given, *copies = tee(texts, len(modes) + 1)
    streams = [mode.encode_stream(copy) for mode, copy in zip(modes, copies, strict=True)]
    return zip(given, *streams, strict=False)


class _Spellings:
    """Counts the words that differ."""

    def __init__(self, modes: list[Tokenizer]) -> None:
        self.modes = modes
        self.counts: Counter[Spellings] = Counter()
        self.of_chunk = lru_cache(MOST_WORDS)(self._of_chunk)
        original, bert = (tuple(mode.pieces(mode.encode("a\na")[1:-1])) for mode in modes)
        self.newline = ("\n", original, bert)

    def count(self, text: str) -> None:
        """Add the differing words of a text."""
        for chunk in text.split():
            self.counts.update(self.of_chunk(chunk))
        lines = sum(1 for line in text.splitlines() if line.strip())
        if lines > 1:
            self.counts[self.newline] += lines - 1
        if len(self.counts) > MOST_WORDS:
            self.counts = Counter(dict(self.counts.most_common(MOST_WORDS // 2)))

    def _of_chunk(self, chunk: str) -> list[Spellings]:
        """The shortest stretches of a chunk, cut where both modes cut, that have other pieces."""
        original, bert = (mode.encode_with_offsets(chunk) for mode in self.modes)
        cuts = {0, len(chunk), *(_word_ends(original) & _word_ends(bert))}
        found = []
        for start, end in pairwise(sorted(cuts)):
            left, right = (_pieces_within(side, start, end) for side in (original, bert))
            if left != right:
                found.append((chunk[start:end], left, right))
        return found


def _word_ends(encoding: Encoding) -> set[int]:
    """Where words end; not those of which the last character is unknown."""
    places = zip(encoding.pieces, encoding.offsets, strict=True)
    return {end for piece, (_, end) in places if piece.endswith(END_OF_WORD)}


def _pieces_within(encoding: Encoding, start: int, end: int) -> tuple[str, ...]:
    places = zip(encoding.pieces, encoding.offsets, strict=True)
    return tuple(piece for piece, (_, stop) in places if start < stop <= end)
