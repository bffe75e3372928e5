"""``gpt1 tokenizer diff``: what the two ways of splitting text change."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from gpt1.errors import ConfigError

if TYPE_CHECKING:
    from gpt1.language_model import LanguageModel
    from gpt1.tokenizer import Tokenizer

EXAMPLES = """\
gpt1 tokenizer diff jokes.csv --text-column Joke
gpt1 tokenizer diff book.txt --tokenizer openai-community/openai-gpt --top 50
gpt1 tokenizer diff jokes.csv --model my-model --json"""

WIDTH_OF_FILES = 120
"""Columns of the tables where they are not written to a terminal."""


def add_arguments(parser: ArgumentParser) -> None:
    """Texts, vocabulary, model."""
    parser.add_argument("data", help="A csv, tsv, jsonl or txt file, or a folder; txt is one text.")
    parser.add_argument("--text-column", help="Column or key of the text; found by default.")
    parser.add_argument(
        "--tokenizer", help="Model or folder whose vocabulary is used; default: mini."
    )
    parser.add_argument(
        "--model", help="Model in place of --tokenizer: also measure its loss in each mode."
    )
    parser.add_argument("--device", default="cpu", help="Where the model runs: cpu, cuda, mps.")
    parser.add_argument("--top", type=int, default=20, help="How many words to show.")
    parser.add_argument("--json", action="store_true", help="Print the result as one JSON object.")


def run(arguments: Namespace) -> int:
    """Compare and print."""
    from gpt1.cli.counting import counted
    from gpt1.data.sources import TextSource
    from gpt1.evaluation.tokenizer_diff import compare_modes, mode_losses

    if arguments.top < 0:
        raise ConfigError(f"--top is {arguments.top} but must be at least 0")
    texts = TextSource(arguments.data, arguments.text_column)
    model, tokenizer = _load(arguments)
    difference = compare_modes(counted(texts, "comparing"), tokenizer, top=arguments.top)
    found: dict[str, Any] = dataclasses.asdict(difference)
    if model is not None:
        losses = mode_losses(model.model, texts, tokenizer)
        found["losses"] = {mode: dataclasses.asdict(loss) for mode, loss in losses}
    if arguments.json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
    else:
        _print(found)
    return 0


def _load(arguments: Namespace) -> tuple[LanguageModel | None, Tokenizer]:
    if arguments.model is None:
        from gpt1.locate import locate
        from gpt1.tokenizer import Tokenizer

        return None, Tokenizer.load(locate(arguments.tokenizer or "mini"))
    if arguments.tokenizer is not None:
        raise ConfigError("--model and --tokenizer are both given; --model brings its own")
    from gpt1.language_model import load

    model = load(arguments.model, device=arguments.device)
    return model, model.tokenizer


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console

    from gpt1.cli.report import print_facts

    original, bert = found["original_tokens"], found["bert_tokens"]
    share = found["differing"] / found["texts"]
    facts = {
        "texts": found["texts"],
        "with_other_ids": f"{found['differing']:,} ({share:.1%})",
        "tokens_in_mode_original": original,
        "tokens_in_mode_bert": f"{bert:,} ({bert / max(1, original) - 1:+.1%})",
    }
    for mode, loss in found.get("losses", {}).items():
        nats, bits = loss["nats_per_token"], loss["bits_per_character"]
        facts[f"loss_in_mode_{mode}"] = f"{nats:.4f} nats/token, {bits:.4f} bits/character"
    print_facts(facts, as_json=False)
    if found["words"]:
        console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES, highlight=False)
        console.print(_table(found["words"]))


def _table(words: list[dict[str, Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("count", "word", "original", "bert")
    for word in words:
        pieces = ("  ".join(word[mode]) for mode in ("original", "bert"))
        shown = (Text(text.replace("\n", "\\n")) for text in (word["word"], *pieces))
        table.add_row(f"{word['count']:,}", *shown)
    return table
