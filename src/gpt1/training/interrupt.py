"""Ctrl-C and SIGTERM in training: drop the update, save, leave; a second Ctrl-C leaves at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether the run was asked to stop.

    Attributes:
        requested: By a signal.
        preempted: By SIGTERM: whoever manages the machine wants it back.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self.requested = self.preempted = False
        self.patient = patient

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.requested and signum == signal.SIGINT and not self.patient:
            raise KeyboardInterrupt
        self.preempted |= signum == signal.SIGTERM and not self.requested
        self.requested = True


@contextmanager
def stop_on_interrupt(*, patient: bool = False) -> Iterator[StopRequest]:
    """Turn Ctrl-C or SIGTERM into a request; does nothing outside the main thread.

    Args:
        patient: Take a second Ctrl-C as the first once more: where a launcher passes signals on,
            each may come twice.
    """
    stop = StopRequest(patient=patient)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop._handle) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
