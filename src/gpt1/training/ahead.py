"""Batches that are read while the accelerator computes the ones before."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, TypeVar

from torch import Tensor

T = TypeVar("T")


class Ahead(Generic[T]):
    """Makes what a step needs while the step before is under way, in a thread.

    Args:
        make: Makes it from the number of the step.
        last: Nothing is made for a later step.
        threads: 0 makes everything when it is asked for.
    """

    def __init__(self, make: Callable[[int], T], last: int, *, threads: int = 1) -> None:
        self.make = make
        self.last = last
        self.pool = ThreadPoolExecutor(threads, "gpt1-input") if threads else None
        self.next: tuple[int, Future[T]] | None = None

    def of(self, step: int) -> T:
        """What the step needs.

        Raises:
            Exception: Whatever making it raises.
        """
        if self.pool is None:
            return self.make(step)
        ready, self.next = self.next, None
        made = ready[1].result() if ready and ready[0] == step else self.make(step)
        if step < self.last:
            self.next = step + 1, self.pool.submit(self.make, step + 1)
        return made

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)


def pinned(batch: Any) -> Any:
    """A named tuple of tensors in memory from which an accelerator copies without waiting."""
    return type(batch)(*(x.pin_memory() if isinstance(x, Tensor) else x for x in batch))
