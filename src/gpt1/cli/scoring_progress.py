"""Progress of scoring: a live line with tokens/s and ETA, or plain lines without a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gpt1.cli import progress


@contextmanager
def scoring_progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that is told how many tokens are done, and of how many.

    Args:
        doing: What is scored, for people.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} tokens"),
        TextColumn("{task.fields[rate]:,.0f} tokens/s"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=progress.console,
        disable=not progress.console.is_terminal,
    )
    line = bar.add_task(doing, total=0, rate=0.0)
    began = told = time.monotonic()
    before = 0

    def advance(done: int, total: int) -> None:
        nonlocal began, told, before
        now = time.monotonic()
        if done <= before:  # the next of several passes
            began = told = now
        before = done
        rate = done / max(1e-9, now - began)
        bar.update(line, completed=done, total=total, rate=rate)
        if not progress.console.is_terminal and now - told >= progress.PLAIN_INTERVAL_S:
            told = now
            left_s = (total - done) / rate
            progress.say(
                f"{doing}: {done:,}/{total:,} tokens  {rate:,.0f} tokens/s  "
                f"ETA {left_s / 60:.1f} min"
            )

    with bar:
        yield advance
