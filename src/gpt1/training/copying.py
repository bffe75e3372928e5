"""How much of what a model writes it has copied, how varied it is, what the data repeats.

Runs of n tokens are compared by 64-bit hashes, a few sums over arrays each. Two different runs
share a hash by chance once in 10**19 comparisons.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpt1.data.batches import BatchSource, PackedRows, TokenWindows
from gpt1.model import IGNORED

COPY_SIZES = (4, 5, 6, 7, 8)
"""Lengths of the runs looked for in the training data."""

VARIETY_SIZES = (1, 2, 3)

STRETCH = 50
"""Tokens of a stretch that is unlikely to recur by chance (Lee et al., 2022)."""

SEARCHED_TOKENS = 20_000_000
"""Training tokens that are searched at most, from the first on: a matter of seconds."""

PART = 1_000_000
"""Tokens that are hashed at once."""

BETWEEN = -1
"""Stands between two texts."""

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Repeats:
    """What of the training data stands in it more than once.

    Attributes:
        unit: What was compared: "texts" or "stretches of 50 tokens".
        total: How many there are.
        repeated: Those of them that had been there before.
    """

    unit: str
    total: int
    repeated: int


def training_tokens(source: BatchSource) -> Iterator[NDArray[np.int64]]:
    """The first `SEARCHED_TOKENS` a run trains on, with `BETWEEN` where a text ends.

    Args:
        source: Packed rows or windows of token streams.

    Yields:
        Arrays of ids.
    """
    left = SEARCHED_TOKENS
    for stream in _streams(source):
        if left <= 0:
            return
        yield stream[:left].astype(np.int64)
        left -= len(stream)


def _streams(source: BatchSource) -> Iterator[NDArray[np.integer]]:
    if isinstance(source, TokenWindows):
        yield from source.streams
    elif isinstance(source, PackedRows):
        packed = source.packed
        ids = np.where(packed.labels == IGNORED, BETWEEN, packed.input_ids)
        starts = np.diff(packed.segment_ids, axis=1, prepend=-1) != 0
        yield np.insert(ids.ravel(), np.flatnonzero(starts.ravel()), BETWEEN)


def copy_rates(
    texts: Sequence[Sequence[int]],
    streams: Iterable[NDArray[np.int64]],
    sizes: Sequence[int] = COPY_SIZES,
) -> dict[int, float | None]:
    """The share of the runs of n tokens in some texts that occur in the training data.

    Args:
        texts: Token ids of what a model wrote.
        streams: Of `training_tokens`.
        sizes: n, ascending.

    Returns:
        A share for each n, or None where no text has n tokens.
    """
    written = {size: _written(texts, size) for size in sizes}
    found = {size: np.zeros(len(hashes), bool) for size, (hashes, _) in written.items()}
    for part in _parts(streams, max(sizes)):
        for size, hashes in hashed(part, sizes):
            found[size] |= np.isin(written[size][0], hashes)
    return {
        size: float(counts[found[size]].sum() / counts.sum()) if len(counts) else None
        for size, (_, counts) in written.items()
    }


def _written(
    texts: Sequence[Sequence[int]], size: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of the different runs of the texts, and how often each occurs."""
    runs = [hashes for text in texts for _, hashes in hashed(np.array(text, np.int64), (size,))]
    hashes, counts = np.unique(np.concatenate(runs or [_NONE]), return_counts=True)
    return hashes, counts.astype(np.int64)


def _parts(streams: Iterable[NDArray[np.int64]], overlap: int) -> Iterator[NDArray[np.int64]]:
    """The streams in parts; a run of up to ``overlap`` tokens is whole in one of them."""
    for stream in streams:
        for start in range(0, len(stream), PART):
            yield stream[start : start + PART + overlap - 1]


def hashed(
    tokens: NDArray[np.int64], sizes: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """A hash of every run of n tokens, for each n: a polynomial of random numbers, mod 2**64.

    Args:
        tokens: ``(N,)``, ids below 2**16, or `BETWEEN`.
        sizes: n, ascending.

    Yields:
        n and ``(N - n + 1,)`` hashes, none if N is below n.
    """
    numbers = _RANDOM[tokens]
    hashes = np.zeros(len(tokens) + 1, np.uint64)
    for size in range(1, max(sizes) + 1):
        enough = len(tokens) >= size
        hashes = hashes[:-1] * MULTIPLIER + numbers[size - 1 :] if enough else _NONE
        if size in sizes:
            yield size, hashes


_NONE = np.zeros(0, np.uint64)
_RANDOM = np.random.default_rng(0).integers(0, 2**64, 2**16 + 1, np.uint64)
"""A number for each id, and at the end, where -1 points to, one for `BETWEEN`."""


def distinct(texts: Sequence[Sequence[int]], size: int) -> float | None:
    """The share of the runs of n tokens in some texts that are different.

    Args:
        texts: Token ids.
        size: n.

    Returns:
        distinct-n, or None where no text has n tokens.

    Source: Li et al. (2016), "A Diversity-Promoting Objective Function".
    """
    runs = [tuple(text[i : i + size]) for text in texts for i in range(len(text) - size + 1)]
    return len(set(runs)) / len(runs) if runs else None


def repeats(source: BatchSource) -> Repeats:
    """What the training data of a run repeats: whole texts, or stretches where it is one stream.

    Args:
        source: Packed rows or windows of token streams.
    """
    if isinstance(source, PackedRows):
        [ids] = training_tokens(source)
        pieces = np.split(ids, np.flatnonzero(ids == BETWEEN))
        texts = [piece[1:].tobytes() for piece in pieces if len(piece) > 1]
        return Repeats("texts", len(texts), len(texts) - len(set(texts)))
    streams = training_tokens(source)
    hashes = np.concatenate([h for s in streams for _, h in hashed(s, (STRETCH,))])
    return Repeats(
        f"stretches of {STRETCH} tokens", len(hashes), len(hashes) - len(np.unique(hashes))
    )
