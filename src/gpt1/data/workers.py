"""Work spread over processes, its results in order and its memory bounded."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing.connection import wait
from typing import TypeVar

from gpt1.errors import DataError

Task = TypeVar("Task")
Result = TypeVar("Result")


class Workers:
    """Processes that share work.

    They start with the first work there is for several, and stay for what comes later: each takes
    time to start. Leaving the ``with`` block ends them.

    Args:
        count: Processes; with one all is done in this one.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool: ProcessPoolExecutor | None = None
        self._others: set[multiprocessing.process.BaseProcess] = set()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def map_in_order(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[Result]:
        """Apply a function to tasks in other processes; of a single task, in this one.

        Args:
            function: Of a module, so that another process finds it.
            tasks: Taken as they are needed, a few ahead of the results.

        Returns:
            The results in the order of the tasks.

        Raises:
            DataError: If a process was ended from outside.
        """
        tasks = iter(tasks)
        first = list(islice(tasks, 2))
        tasks = chain(first, tasks)
        is_shared = self._count > 1 < len(first)
        return self._spread(function, tasks) if is_shared else map(function, tasks)

    def _spread(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[Result]:
        pool = self._started()
        waiting: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(function, task))
                if len(waiting) >= 2 * self._count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException as error:
            is_broken = isinstance(error, BrokenProcessPool)
            if waiting or is_broken:
                self._stop()
            if not is_broken:
                raise
            raise DataError(
                "a worker process was ended from outside, perhaps for want of memory; run the "
                "command again to go on where it was, with fewer --workers if need be"
            ) from None

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # A forked process would inherit locks that threads of this one hold.
            context = multiprocessing.get_context("spawn")
            self._others = set(multiprocessing.active_children())
            self._pool = ProcessPoolExecutor(self._count, context, _begin)
        return self._pool

    def _stop(self) -> None:
        """Nobody wants the results any more, and a task may take long."""
        for worker in set(multiprocessing.active_children()) - self._others:
            worker.terminate()
        self.__exit__()


def _begin() -> None:
    """Set up a worker: one thread, no interrupts of its own, and no life after its parent."""
    os.environ["RAYON_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
