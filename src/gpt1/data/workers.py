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


def map_in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[Result]:
    """Apply a function to tasks in other processes.

    Args:
        function: Of a module, so that another process finds it.
        tasks: Taken as they are needed, a few ahead of the results.
        workers: Processes; with one, or for a single task, all is done in this one.

    Returns:
        The results in the order of the tasks.

    Raises:
        DataError: If a process was ended from outside.
    """
    tasks = iter(tasks)
    first = list(islice(tasks, 2))
    tasks = chain(first, tasks)
    return _spread(function, tasks, workers) if workers > 1 < len(first) else map(function, tasks)


def _spread(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[Result]:
    # A forked process would inherit locks that threads of this one hold.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, _begin)
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BaseException as error:
        # Nobody wants the results any more, and a task may take long.
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        if not isinstance(error, BrokenProcessPool):
            raise
        raise DataError(
            "a worker process was ended from outside, perhaps for want of memory; run the command "
            "again to go on where it was, with fewer --workers if need be"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


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
