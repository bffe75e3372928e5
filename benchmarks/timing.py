"""Taking turns: each side once a round, so that a busy moment of the machine hits all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Summary(NamedTuple):
    """A sample in brief.

    Attributes:
        median: Its middle.
        low: Smallest value.
        high: Largest value.
        runs: Number of values.
    """

    median: float
    low: float
    high: float
    runs: int


def summarize(samples: Sequence[float]) -> Summary:
    """Median and spread of one or more values."""
    return Summary(statistics.median(samples), min(samples), max(samples), len(samples))


def interleave(sides: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Call every side once, then all again: a b a b ...

    Args:
        sides: What to call, by name.
        rounds: Calls of each.

    Returns:
        What each side returned, in order: value i of all sides is from one round.
    """
    results: dict[str, list[T]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            results[name].append(side())
    return results


def stopwatch(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds that a call takes, and what it returns."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result
