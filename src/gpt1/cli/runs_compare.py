"""``gpt1 runs compare``: what two or more runs differ in, and what came of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

if TYPE_CHECKING:
    from gpt1.training.runs import Comparison, Run

EXAMPLES = """\
gpt1 runs compare runs/jokes runs/jokes-again
gpt1 runs compare runs/a runs/b runs/c --out curves.png --json"""


def add_arguments(parser: ArgumentParser) -> None:
    """Which runs."""
    parser.add_argument("runs", nargs="+", help="Folders of two or more runs.")
    parser.add_argument(
        "--out", default=None, help="PNG to draw the loss curves to, one over another."
    )
    parser.add_argument("--json", action="store_true", help="Print the result as one JSON object.")


def run(arguments: Namespace) -> int:
    """Print settings that differ, and figures."""
    from gpt1.cli.progress import say
    from gpt1.cli.run_table import print_rows
    from gpt1.training.runs import compare_runs, short_names

    comparison = compare_runs(arguments.runs)
    if arguments.out is not None:
        say(f"Curves: {comparison.draw(arguments.out)}")
    if arguments.json:
        sys.stdout.write(json.dumps(comparison.as_dict(), ensure_ascii=False) + "\n")
        return 0
    runs = comparison.runs
    print_rows(["", *short_names(runs)], [*_figures(runs), *_settings(comparison)])
    if not comparison.differing:
        say("All settings are the same.")
    for run in runs:
        for problem in run.problems:
            say(f"{run.folder}: {problem}")
    return 0


def _figures(runs: Sequence[Run]) -> list[list[str]]:
    from gpt1.cli.run_table import best, count, duration

    figures: dict[str, Callable[[Run], str]] = {
        "steps": lambda run: f"{run.steps:,}",
        "complete": lambda run: "yes" if run.complete else "no",
        "best": best,
        "last loss": lambda run: "" if run.loss is None else f"{run.loss:.4f}",
        "tokens": lambda run: count(run.tokens),
        "tokens/s": lambda run: "" if run.tokens_per_s is None else f"{run.tokens_per_s:,.0f}",
        "time": lambda run: duration(run.elapsed_s),
        "parameters": lambda run: count(run.parameters),
    }
    return [[name, *map(shown, runs)] for name, shown in figures.items()]


def _settings(comparison: Comparison) -> list[list[str]]:
    return [
        [name, *("" if value is None else str(value) for value in values)]
        for name, values in comparison.differing.items()
    ]
