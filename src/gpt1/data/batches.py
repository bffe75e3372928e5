"""Batches whose order is a pure function of (seed, step), so that a run can resume anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt1.data.packing import PackedTexts
from gpt1.errors import DataError


class Batch(NamedTuple):
    """Sequences of one step.

    Attributes:
        input_ids: ``(B, T)``, int64.
        labels: ``(B, T)``, int64; -100 is no target.
        segment_ids: ``(B, T)``, int64, or None where each row is one text.
    """

    input_ids: Tensor
    labels: Tensor
    segment_ids: Tensor | None

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        segments = None if self.segment_ids is None else self.segment_ids.to(device)
        return Batch(self.input_ids.to(device), self.labels.to(device), segments)


class BatchSource(Protocol):
    """What the training loop reads from."""

    def __len__(self) -> int:
        """Sequences of one epoch."""

    def rows(self, indices: NDArray[np.int64]) -> Any:
        """The sequences with these numbers, as the objective of the run wants them."""


class PackedRows:
    """Rows of packed texts.

    Args:
        packed: From `gpt1.data.packing.pack`.
    """

    def __init__(self, packed: PackedTexts) -> None:
        self.packed = packed

    def __len__(self) -> int:
        return len(self.packed)

    def rows(self, indices: NDArray[np.int64]) -> Batch:
        """The rows with these numbers."""
        packed = self.packed
        return Batch(
            *(
                torch.from_numpy(array[indices]).long()
                for array in (packed.input_ids, packed.labels, packed.segment_ids)
            )
        )


class TokenWindows:
    """Contiguous windows of long token streams (GPT-1 section 4.1); every token is in one window.

    Args:
        streams: Token arrays, usually memory-mapped; a window does not span two of them.
        seq_len: Tokens of a window. What is left at the end of a stream, less than that, is not
            used.

    Raises:
        DataError: If no stream is as long as a window.
    """

    def __init__(self, streams: Sequence[NDArray[np.uint16]], seq_len: int) -> None:
        self.streams = streams
        self.seq_len = seq_len
        self.last = np.cumsum([len(stream) // seq_len for stream in streams])
        if not len(self):
            tokens = sum(len(stream) for stream in streams)
            raise DataError(
                f"{tokens} tokens of data are less than one sequence of {seq_len}; "
                "give more text or a smaller --seq-len"
            )

    def __len__(self) -> int:
        return int(self.last[-1]) if len(self.last) else 0

    def rows(self, indices: NDArray[np.int64]) -> Batch:
        """The windows with these numbers."""
        ids = torch.from_numpy(np.stack([self._window(int(i)) for i in indices]))
        return Batch(ids, ids, None)

    def _window(self, index: int) -> NDArray[np.int64]:
        stream = int(np.searchsorted(self.last, index, side="right"))
        start = (index - (self.last[stream - 1] if stream else 0)) * self.seq_len
        return self.streams[stream][start : start + self.seq_len].astype(np.int64)


def some_rows(source: BatchSource, number: int) -> Any:
    """So many sequences, the first ones; of a source that has fewer, some more than once."""
    return source.rows(np.resize(np.arange(min(number, len(source))), number))


def steps_per_epoch(sequences: int, batch_size: int) -> int:
    """Updates in one pass over the data; the last one may be smaller."""
    return -(-sequences // batch_size)


Order: TypeAlias = Callable[[int, int, int, int], NDArray[np.int64]]
"""All numbers below a count once: a function of (count, batch size, epoch, seed)."""


def random_order(sequences: int, batch_size: int, epoch: int, seed: int) -> NDArray[np.int64]:
    """An `Order` that does not look at the sequences."""
    return _permutation(sequences, epoch, seed)


@lru_cache(maxsize=2)
def _permutation(sequences: int, epoch: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(sequences)


def batch_indices(
    sequences: int, batch_size: int, step: int, seed: int, order: Order = random_order
) -> NDArray[np.int64]:
    """Numbers of the sequences of one update.

    Args:
        sequences: Of one epoch.
        batch_size: Sequences of an update; the last of an epoch has what is left.
        step: Update, from 1.
        seed: Of the order; every epoch has another.
        order: Puts the sequences of an epoch in order.

    Returns:
        ``(batch_size,)`` or fewer; over an epoch each number comes once.
    """
    epoch, place = divmod(step - 1, steps_per_epoch(sequences, batch_size))
    numbers = order(sequences, batch_size, epoch, seed)
    return numbers[place * batch_size : (place + 1) * batch_size]
