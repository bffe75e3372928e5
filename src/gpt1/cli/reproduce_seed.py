"""``gpt1 reproduce seed``: the public tutorial on GPT-1, step by step."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.arguments import add_fields, collect
from gpt1.reproduce.settings import SeedConfig

if TYPE_CHECKING:
    from rich.console import Console

    from gpt1.reproduce.findings import Section

EXAMPLES = """\
gpt1 reproduce seed --data jokes.csv
gpt1 reproduce seed --model finetune-transformer-lm/model --quick
gpt1 reproduce seed --model mini --quick"""


def add_arguments(parser: ArgumentParser) -> None:
    """Model, data, length, where to write."""
    add_fields(parser, SeedConfig)
    parser.add_argument(
        "--out",
        default="gpt1-seed",
        help="Folder for the report and the model; if it is there already, one with a number.",
    )
    parser.add_argument("--json", action="store_true", help="Print the report as JSON.")


def run(arguments: Namespace) -> int:
    """Walk, showing each step; 1 if a comparison failed, 130 if interrupted."""
    from functools import partial

    from rich.console import Console

    from gpt1.atomic import unused_folder
    from gpt1.cli.progress import TrainingProgress
    from gpt1.reproduce.published import RELEASED
    from gpt1.reproduce.seed import reproduce_seed

    console = Console(highlight=False)
    out = unused_folder(Path(arguments.out))
    report = reproduce_seed(
        collect(SeedConfig, arguments),
        out,
        show=None if arguments.json else partial(show, console),
        watch=TrainingProgress(),
        published=RELEASED,
    )
    if arguments.json:
        sys.stdout.write(json.dumps(report.as_dict(), ensure_ascii=False) + "\n")
    else:
        console.print(f"\n{report.verdict}\nThe report: {out / 'report.md'}", markup=False)
    if not report.complete:
        return 130
    return 1 if report.failed else 0


def show(console: Console, section: Section) -> None:
    """Print one step."""
    from rich.markup import escape
    from rich.table import Table

    console.rule(f"[bold]{section.title}")
    table = Table(box=None, show_header=any(section.columns[1:]), padding=(0, 2, 0, 0))
    for column in section.columns:
        table.add_column(column, overflow="fold")
    for row in section.cells():
        table.add_row(*map(escape, row))
    console.print(table)
    for remark in section.remarks:
        console.print(escape(remark), style="dim")
