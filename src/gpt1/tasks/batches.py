"""Batches of examples: of similar length, and with the context of a choice read only once.

A row holds one sequence, or a context and all its options one behind the other. There an option
sees the context and itself, and its positions go on from the context's end, so it is read as if it
stood there alone: a quarter of the work for four options, and the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt1.data.packing import PADDING_ID
from gpt1.tasks.encoding import Encoded

LENGTH_JITTER = 0.01
"""Lengths are sorted after a random change of at most this share, so that batches vary."""


class TaskBatch(NamedTuple):
    """Sequences of some examples. Flat positions count through all rows: ``row * T + t``.

    Attributes:
        input_ids: ``(R, T)``, int64, padded on the right.
        positions: ``(R, T)``, int64, or None: 0 to T - 1.
        mask: ``(R, 1, T, T)``, True where a query may see a key, or None: all before it.
        extract: ``(B, C)``, int64: flat position of the ``_classify_`` token of each sequence of
            each example; -1 where an example has fewer than C.
        lm_at: ``(P,)``, int64: flat positions that predict a token.
        lm_targets: ``(P,)``, int64: these tokens.
        lm_weights: ``(P,)``, float32: share of each in the loss: mean over the tokens of a
            sequence, then over the sequences of an example, then over the examples.
        labels: ``(B,)``: float32 values, or int64 numbers of classes or options.
    """

    input_ids: Tensor
    positions: Tensor | None
    mask: Tensor | None
    extract: Tensor
    lm_at: Tensor
    lm_targets: Tensor
    lm_weights: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> TaskBatch:
        """The same batch on a device; from pinned memory, copied while the program goes on."""
        fast = device.type == "cuda"
        moved = (None if x is None else x.to(device, non_blocking=fast) for x in self)
        return TaskBatch(*moved)  # type: ignore[arg-type]


class TaskRows:
    """Examples to train on.

    Args:
        examples: Token ids.
        labels: ``(N,)``, float32 values, or int64 numbers of classes or options.
        share_context: Read the context of a choice once; False: once for every option.
    """

    def __init__(
        self, examples: Sequence[Encoded], labels: NDArray[np.generic], *, share_context: bool
    ) -> None:
        self.examples = examples
        self.labels = labels
        self.share_context = share_context

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """``(N,)``: tokens of the longest row of each example."""
        return np.array([_row_length(e, self.share_context) for e in self.examples], np.int64)

    def rows(self, indices: NDArray[np.int64]) -> TaskBatch:
        """The examples with these numbers."""
        return collate(
            [self.examples[i] for i in indices],
            self.labels[indices],
            share_context=self.share_context,
        )


class LengthOrder:
    """An `gpt1.data.batches.Order` that puts examples of similar length in one batch.

    Args:
        lengths: ``(N,)``: of each example.
    """

    def __init__(self, lengths: NDArray[np.int64]) -> None:
        self.lengths = lengths
        self._last: tuple[tuple[int, int, int], NDArray[np.int64]] | None = None

    def __call__(self, sequences: int, batch_size: int, epoch: int, seed: int) -> NDArray[np.int64]:
        """Batches one behind the other, in random order; one that is not full comes last."""
        key = (batch_size, epoch, seed)
        if self._last is None or self._last[0] != key:
            self._last = key, self._order(batch_size, np.random.default_rng((seed, epoch)))
        return self._last[1]

    def _order(self, batch_size: int, rng: np.random.Generator) -> NDArray[np.int64]:
        numbers = rng.permutation(len(self.lengths))  # so that those of one length are mixed
        jitter = rng.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, len(numbers))
        by_length = numbers[np.argsort(self.lengths[numbers] * jitter, kind="stable")]
        full, rest = divmod(len(numbers), batch_size)
        start = batch_size * int(rng.integers(full, endpoint=True))  # of the batch that is not full
        last = by_length[start : start + rest]
        batches = np.delete(by_length, np.s_[start : start + rest]).reshape(-1, batch_size)
        return np.concatenate([rng.permutation(batches).ravel(), last])


def collate(
    examples: Sequence[Encoded], labels: NDArray[np.generic], *, share_context: bool
) -> TaskBatch:
    """Put examples into one batch.

    Args:
        examples: Token ids.
        labels: ``(B,)``.
        share_context: Put a context and its options in one row.

    Returns:
        The batch.
    """
    rows = [_rows(example, share_context) for example in examples]
    flat = [row for of_example in rows for row in of_example]
    longest = max(len(row.ids) for row in flat)
    starts = iter(range(0, len(flat) * longest, longest))
    extract = np.full((len(examples), max(len(e.sequences) for e in examples)), -1, np.int64)
    at, targets, weights = [], [], []
    for place, of_example in enumerate(rows):
        share = 1 / (len(examples) * len(examples[place].sequences))
        ends: list[int] = []
        for row, start in zip(of_example, starts, strict=False):
            ends.extend(start + row.ends)
            scored = row.predicted_at >= 0
            at.append(start + row.predicted_at[scored])
            targets.append(row.ids[scored])
            weights.append(share * row.weights[scored])
        extract[place, : len(ends)] = ends
    positions, mask = None, None
    if any(len(row.ends) > 1 for row in flat):
        positions = torch.from_numpy(_padded([row.positions for row in flat], longest, 0))
        mask = branch_mask(torch.from_numpy(_padded([row.branches for row in flat], longest, -1)))
    return TaskBatch(
        torch.from_numpy(_padded([row.ids for row in flat], longest, PADDING_ID)),
        positions,
        mask,
        torch.from_numpy(extract),
        torch.from_numpy(np.concatenate(at)),
        torch.from_numpy(np.concatenate(targets)),
        torch.from_numpy(np.concatenate(weights).astype(np.float32)),
        torch.from_numpy(labels),
    )


def branch_mask(branches: Tensor) -> Tensor:
    """Who sees whom where several continuations of one context stand in a row.

    Args:
        branches: ``(R, T)``, int64: 0 for the context, 1, 2, ... for what continues it.

    Returns:
        ``(R, 1, T, T)``, True where a query may see a key: not later, and of the context or of the
        same continuation.
    """
    keys, queries = branches[:, None, :], branches[:, :, None]
    return ((keys == 0) | (keys == queries)).tril()[:, None]


class _Row(NamedTuple):
    """One row, before padding; arrays of its length n but for ``ends``.

    Attributes:
        ids: Tokens.
        positions: Of each token in its own sequence.
        branches: 0 for a shared context, from 1 for the sequences.
        predicted_at: Place that predicts each token; -1 for the first.
        weights: Sum over the sequences that have the token of one over their targets.
        ends: Places of the last tokens of the sequences.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    branches: NDArray[np.int64]
    predicted_at: NDArray[np.int64]
    weights: NDArray[np.float64]
    ends: NDArray[np.int64]


