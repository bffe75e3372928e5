"""What the words of a text did to a prediction, drawn by rich."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gpt1.evaluation.attribution_page import METHODS, place_name, prediction_text, share

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

    from gpt1.evaluation.attribution import Attribution

SHOWN = 10
"""Words in the table."""

FOR = ("#d6e6ff", "#a3c8ff", "#6ea8fe")
AGAINST = ("#ffe3cf", "#fdbd91", "#fc9468")
"""Backgrounds of words, from weak to strong; they are legible under dark text."""

BAR = 12


def drawing(attribution: Attribution, shown: int = SHOWN) -> Group:
    """The prediction, the text in colour, and a table of the words that did most.

    Args:
        attribution: What to draw.
        shown: Words in the table.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("word", "", "score")
    table.columns[2].justify = "right"
    if attribution.method == "leave_one_out":
        table.add_column("without it", justify="right")
    largest = share(attribution)
    for word in attribution.strongest(shown):
        bar = "█" * math.ceil(BAR * largest(word.score)) if word.score else ""
        style = "blue" if word.score > 0 else "dark_orange"
        cells: list[Text | str] = [Text(word.text), Text(bar, style), f"{word.score:+.3f}"]
        if word.without is not None:
            is_value = attribution.label is None
            cells.append(f"{word.without:.4g}" if is_value else f"{word.without:.1%}")
        table.add_row(*cells)
    return Group(
        Text(f"{prediction_text(attribution)} ({METHODS[attribution.method]})"),
        Text(),
        *_texts(attribution),
        Text(),
        table,
    )


def _texts(attribution: Attribution) -> list[Text]:
    """Each segment in colour, with its name where there are several."""
    from rich.text import Text

    largest = share(attribution)
    lines = []
    for segment, parts in enumerate(attribution.example.segments):
        line = Text()
        if name := place_name(attribution.example, segment):
            line.append(f"{name}: ", "italic")
        for part, text in enumerate(parts):
            begin = len(line)
            line.append(text)
            for word in attribution:
                if word.place[:2] == (segment, part):
                    start, end = word.place[2:]
                    line.stylize(
                        _style(word.score, largest(word.score)), begin + start, begin + end
                    )
        lines.append(line)
    return lines


def _style(score: float, strength: float) -> str:
    ramp = FOR if score > 0 else AGAINST
    level = round(strength * len(ramp))
    return f"#1d1b18 on {ramp[level - 1]}" if level else ""
