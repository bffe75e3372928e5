"""The table of ``--explain``: a line for each token of a text."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpt1.evaluation.explaining import TokenExplanation

WIDTH_OF_FILES = 120
"""Columns of the table where it is not written to a terminal."""


def print_token_table(tokens: Iterable[TokenExplanation], prompt_tokens: int) -> None:
    """Print a line for each token; the first ``prompt_tokens`` are set apart."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "piece", "probability", "rank", "likeliest")
    for token in tokens:
        likeliest = "  ".join(f"{_shown(a.piece)} {a.probability:.1%}" for a in token.alternatives)
        probability = "" if token.probability is None else f"{token.probability:.2%}"
        table.add_row(
            str(token.id),
            Text(_shown(token.piece)),
            probability,
            "" if token.rank is None else str(token.rank),
            Text(likeliest),
            end_section=token.position == prompt_tokens - 1,
        )
    Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES).print(table)


def _shown(piece: str) -> str:
    return piece.replace("\n", "\\n")