def _rows(example: Encoded, share_context: bool) -> list[_Row]:
    if share_context and example.shared:
        return [_row(example.sequences, example.shared)]
    return [_row((sequence,), 0) for sequence in example.sequences]


def _row(sequences: Sequence[Sequence[int]], shared: int) -> _Row:
    """Sequences whose first ``shared`` tokens are the same, these tokens once."""
    own = np.array([len(sequence) - shared for sequence in sequences])
    ends = shared + np.cumsum(own) - 1
    starts = ends - own + 1
    places = np.arange(ends[-1] + 1)
    predicted_at = places - 1
    predicted_at[starts] = shared - 1
    weight = 1 / (shared + own - 1)
    inside = places[shared:] - np.repeat(starts, own)
    return _Row(
        ids=np.array([*sequences[0][:shared], *chain(*(s[shared:] for s in sequences))]),
        positions=np.concatenate([places[:shared], shared + inside]),
        branches=np.repeat(np.arange(len(own) + 1), [shared, *own]),
        predicted_at=predicted_at,
        weights=np.repeat([weight.sum(), *weight], [shared, *own]),
        ends=ends,
    )


def _padded(rows: Sequence[NDArray[np.int64]], length: int, value: int) -> NDArray[np.int64]:
    """``(R, length)``: the rows, filled up on the right."""
    table = np.full((len(rows), length), value, np.int64)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    return table


def _row_length(example: Encoded, share_context: bool) -> int:
    lengths = [len(sequence) for sequence in example.sequences]
    if share_context and example.shared:
        return sum(lengths) - example.shared * (len(lengths) - 1)
    return max(lengths)
