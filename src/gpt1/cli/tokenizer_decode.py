"""``gpt1 tokenizer decode``: token ids to text."""

from __future__ import annotations

import re
import sys

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.loading import add_tokenizer_arguments, load_tokenizer
from gpt1.errors import DataError

EXAMPLES = """\
gpt1 tokenizer decode "3570 240 547 2585"
gpt1 tokenizer encode "Hello, my dog" | gpt1 tokenizer decode -"""


def add_arguments(parser: ArgumentParser) -> None:
    """Ids and tokenizer."""
    parser.add_argument("ids", help='Ids, or "-": those of each line of standard input.')
    add_tokenizer_arguments(parser)
    parser.add_argument("--raw", action="store_true", help="Leave words and punctuation apart.")


def run(arguments: Namespace) -> int:
    """Print the text of each list of ids on a line."""
    from gpt1.data.files import utf8_lines

    tokenizer = load_tokenizer(arguments)
    lines = utf8_lines(sys.stdin.buffer, "standard input")
    for line in lines if arguments.ids == "-" else [arguments.ids]:
        words = re.findall(r"[^\s,\[\]]+", line)
        wrong = [word for word in words if not word.isdecimal()]
        if wrong:
            raise DataError(f"{wrong[0]!r} is not a token id; give whole numbers, as encode prints")
        sys.stdout.write(tokenizer.decode(map(int, words), raw=arguments.raw) + "\n")
    return 0
