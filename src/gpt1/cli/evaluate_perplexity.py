"""``gpt1 evaluate perplexity``: how well a model predicts texts."""

from __future__ import annotations

import dataclasses

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.loading import add_model_arguments, load_model

EXAMPLES = """\
gpt1 evaluate perplexity --data book.txt
gpt1 evaluate perplexity --model my-model --data jokes.csv --text-column Joke --prefix "JOKE: "
gpt1 evaluate perplexity --model openai-community/openai-gpt --data texts.jsonl --json"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument(
        "--data", required=True, help="A csv, tsv, jsonl or txt file, or a folder; txt is one text."
    )
    parser.add_argument("--text-column", help="Column or key of the text; found by default.")
    parser.add_argument("--prefix", default="", help="Put in front of every text.")
    add_model_arguments(parser)
    parser.add_argument("--json", action="store_true", help="Print the result as one JSON object.")


def run(args: Namespace) -> int:
    """Measure and print; returns the exit code."""
    from gpt1.cli.report import print_facts

    lm = load_model(args)
    result = lm.perplexity(args.data, text_column=args.text_column, prefix=args.prefix)
    print_facts(dataclasses.asdict(result), as_json=args.json)
    return 0
