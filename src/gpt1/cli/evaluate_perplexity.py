"""``gpt1 evaluate perplexity``: how well a model predicts texts."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.loading import add_model_arguments, add_native_arguments, load_model
from gpt1.cli.processes import scoring_together
from gpt1.errors import ConfigError

if TYPE_CHECKING:
    from gpt1.evaluation.scoring import Document, Perplexity

EXAMPLES = """\
gpt1 evaluate perplexity --data book.txt --stride 1
gpt1 evaluate perplexity --model my-model --data jokes.csv --text-column Joke --prefix "JOKE: "
gpt1 evaluate perplexity --data jokes.csv --documents each-joke.csv
gpt1 evaluate perplexity --model openai-community/openai-gpt --data texts.jsonl --json"""

DOCUMENT_KINDS = (".jsonl", ".csv")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument(
        "--data", required=True, help="A csv, tsv, jsonl or txt file, or a folder; txt is one text."
    )
    parser.add_argument("--text-column", help="Column or key of the text; found by default.")
    parser.add_argument("--prefix", default="", help="Put in front of every text.")
    parser.add_argument(
        "--stride",
        type=int,
        help="Tokens the window slides by in a text longer than the model can read at once. 1 is "
        "exact: every token is predicted from the longest context that fits; that takes about "
        "n_positions / 2 times as long as the default, n_positions / 2.",
    )
    parser.add_argument(
        "--documents", help="New .jsonl or .csv file: the figures of each text, as they are known."
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="Of the resampling for the confidence interval."
    )
    add_model_arguments(parser)
    add_native_arguments(parser)
    parser.add_argument("--json", action="store_true", help="Print the result as one JSON object.")


def run(args: Namespace) -> int:
    """Measure and print; returns the exit code."""
    from gpt1.cli.report import print_facts

    with (
        scoring_together(args.device) as main,
        _document_file(args.documents if main else None) as write,
    ):
        result = _measure(args, write)
    if main:
        facts = dataclasses.asdict(result)
        print_facts(facts if args.json else _for_people(facts), as_json=args.json)
    return 0


def _measure(args: Namespace, write: Callable[[Document], object] | None) -> Perplexity:
    from gpt1.cli.progress import CountProgress

    lm, progress, scored = load_model(args), CountProgress("tokens"), 0

    def advance(tokens: int) -> None:
        nonlocal scored
        scored += tokens
        progress.advance("scoring", scored, 0)

    try:
        return lm.perplexity(
            args.data,
            text_column=args.text_column,
            prefix=args.prefix,
            stride=args.stride,
            documents=write,
            advance=advance,
            seed=args.seed,
        )
    finally:
        progress.stop()


@contextmanager
def _document_file(name: str | None) -> Iterator[Callable[[Document], object] | None]:
    """What writes the figures of a text to the file; None where none is wanted."""
    if name is None:
        yield None
        return
    path = Path(name)
    if path.suffix not in DOCUMENT_KINDS:
        raise ConfigError(
            f"--documents is {name} but its name must end in {' or '.join(DOCUMENT_KINDS)}"
        )
    if path.exists():
        raise ConfigError(f"{path} exists; name another file for --documents")
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            from gpt1.evaluation.scoring import Document

            table = csv.DictWriter(file, [field.name for field in dataclasses.fields(Document)])
            table.writeheader()
            yield lambda document: table.writerow(dataclasses.asdict(document))
        else:
            yield lambda document: file.write(_json_line(document))


def _json_line(document: Document) -> str:
    return json.dumps(dataclasses.asdict(document), ensure_ascii=False) + "\n"


def _for_people(facts: dict[str, Any]) -> dict[str, Any]:
    """The figures, each with its interval beside it."""
    interval = facts.pop("interval")
    if interval is None:
        return {**facts, "interval": "none: one text leaves nothing to resample"}
    shown = {
        name: f"{facts[name]:,.4f}  (95%: {low:,.4f} to {high:,.4f})"
        for name, (low, high) in interval.items()
    }
    return {**facts, **shown}
