"""Scoring spread over the processes ``torchrun`` started: each takes its turn at the batches.

Every process reads the same texts and makes the same batches, so none has to be told what to do;
what it computed is handed to the others at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

_spread: ContextVar[bool] = ContextVar("_spread", default=False)


@contextmanager
def spread() -> Iterator[None]:
    """Share the batches that are scored inside with all processes of the default group.

    All of them have to score the same there. Without a group, nothing is shared.
    """
    token = _spread.set(dist.is_initialized())
    try:
        yield
    finally:
        _spread.reset(token)


def world() -> int:
    """How many processes share the batches."""
    return dist.get_world_size() if _spread.get() else 1


def fair_size(total: int, most: int) -> int:
    """How much a batch should hold, so that all processes have about as much to do.

    Args:
        total: Of all batches.
        most: Of one; for a process alone, that it is.
    """
    if world() == 1:
        return most
    batches = world() * max(1, math.ceil(total / (world() * most)))
    return max(1, math.ceil(total / batches))


def is_mine(number: int) -> bool:
    """Whether this process computes the batch with a number, from 0."""
    return not _spread.get() or number % dist.get_world_size() == dist.get_rank()


def joined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What all processes computed.

    Args:
        values: Of any shape; minus infinity where another process computed.

    Returns:
        The same in all of them.
    """
    if not _spread.get():
        return values
    tensor = torch.from_numpy(values)
    tensor = tensor.cuda() if dist.get_backend() == "nccl" else tensor
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return tensor.cpu().numpy()
