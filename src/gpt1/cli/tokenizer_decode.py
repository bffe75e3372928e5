"""``gpt1 tokenizer decode``: token ids to text."""

from __future__ import annotations

import re
import sys

from jsonargparse import ArgumentParser, Namespace

from gpt1.errors import DataError

EXAMPLES = """\
gpt1 tokenizer decode "3570 240 547 2585"
gpt1 tokenizer encode "Hello, my dog" | gpt1 tokenizer decode -"""


def add_arguments(parser: ArgumentParser) -> None:
    """Ids and tokenizer."""
    parser.add_argument("ids", help='Ids, or "-": those of each line of standard input.')
    parser.add_argument("--model", default="mini", help="Model or folder whose tokenizer is used.")
    parser.add_argument("--raw", action="store_true", help="Leave words and punctuation apart.")


def run(arguments: Namespace) -> int:
    """Print the text of each list of ids on a line."""
    from gpt1.checkpoint import locate
    from gpt1.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(locate(arguments.model))
    for line in sys.stdin if arguments.ids == "-" else [arguments.ids]:
        words = re.findall(r"[^\s,\[\]]+", line)
        wrong = [word for word in words if not word.isdecimal()]
        if wrong:
            raise DataError(f"{wrong[0]!r} is not a token id; give whole numbers, as encode prints")
        sys.stdout.write(tokenizer.decode(map(int, words), raw=arguments.raw) + "\n")
    return 0
