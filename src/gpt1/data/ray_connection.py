"""A connection to Ray, which leaves the signals of the process as they were."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gpt1.errors import MissingExtraError


@contextmanager
def ray_connection(purpose: str) -> Iterator[None]:
    """Connect to Ray; a connection that is there already is used and left open.

    Otherwise it is to the cluster ``RAY_ADDRESS`` names, else one that is started on this machine.

    Args:
        purpose: What needs it, for the message.

    Raises:
        MissingExtraError: If ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtraError(f'{purpose} needs ray: pip install "gpt1[cluster]"') from None
    if ray.is_initialized():
        yield
        return
    with own_sigterm():
        ray.init()
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def own_sigterm() -> Iterator[None]:
    """Give SIGTERM back to who had it: Ray takes it when it connects and keeps it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
