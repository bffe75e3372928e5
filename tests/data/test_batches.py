"""Batches: which sequences a step reads is arithmetic, and nothing is read twice in an epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chi2

from gpt1.data.batches import (
    Batch,
    PackedRows,
    TokenWindows,
    batch_indices,
    steps_per_epoch,
    window_order,
)
from gpt1.data.packing import pack
from gpt1.errors import DataError


def stream(start: int, stop: int) -> np.ndarray[tuple[int], np.dtype[np.uint16]]:
    return np.arange(start, stop, dtype=np.uint16)


# The order


@given(
    sequences=st.integers(1, 50),
    batch_size=st.integers(1, 60),
    epoch=st.integers(0, 3),
    seed=st.integers(0, 5),
)
def test_over_an_epoch_each_sequence_comes_once(
    sequences: int, batch_size: int, epoch: int, seed: int
) -> None:
    steps = steps_per_epoch(sequences, batch_size)
    batches = [
        batch_indices(sequences, batch_size, epoch * steps + step, seed)
        for step in range(1, steps + 1)
    ]
    assert sorted(np.concatenate(batches).tolist()) == list(range(sequences))
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}
    assert 1 <= len(batches[-1]) <= batch_size


def test_the_order_depends_on_seed_and_step_alone() -> None:
    forward = [batch_indices(20, 3, step, seed=1).tolist() for step in range(1, 30)]
    backward = [batch_indices(20, 3, step, seed=1).tolist() for step in range(29, 0, -1)]
    assert forward == backward[::-1]


def test_every_epoch_and_every_seed_has_another_order() -> None:
    orders = {
        tuple(batch_indices(20, 20, epoch, seed).tolist()) for epoch in (1, 2) for seed in (0, 1)
    }
    assert len(orders) == 4


# Windows


@given(lengths=st.lists(st.integers(0, 30), min_size=1, max_size=5), seq_len=st.integers(1, 12))
def test_windows_cover_each_stream_once_up_to_a_remainder(lengths: list[int], seq_len: int) -> None:
    ends = np.cumsum(lengths).tolist()
    streams = [stream(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    whole = [part[: len(part) // seq_len * seq_len] for part in streams]
    if not sum(map(len, whole)):
        with pytest.raises(DataError, match="less than one sequence"):
            TokenWindows(streams, seq_len)
        return
    windows = TokenWindows(streams, seq_len)
    batch = windows.rows(np.arange(len(windows)))
    assert batch.input_ids.flatten().tolist() == np.concatenate(whole).tolist()
    assert torch.equal(batch.labels, batch.input_ids)
    assert batch.segment_ids is None
    assert batch.input_ids.dtype == torch.int64


def test_windows_come_in_the_order_asked_for() -> None:
    windows = TokenWindows([stream(0, 7), stream(10, 16)], 3)
    assert len(windows) == 4
    assert windows.rows(np.array([3, 0])).input_ids.tolist() == [[13, 14, 15], [0, 1, 2]]


@pytest.mark.parametrize("streams", [[], [stream(0, 4), stream(0, 3)]])
def test_data_shorter_than_a_window_is_refused(streams: list[np.ndarray]) -> None:
    tokens = sum(map(len, streams))
    message = f"{tokens} tokens of data are less than one sequence of 5; give more text or a small"
    with pytest.raises(DataError, match=message):
        TokenWindows(streams, 5)


# Random windows


def streams_of(lengths: list[int]) -> list[np.ndarray[tuple[int], np.dtype[np.uint16]]]:
    """Streams in which every token differs, and those of two streams are far apart."""
    return [stream(1000 * i, 1000 * i + length) for i, length in enumerate(lengths)]


def epoch_of(windows: TokenWindows, epoch: int, seed: int = 0) -> list[list[int]]:
    """The windows of an epoch, in the order in which they are read."""
    numbers = window_order(len(windows), len(windows), epoch, seed)
    ids: list[list[int]] = windows.rows(numbers).input_ids.tolist()
    return ids


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    seq_len=st.integers(1, 12),
    epoch=st.integers(0, 4),
    seed=st.integers(0, 5),
)
def test_an_epoch_of_random_windows_reads_a_token_once_and_leaves_two_short_ends(
    lengths: list[int], seq_len: int, epoch: int, seed: int
) -> None:
    assume(max(lengths) >= seq_len)
    ids = epoch_of(TokenWindows(streams_of(lengths), seq_len, seed), epoch, seed)
    for window in ids:  # contiguous, so within one stream
        assert window == list(range(window[0], window[0] + seq_len))
    for number, length in enumerate(lengths):
        read = sorted(i - 1000 * number for row in ids for i in row if i // 1000 == number)
        assert len(set(read)) == len(read)
        if length < seq_len:
            assert read == []
            continue
        assert read == list(range(read[0], read[0] + len(read)))
        assert read[0] < seq_len
        assert length - len(read) < 2 * seq_len - (seq_len > 1)


def test_every_epoch_and_every_seed_cuts_the_streams_at_other_places() -> None:
    def cuts(epoch: int, seed: int) -> tuple[int, ...]:
        windows = TokenWindows(streams_of([900, 800, 700]), 50, seed)
        return tuple(sorted(window[0] for window in epoch_of(windows, epoch, seed)))

    assert len({cuts(epoch, seed) for epoch in range(3) for seed in range(3)}) == 9


def test_each_offset_is_drawn_as_often_as_another() -> None:
    windows = TokenWindows([stream(0, 1000)], 8, seed=3)
    epochs = np.arange(4000)
    firsts = windows.rows(epochs * len(windows)).input_ids[:, 0].tolist()
    expected = len(epochs) / 8
    chi_square = sum((firsts.count(i) - expected) ** 2 / expected for i in range(8))
    assert chi_square < chi2.ppf(0.999, df=7)


def test_windows_of_several_epochs_are_read_together_as_apart() -> None:
    windows = TokenWindows(streams_of([90, 31, 64]), 8, seed=1)
    numbers = np.random.default_rng(0).permutation(5 * len(windows))
    together = windows.rows(numbers).input_ids
    apart = [windows.rows(numbers[i : i + 1]).input_ids for i in range(len(numbers))]
    assert torch.equal(together, torch.cat(apart))


def test_the_windows_of_a_step_do_not_depend_on_what_was_read_before() -> None:
    def read(windows: TokenWindows, step: int) -> list[list[int]]:
        numbers = batch_indices(len(windows), 4, step, 1, window_order)
        ids: list[list[int]] = windows.rows(numbers).input_ids.tolist()
        return ids

    lengths, steps = [90, 31, 64], range(1, 30)
    used = TokenWindows(streams_of(lengths), 8, seed=1)
    in_a_row = [read(used, step) for step in steps]
    assert in_a_row == [read(TokenWindows(streams_of(lengths), 8, seed=1), step) for step in steps]


def test_streams_stay_mapped(tmp_path: Path) -> None:
    np.arange(100, dtype="<u2").tofile(tmp_path / "tokens.bin")
    mapped = np.memmap(tmp_path / "tokens.bin", dtype="<u2", mode="r")
    (kept,) = TokenWindows([mapped], 8).streams
    assert np.shares_memory(kept, mapped)


# Rows of a batch


def test_packed_rows_are_read_by_number() -> None:
    packed = pack([[1, 2, 3], [4, 5], [6], [7, 8, 9, 10]], 5)
    batch = PackedRows(packed).rows(np.array([1, 0]))
    assert len(PackedRows(packed)) == len(packed) == 2
    assert batch.segment_ids is not None
    for tensor, array in (
        (batch.input_ids, packed.input_ids),
        (batch.labels, packed.labels),
        (batch.segment_ids, packed.segment_ids),
    ):
        assert tensor.tolist() == array[[1, 0]].tolist()
        assert tensor.dtype == torch.int64


@pytest.mark.parametrize("segmented", [False, True])
def test_a_whole_batch_moves_to_a_device(segmented: bool) -> None:
    ids = torch.zeros(2, 3, dtype=torch.long)
    moved = Batch(ids, ids, ids if segmented else None).to(torch.device("meta"))
    assert {tensor.device.type for tensor in moved if tensor is not None} == {"meta"}
    assert (moved.segment_ids is not None) is segmented
