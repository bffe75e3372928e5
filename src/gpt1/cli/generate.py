"""``gpt1 generate``: continue a prompt, as it is generated; or many prompts."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.arguments import field_documents
from gpt1.cli.loading import add_model_arguments, load_model
from gpt1.config import GenerationConfig
from gpt1.errors import ConfigError, DataError

if TYPE_CHECKING:
    from gpt1.evaluation.explaining import TokenExplanation
    from gpt1.generation.stopping import Completion
    from gpt1.language_model import LanguageModel

EXAMPLES = """\
gpt1 generate "Hello, my dog is cute and" --max-new-tokens 20
gpt1 generate "JOKE:" --temperature 0.8 --top-p 0.95 --n 5 --seed 1 --stop "\\n"
gpt1 generate --file prompts.txt --json > continuations.jsonl
echo "The meaning of life is" | gpt1 generate - --model openai-community/openai-gpt --explain"""

PROMPTS_AT_ONCE = 64
"""Prompts of a file that are generated, and then printed, together."""

WIDTH_OF_FILES = 120
"""Columns of the table where it is not written to a terminal."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument("prompt", nargs="?", help="Text to continue; - reads standard input.")
    parser.add_argument(
        "--file", help="Prompts, one a line, instead; blank lines are skipped; - is standard input."
    )
    add_model_arguments(parser)
    types, documents = get_type_hints(GenerationConfig), field_documents(GenerationConfig)
    documents["stop"] += " \\n is a newline. May be given several times."
    documents["stop_ids"] += " A list: [5,6]."
    for field in dataclasses.fields(GenerationConfig):
        options: dict[str, Any] = {"type": types[field.name], "default": field.default}
        if field.name == "stop":
            options = {"type": str, "action": "append"}
        parser.add_argument(
            "--" + field.name.replace("_", "-"), help=documents[field.name], **options
        )
    parser.add_argument("--no-prompt", action="store_true", help="Print the continuations alone.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object a prompt.")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="Print every token with its probability and the likeliest alternatives.",
    )


def run(args: Namespace) -> int:
    """Generate and print; returns the exit code."""
    prompts = _prompts(args)
    settings = {field.name: args[field.name] for field in dataclasses.fields(GenerationConfig)}
    settings["stop"] = [text.replace("\\n", "\n") for text in args.stop or ()]
    lm = load_model(args)
    if args.file is None and args.n == 1 and not args.json and not args.explain:
        _stream(lm, prompts[0], not args.no_prompt, settings)
        return 0
    for completions in _complete(lm, prompts, settings):
        if args.json:
            print(json.dumps(_record(lm, completions, args.explain), ensure_ascii=False))
        else:
            _print_texts(lm, completions, args)
    return 0


def _prompts(args: Namespace) -> list[str]:
    if (args.prompt is None) == (args.file is None):
        raise ConfigError("give either a prompt or --file, not both and not neither")
    if args.prompt == "-":
        return [sys.stdin.read().rstrip("\n")]
    if args.file is None:
        return [args.prompt]
    lines = sys.stdin.read() if args.file == "-" else _read(Path(args.file))
    prompts = [line for line in lines.split("\n") if line.strip()]
    if not prompts:
        raise DataError(f"--file {args.file} holds no prompt; write one a line")
    return prompts


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--file {path} is not a readable UTF-8 text file: {error}") from error


def _stream(lm: LanguageModel, prompt: str, include_prompt: bool, settings: dict[str, Any]) -> None:
    try:
        for piece in lm.stream(prompt, include_prompt=include_prompt, **settings):
            print(piece, end="", flush=True)
    finally:  # also after Ctrl-C: what is on the line stays
        print(flush=True)


def _complete(
    lm: LanguageModel, prompts: list[str], settings: dict[str, Any]
) -> Iterator[list[Completion]]:
    for start in range(0, len(prompts), PROMPTS_AT_ONCE):
        yield from lm.complete(prompts[start : start + PROMPTS_AT_ONCE], **settings)


def _record(lm: LanguageModel, completions: list[Completion], explain: bool) -> dict[str, Any]:
    """What ``--json`` prints for one prompt."""
    texts: list[dict[str, Any]] = [
        {"text": c.text, "ids": c.ids, "finish_reason": c.finish_reason} for c in completions
    ]
    if explain:
        for text, completion in zip(texts, completions, strict=True):
            text["tokens"] = [
                {**vars(token), "alternatives": [a._asdict() for a in token.alternatives]}
                for token in lm.explain(completion.prompt_ids + completion.ids)
            ]
    first = completions[0]
    return {"prompt": first.prompt, "prompt_ids": first.prompt_ids, "completions": texts}


def _print_texts(lm: LanguageModel, completions: list[Completion], args: Namespace) -> None:
    for completion in completions:
        print(completion.text if args.no_prompt else completion.prompt + completion.text)
        if args.explain:
            tokens = lm.explain(completion.prompt_ids + completion.ids)
            _print_table(tokens, len(completion.prompt_ids))


def _print_table(tokens: list[TokenExplanation], prompt_tokens: int) -> None:
    """Print a line for each token; the prompt's are set apart."""
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
