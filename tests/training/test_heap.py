"""Memory that is freed stays with the process for as long as it is wanted, and no longer."""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path

import pytest
import torch

from gpt1.training.heap import kept_memory

BLOCK = 2**24
"""Numbers, 64 MB: the C library gives back a block as large as this when it is freed."""

BLOCK_PAGES = 4 * BLOCK // resource.getpagesize()


def mapped_pages() -> int:
    """Pages of memory this process was given so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc"
)
def test_a_freed_block_is_used_again_and_goes_back_at_the_end() -> None:
    before = resident_bytes()
    with kept_memory("cpu"):
        for _ in range(20):  # until the gaps that alignment leaves are large enough
            torch.ones(BLOCK)
        mapped = mapped_pages()
        for _ in range(3):
            torch.ones(BLOCK)
        assert mapped_pages() - mapped < BLOCK_PAGES / 10
        assert resident_bytes() - before > 3 * BLOCK
    assert resident_bytes() - before < BLOCK


def test_an_accelerator_is_left_alone() -> None:
    with kept_memory("cuda"):
        assert float(torch.ones(3).sum()) == 3
