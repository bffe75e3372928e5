"""Memory that a training step frees is kept for the next step, on Linux.

By default, the C library gives a large block back to the system as soon as it is freed. The next
one is then new memory, which the processor has to map and clear page by page: for the paper's model
that took 5% of the time of an update.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of ``mallopt``, as glibc's ``malloc.h`` numbers them."""

NEVER, NONE = -1, 0
TRIM_BYTES, MAPPED_BLOCKS = 128 * 2**10, 65_536
"""What glibc begins with."""


@contextmanager
def kept_memory(device: str) -> Iterator[None]:
    """While this lasts, freed memory stays with the process; then all of it goes back.

    Does nothing for an accelerator, whose memory PyTorch keeps itself, and where the C library is
    not glibc.

    Args:
        device: Type of the device that is trained on.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if device != "cpu" or not hasattr(library, "malloc_trim"):
        yield
        return
    assert library is not None
    library.mallopt(M_MMAP_MAX, NONE)
    library.mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        library.mallopt(M_MMAP_MAX, MAPPED_BLOCKS)
        library.mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
        library.malloc_trim(0)
