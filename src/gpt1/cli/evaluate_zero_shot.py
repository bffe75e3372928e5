"""``gpt1 evaluate zero-shot``: tasks, or any classification, without training on them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.loading import add_model_arguments, load_model
from gpt1.cli.processes import scoring_together
from gpt1.errors import ConfigError

if TYPE_CHECKING:
    from gpt1.evaluation.zero_shot import ZeroShotResult
    from gpt1.language_model import LanguageModel

EXAMPLES = """\
gpt1 evaluate zero-shot --data tasks
gpt1 evaluate zero-shot cola race --data tasks --model openai-community/openai-gpt --subset 500
gpt1 evaluate zero-shot dprd --data tasks/dprd --compare-options --json
gpt1 evaluate zero-shot --labels positive,negative --data reviews.csv --predictions out.csv
gpt1 evaluate zero-shot --labels spam=junk,ham=news --template "{text} this is" --data mail.jsonl"""

WIDTH_OF_FILES = 120
"""Columns of the table where it is not written to a terminal."""


def add_arguments(parser: ArgumentParser) -> None:
    """Tasks, data, options."""
    parser.add_argument("tasks", nargs="*", help="cola, sst2, race, dprd, wsc273; default: all.")
    parser.add_argument(
        "--data", required=True, help="A folder of tasks, one task's folder, or a file."
    )
    add_model_arguments(parser)
    parser.add_argument("--split", help="dev, test or train; default: the first there is.")
    parser.add_argument("--subset", type=int, help="Read so many rows of a file, evenly spread.")
    parser.add_argument(
        "--compare-options", action="store_true", help="Show what each open choice gives."
    )
    parser.add_argument("--reduction", default="mean", help="mean or sum over several tokens.")
    parser.add_argument(
        "--first-token", default="skip", help="cola: skip, period, newline or end_of_text."
    )
    parser.add_argument("--scored", default="after", help="dprd, wsc273: after or full.")
    parser.add_argument("--words", default="negative,positive", help="sst2: word of each class.")
    parser.add_argument(
        "--template", default="{text} very", help="sst2 and --labels: what stands before the word."
    )
    parser.add_argument(
        "--labels", help="Classify any texts: words, or class=word, with commas between."
    )
    parser.add_argument("--text-column", help="With --labels: column of the text.")
    parser.add_argument("--label-column", help="With --labels: of the right class; found by name.")
    parser.add_argument(
        "--calibrate", action="store_true", help="With --labels: divide by an empty text's figures."
    )
    parser.add_argument("--predictions", help="Write a line an example to this .jsonl or .csv.")
    parser.add_argument("--json", action="store_true", help="Print the result as one JSON object.")


def run(args: Namespace) -> int:
    """Score and print; returns the exit code."""
    if args.subset is not None and args.subset < 1:
        raise ConfigError(f"--subset is {args.subset} but must be at least 1")
    if args.predictions and Path(args.predictions).suffix not in (".jsonl", ".csv"):
        raise ConfigError(f"--predictions is {args.predictions!r} but must end in .jsonl or .csv")
    if args.labels is not None:
        from gpt1.cli.label_words import run as classify

        return classify(args)
    return _score_tasks(args)


def _score_tasks(args: Namespace) -> int:
    from gpt1.evaluation.zero_shot_data import find_tasks

    files = find_tasks(args.data, args.tasks, args.split)
    with scoring_together(args.device) as main:
        lm = load_model(args)
        results = [
            result for task, found in files.items() for result in _results(lm, task, found, args)
        ]
    if not main:
        return 0
    if args.predictions:
        from gpt1.cli.records import write_records

        records = ({"task": r.task, **r.options, **e} for r in results for e in r.examples())
        write_records(args.predictions, records)
    if args.json:
        sys.stdout.write(json.dumps({"results": [r.summary() for r in results]}) + "\n")
    else:
        _print(results)
    return 0


def _results(lm: LanguageModel, task: str, files: Any, args: Namespace) -> Iterable[ZeroShotResult]:
    from gpt1.cli.scoring_progress import scoring_progress
    from gpt1.evaluation.zero_shot import compare_options, zero_shot
    from gpt1.evaluation.zero_shot_data import task_rows
    from gpt1.evaluation.zero_shot_rules import RULES, ZeroShotConfig

    config = ZeroShotConfig(
        reduction=args.reduction,
        first_token=args.first_token,
        scored=args.scored,
        words=tuple(args.words.split(",")),
        template=args.template,
    )
    needs_train = RULES[task].threshold and files.train is not None
    with scoring_progress(task) as advance:
        more: dict[str, Any] = {
            "train_rows": task_rows(files.train, task, args.subset) if needs_train else (),
            "config": config,
            "advance": advance,
        }
        rows = task_rows(files.scored, task, args.subset)
        if args.compare_options:
            return compare_options(lm, task, rows, **more)
        return [zero_shot(lm, task, rows, **more)]


def _print(results: list[ZeroShotResult]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("task", "n", "metric", "score", "chance", "normalised", "cut", "options")
    for before, result in zip([None, *results], results, strict=False):
        if before and before.task != result.task:
            table.add_section()
        scaled = "-" if result.normalised is None else f"{result.normalised:.2f}"
        figures = (f"{100 * result.score:.1f}", f"{100 * result.chance:.1f}", scaled)
        table.add_row(
            result.task, f"{result.n:,}", result.metric, *figures, f"{result.cut:,}", _shown(result)
        )
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES, highlight=False)
    console.print(table, markup=False)


def _shown(result: ZeroShotResult) -> str:
    options = {
        name: ",".join(value) if isinstance(value, tuple) else value
        for name, value in result.options.items()
    }
    return "  ".join(f"{name}={value}" for name, value in options.items())
