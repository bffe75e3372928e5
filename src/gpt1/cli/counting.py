"""Shows how many texts have been read while something else reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gpt1.cli.progress import CountProgress


def counted(texts: Iterable[str], doing: str) -> Iterator[str]:
    """Yield the texts, telling about each.

    Args:
        texts: Read lazily.
        doing: What happens to them, for people.
    """
    progress = CountProgress()
    try:
        for number, text in enumerate(texts, start=1):
            progress.advance(doing, number, 0)
            yield text
    finally:
        progress.stop()
