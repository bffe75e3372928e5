"""Packing: many short texts in rows of one length, kept apart by segment numbers.

Texts are placed longest first, each row taking the longest text that still fits, so nearly no space
is left over. No token is lost: a text longer than a row is continued in a row of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from gpt1.errors import DataError
from gpt1.model import IGNORED
from gpt1.native.rows import Places, Texts, fill, place

PADDING_ID = 0


@dataclass(frozen=True)
class TokenTexts:
    """Token ids of many texts, in two arrays.

    Attributes:
        ids: ``(N,)``, int32: all texts behind one another.
        lengths: ``(R,)``, int64: tokens of each text.
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]]) -> TokenTexts:
        """From one list of ids a text."""
        ids = np.fromiter(chain.from_iterable(texts), np.int32)
        return cls(ids, np.fromiter(map(len, texts), np.int64, len(texts)))

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        return iter(np.split(self.ids, np.cumsum(self.lengths))[:-1])

    @property
    def starts(self) -> NDArray[np.int64]:
        """``(R,)``: where in ``ids`` each text begins."""
        return np.cumsum(self.lengths) - self.lengths

    def parts(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> TokenTexts:
        """The stretches of ``ids`` that begin at ``starts`` and are ``lengths`` long, as texts."""
        inside = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return TokenTexts(self.ids[np.repeat(starts, lengths) + inside], lengths)

    def select(self, texts: NDArray[np.int64]) -> TokenTexts:
        """The texts with these numbers."""
        return self.parts(self.starts[texts], self.lengths[texts])

    def with_end(self, token_id: int) -> TokenTexts:
        """Each text with one token more at its end."""
        ids = np.insert(self.ids, np.cumsum(self.lengths), token_id)
        return TokenTexts(ids, self.lengths + 1)


@dataclass(frozen=True)
class PackedTexts:
    """Texts in rows of equal length.

    Attributes:
        input_ids: ``(R, T)``, int32; padding is id 0.
        segment_ids: ``(R, T)``, int32: 0, 1, ... for the texts of a row, one more for its padding.
        labels: ``(R, T)``, int32: the ids, or -100 on padding.
    """

    input_ids: NDArray[np.int32]
    segment_ids: NDArray[np.int32]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def padding_fraction(self) -> float:
        """Share of the positions that hold no token."""
        return float((self.labels == IGNORED).mean())


def pack(
    texts: TokenTexts | Sequence[Sequence[int]], seq_len: int, *, seed: int = 0
) -> PackedTexts:
    """Put token lists into rows of ``seq_len``.

    Args:
        texts: Token ids of each text; empty ones take no space.
        seq_len: Tokens of a row. A longer text is cut into rows of this length and a remainder.
        seed: Of the order in which texts of equal length are placed, and of the rows.

    Returns:
        The rows, in random order.

    Raises:
        DataError: If no text has a token.
    """
    if not isinstance(texts, TokenTexts):
        texts = TokenTexts.of(texts)
    flat = texts.ids
    if not len(flat):
        raise DataError("there is no token to pack; the data holds no text")
    lengths = _cut(texts.lengths[texts.lengths > 0], seq_len)
    starts = np.cumsum(lengths) - lengths  # of each piece in ``flat``
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(lengths))
    by_length = shuffled[np.argsort(lengths[shuffled], kind="stable")]
    pieces = Texts(flat, starts[by_length], lengths[by_length])
    rows, offsets, segments = place(pieces.lengths, seq_len) or _place(pieces.lengths, seq_len)
    places = rng.permutation(rows.max() + 1)[rows], offsets, segments
    filled = fill(pieces, places, seq_len, PADDING_ID, IGNORED)
    return PackedTexts(*filled) if filled else _scatter(pieces, places, seq_len)


def _cut(lengths: NDArray[np.int64], seq_len: int) -> NDArray[np.int64]:
    """Lengths after cutting each into full rows and a remainder, in the order of the tokens."""
    pieces = -(-lengths // seq_len)
    cut = np.full(pieces.sum(), seq_len)
    cut[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * seq_len
    return cut


def _place(lengths: NDArray[np.int64], seq_len: int) -> Places:
    """Row, offset in the row and number in the row of every piece; ``lengths`` is sorted.

    Each row takes, again and again, the longest piece left that fits: pieces of one length are
    taken from the end of their run in the sorted array.
    """
    values, first = np.unique(lengths, return_index=True)
    sizes, begins = values.tolist(), first.tolist()
    ends = [*begins[1:], len(lengths)]
    rows, offsets, segments = (np.zeros(len(lengths), np.int64) for _ in range(3))
    row = 0
    while sizes:
        used = segment = 0
        while (k := bisect_right(sizes, seq_len - used) - 1) >= 0:
            ends[k] -= 1
            piece = ends[k]
            rows[piece], offsets[piece], segments[piece] = row, used, segment
            used += sizes[k]
            segment += 1
            if ends[k] == begins[k]:
                del sizes[k], begins[k], ends[k]
        row += 1
    return rows, offsets, segments


def _scatter(pieces: Texts, places: Places, seq_len: int) -> PackedTexts:
    """Copy all tokens to their rows at once."""
    flat, starts, lengths = pieces
    rows, offsets, segments = places
    inside = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    target = np.repeat(rows * seq_len + offsets, lengths) + inside
    shape = (int(rows.max()) + 1, seq_len)
    input_ids = np.full(shape, PADDING_ID, np.int32)
    labels = np.full(shape, IGNORED, np.int32)
    last = np.zeros(shape[0], np.int32)
    np.maximum.at(last, rows, segments.astype(np.int32))
    segment_ids = np.repeat(last[:, None] + 1, seq_len, axis=1)
    tokens = flat[np.repeat(starts, lengths) + inside]
    input_ids.ravel()[target] = tokens
    labels.ravel()[target] = tokens
    segment_ids.ravel()[target] = np.repeat(segments, lengths)
    return PackedTexts(input_ids, segment_ids, labels)
