"""``gpt1 tokenizer encode``: text to token ids."""

from __future__ import annotations

import json
import sys

from jsonargparse import ArgumentParser, Namespace

EXAMPLES = """\
gpt1 tokenizer encode "Hello, my dog is cute and"
gpt1 tokenizer encode "Hello, my dog" --pieces
cat lines.txt | gpt1 tokenizer encode -"""


def add_arguments(parser: ArgumentParser) -> None:
    """Text and tokenizer."""
    parser.add_argument("text", help='The text, or "-": each line of standard input.')
    parser.add_argument("--model", default="mini", help="Model or folder whose tokenizer is used.")
    parser.add_argument("--pieces", action="store_true", help="Print the pieces beside the ids.")
    parser.add_argument(
        "--allow-special", action="store_true", help="Let the text name special tokens."
    )
    parser.add_argument("--json", action="store_true", help="Print a JSON list for each text.")


def run(arguments: Namespace) -> int:
    """Print the ids of each text on a line."""
    from gpt1.checkpoint import locate
    from gpt1.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(locate(arguments.model))
    lines = sys.stdin if arguments.text == "-" else [arguments.text]
    for line in lines:
        ids = tokenizer.encode(line, allow_special=arguments.allow_special)
        if arguments.pieces:
            pairs = zip(ids, tokenizer.pieces(ids), strict=True)
            sys.stdout.write("".join(f"{number:>6}  {piece}\n" for number, piece in pairs))
        else:
            text = json.dumps(ids) if arguments.json else " ".join(map(str, ids))
            sys.stdout.write(text + "\n")
    return 0
