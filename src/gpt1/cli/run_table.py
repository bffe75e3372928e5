"""Tables of runs, and how their figures look in them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpt1.training.runs import Run

WIDTH_OF_FILES = 200
"""Columns of a table where it is not written to a terminal."""


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to standard output."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES, highlight=False).print(table)


def best(run: Run) -> str:
    """The figure the kept weights were chosen by."""
    if run.best is None:
        return ""
    name = run.best_name.replace("valid_loss", "loss").replace("_", " ")
    return f"{name} {run.best:.4f} at {run.best_step:,}"


def count(number: int | None) -> str:
    """12,345 or 116.5M."""
    if number is None:
        return ""
    return f"{number / 1e6:,.1f}M" if number >= 1e6 else f"{number:,}"


def duration(seconds: float | None) -> str:
    """In the unit that suits it."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
