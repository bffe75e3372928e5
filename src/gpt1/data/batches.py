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
        """The same batch on a device; from pinned memory, copied while the program goes on."""
        fast = device.type == "cuda"
        moved = (None if x is None else x.to(device, non_blocking=fast) for x in self)
        return Batch(*moved)  # type: ignore[arg-type]


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
    """Contiguous windows of long token streams (GPT-1 section 4.1).

    Windows are numbered through the epochs: number ``epoch * len(windows) + i`` is window i of that
    epoch, as `window_order` gives them. No two windows of an epoch share a token.

    Args:
        streams: Token arrays, usually memory-mapped; a window does not span two of them.
        seq_len: Tokens of a window.
        seed: With one, every epoch cuts a stream at other places: it begins at an offset drawn for
            (seed, epoch), and what is left at the two ends, less than two windows, is not read in
            that epoch. None: all epochs begin with the first token of a stream, and what is left
            at its end, less than a window, is never read.

    Raises:
        DataError: If no stream is as long as a window.
    """

    def __init__(
        self, streams: Sequence[NDArray[np.uint16]], seq_len: int, seed: int | None = None
    ) -> None:
        self.streams = [np.asarray(stream) for stream in streams]  # slices faster than a memmap
        self.seq_len = seq_len
        self.seed = seed
        sizes = np.array([len(stream) for stream in streams], dtype=np.int64)
        counts = sizes // seq_len
        if seed is not None:  # as many as fit behind any offset, but one at least
            counts = np.maximum(np.minimum(counts, 1), (sizes + 1) // seq_len - 1)
        self.last = np.cumsum(counts)
        self.first = self.last - counts
        self.highest = np.clip(sizes - counts * seq_len, 0, seq_len - 1)
        if not len(self):
            raise DataError(
                f"{sizes.sum()} tokens of data are less than one sequence of {seq_len}; "
                "give more text or a smaller --seq-len"
            )

    def __len__(self) -> int:
        return int(self.last[-1]) if len(self.last) else 0

    def rows(self, indices: NDArray[np.int64]) -> Batch:
        """The windows with these numbers."""
        epochs, places = np.divmod(indices, len(self))
        numbers = np.searchsorted(self.last, places, side="right")
        starts = (places - self.first[numbers]) * self.seq_len
        if self.seed is not None:
            for epoch in np.unique(epochs):
                starts += np.where(epochs == epoch, self._offsets(self.seed, epoch)[numbers], 0)
        windows = [
            self.streams[number][start : start + self.seq_len]
            for number, start in zip(numbers.tolist(), starts.tolist(), strict=True)
        ]
        ids = torch.from_numpy(np.stack(windows).astype(np.int64))
        return Batch(ids, ids, None)

    def _offsets(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Where each stream begins in an epoch."""
        # The third number keeps them apart from the order, which is drawn for (seed, epoch).
        random = np.random.default_rng((seed, epoch, 1))
        offsets: NDArray[np.int64] = random.integers(self.highest, endpoint=True)
        return offsets


def some_rows(source: BatchSource, number: int) -> Any:
    """So many sequences, the first ones; of a source that has fewer, some more than once."""
    return source.rows(np.resize(np.arange(min(number, len(source))), number))


def steps_per_epoch(sequences: int, batch_size: int) -> int:
    """Updates in one pass over the data; the last one may be smaller."""
    return -(-sequences // batch_size)


Order: TypeAlias = Callable[[int, int, int, int], NDArray[np.int64]]
"""Numbers of the sequences of an epoch, each once: from (count, batch size, epoch, seed)."""


def random_order(sequences: int, batch_size: int, epoch: int, seed: int) -> NDArray[np.int64]:
    """An `Order` that does not look at the sequences."""
    return _permutation(sequences, epoch, seed)


def window_order(sequences: int, batch_size: int, epoch: int, seed: int) -> NDArray[np.int64]:
    """A random `Order` whose numbers go on from epoch to epoch, for `TokenWindows`."""
    return _permutation(sequences, epoch, seed, first=epoch * sequences)


@lru_cache(maxsize=2)
def _permutation(sequences: int, epoch: int, seed: int, first: int = 0) -> NDArray[np.int64]:
    numbers = np.random.default_rng((seed, epoch)).permutation(sequences)
    numbers += first
    return numbers


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
