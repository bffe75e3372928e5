"""``gpt1 tokenizer encode``: text to token ids."""

from __future__ import annotations

import json
import sys

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.loading import add_tokenizer_arguments, load_tokenizer

LINES_AT_ONCE = 256
"""Lines of standard input that are encoded together."""

EXAMPLES = """\
gpt1 tokenizer encode "Hello, my dog is cute and"
gpt1 tokenizer encode "Hello, my dog" --pieces
cat lines.txt | gpt1 tokenizer encode -"""


def add_arguments(parser: ArgumentParser) -> None:
    """Text and tokenizer."""
    parser.add_argument("text", help='The text, or "-": each line of standard input.')
    add_tokenizer_arguments(parser)
    parser.add_argument("--pieces", action="store_true", help="Print the pieces beside the ids.")
    parser.add_argument(
        "--allow-special", action="store_true", help="Let the text name special tokens."
    )
    parser.add_argument("--json", action="store_true", help="Print a JSON list for each text.")


def run(arguments: Namespace) -> int:
    """Print the ids of each text on a line."""
    from gpt1.data.files import utf8_lines

    tokenizer = load_tokenizer(arguments)
    lines = utf8_lines(sys.stdin.buffer, "standard input")
    rows = tokenizer.encode_stream(
        lines if arguments.text == "-" else [arguments.text],
        # Whoever types lines wants to see the ids of each.
        batch_size=1 if sys.stdin.isatty() else LINES_AT_ONCE,
        allow_special=arguments.allow_special,
    )
    for ids in rows:
        if arguments.pieces:
            pairs = zip(ids, tokenizer.pieces(ids), strict=True)
            sys.stdout.write("".join(f"{number:>6}  {piece}\n" for number, piece in pairs))
        else:
            text = json.dumps(ids) if arguments.json else " ".join(map(str, ids))
            sys.stdout.write(text + "\n")
    return 0
