"""Programs that run beside the tests."""

from __future__ import annotations

from typing import IO


def read_until(stream: IO[str], words: str) -> None:
    """Read lines up to one with these words; fail where the program ends before."""
    lines = []
    for line in stream:
        if words in line:
            return
        lines.append(line)
    raise AssertionError(f"it ended before it said {words!r}:\n{''.join(lines)}")
