"""How much each client asks for: requests at a time, and requests a minute."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from gpt1.serving.refusal import Refusal

MOST_CLIENTS = 10_000
"""Clients whose rate is remembered; those that did not ask for longest are forgotten."""


class Clients:
    """Counts the requests of each client.

    The rate is that of a token bucket: it holds as many requests as may come in a minute, a
    request takes one out, and it fills again at an even pace.

    Args:
        most_running: Requests of a client at a time.
        per_minute: Requests of a client a minute; None: any.
        clock: Seconds.
    """

    def __init__(
        self,
        most_running: int,
        per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_running, self._per_minute, self._clock = most_running, per_minute, clock
        self._running: Counter[str] = Counter()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def enter(self, client: str) -> None:
        """A request begins.

        Raises:
            Refusal: If the client asks for too much; nothing is counted then.
        """
        running = self._running[client]
        if running >= self._most_running:
            raise _too_many(f"{running} requests of yours are being answered already", 1)
        if self._per_minute is not None:
            self._take(client, self._per_minute)
        self._running[client] = running + 1

    def leave(self, client: str) -> None:
        """A request that was let in ends."""
        self._running[client] -= 1
        if self._running[client] <= 0:
            del self._running[client]

    def _take(self, client: str, per_minute: float) -> None:
        """Take a request out of the bucket of a client."""
        now, size = self._clock(), max(1.0, per_minute)
        left, then = self._buckets.get(client, (size, now))
        left = min(size, left + (now - then) * per_minute / 60)
        if left < 1:
            wait_s = math.ceil((1 - left) * 60 / per_minute)
            raise _too_many(f"a client may send {per_minute:g} requests a minute", wait_s)
        self._buckets[client] = left - 1, now
        self._buckets.move_to_end(client)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)


def client_of(address: str) -> str:
    """Whom an address counts for: of IPv6 a network of 64 bits, which a household has whole."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))


def _too_many(reason: str, wait_s: int) -> Refusal:
    message = f"{reason}; try again in {wait_s} s"
    return Refusal(429, message, code="rate_limit_exceeded", headers={"Retry-After": str(wait_s)})
