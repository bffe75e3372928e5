"""``gpt1 runs list``: the runs in a folder, a line each."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

if TYPE_CHECKING:
    from gpt1.training.runs import Run

EXAMPLES = """\
gpt1 runs list
gpt1 runs list runs --json"""

COLUMNS = ("run", "kind", "steps", "state", "best", "tokens", "time", "parameters", "lr")


def add_arguments(parser: ArgumentParser) -> None:
    """Where to look."""
    parser.add_argument("folder", nargs="?", default=".", help="Looked through at any depth.")
    parser.add_argument("--json", action="store_true", help="Print a JSON list.")


def run(arguments: Namespace) -> int:
    """Print the table."""
    from gpt1.cli.progress import say
    from gpt1.cli.run_table import print_rows
    from gpt1.training.runs import list_runs

    runs = list_runs(arguments.folder)
    if arguments.json:
        sys.stdout.write(json.dumps([run.as_dict() for run in runs], ensure_ascii=False) + "\n")
        return 0
    if not runs:
        say(f"There is no run in {arguments.folder}.")
        return 0
    print_rows(COLUMNS, [_row(run) for run in runs])
    for run in runs:
        for problem in run.problems:
            say(f"{run.folder}: {problem}")
    return 0


def _row(run: Run) -> list[str]:
    from gpt1.cli.run_table import best, count, duration

    state = "complete" if run.complete else "not complete"
    return [
        str(run.folder),
        run.kind or "?",
        f"{run.steps:,}",
        "damaged" if run.problems else state,
        best(run),
        count(run.tokens),
        duration(run.elapsed_s),
        count(run.parameters),
        "" if run.lr is None else f"{run.lr:g}",
    ]
