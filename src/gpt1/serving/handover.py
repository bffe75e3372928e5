"""From the thread of an engine to the event loop of a server."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from gpt1.serving.engine import Listener, Update

Taker = Callable[[Update], None]


class Handover:
    """Brings updates into an event loop: all of a step by one wake-up.

    A wake-up for each would have the engine wait for the loop as often.
    """

    def __init__(self) -> None:
        self._told: deque[tuple[Taker, Update]] = deque()
        self._is_due = False

    def listener(self, take: Taker) -> Listener:
        """A listener for `Engine.submit`.

        Args:
            take: Gets the updates, in the event loop that runs now.
        """
        loop = asyncio.get_running_loop()

        def listen(update: Update) -> None:
            self._told.append((take, update))
            if not self._is_due:
                self._is_due = True
                loop.call_soon_threadsafe(self._deliver)

        return listen

    def _deliver(self) -> None:
        self._is_due = False  # before the first is taken: what comes from now on wakes it again
        while self._told:
            take, update = self._told.popleft()
            take(update)
