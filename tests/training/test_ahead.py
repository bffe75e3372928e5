"""What is read ahead is what would have been read in time."""

from __future__ import annotations

from threading import current_thread, main_thread

import pytest
import torch

from gpt1.data.batches import Batch
from gpt1.training.ahead import Ahead


@pytest.mark.parametrize("threads", [0, 1])
def test_every_step_gets_its_own_wherever_the_run_begins(threads: int) -> None:
    with Ahead(lambda step: step * step, 5, threads=threads) as squares:
        assert [squares.of(step) for step in (3, 4, 5)] == [9, 16, 25]
        assert squares.of(1) == 1


def test_only_the_first_one_is_waited_for_and_none_is_read_beyond_the_last() -> None:
    read: list[tuple[int, bool]] = []

    def make(step: int) -> None:
        read.append((step, current_thread() is main_thread()))

    with Ahead(make, 3) as ahead:
        for step in (1, 2, 3):
            ahead.of(step)
    assert read == [(1, True), (2, False), (3, False)]


def test_what_goes_wrong_while_reading_ahead_is_raised_at_its_step() -> None:
    def make(step: int) -> int:
        if step == 2:
            raise OSError("the disk is gone")
        return step

    with Ahead(make, 3) as ahead:
        assert ahead.of(1) == 1
        with pytest.raises(OSError, match="the disk is gone"):
            ahead.of(2)


def test_a_batch_keeps_its_kind_and_what_it_lacks_on_its_way_to_a_device() -> None:
    ids = torch.arange(6).view(2, 3)
    moved = Batch(ids, ids, None).to(torch.device("cpu"))
    assert isinstance(moved, Batch)
    assert torch.equal(moved.labels, ids)
    assert moved.segment_ids is None
