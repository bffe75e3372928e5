"""``gpt1 tokenizer train``: learn a vocabulary from texts."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from gpt1.config import MODES

EXAMPLES = """\
gpt1 tokenizer train books/ --out my-tokenizer --vocab-size 8192
gpt1 tokenizer train books/ --out my-tokenizer --merges 40000 --mode original"""


def add_arguments(parser: ArgumentParser) -> None:
    """Texts, size, output."""
    parser.add_argument("inputs", nargs="+", help="Files or folders of text.")
    parser.add_argument("--out", required=True, help="Folder of the tokenizer; made if need be.")
    parser.add_argument("--vocab-size", type=int | None, help="Most ids.", default=None)
    parser.add_argument(
        "--merges", type=int | None, help="Most merges, in place of --vocab-size.", default=None
    )
    parser.add_argument(
        "--min-frequency", type=int, default=2, help="How often a pair must occur to be merged."
    )
    parser.add_argument(
        "--alphabet-size", type=int, default=238, help="Most characters; rarer ones are unknown."
    )
    parser.add_argument(
        "--text-column", type=str | None, default=None, help="Column that holds the text."
    )
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="bert",
        help="How text is split: as GPT-1's authors did, or as transformers does.",
    )
    parser.add_argument("--json", action="store_true", help="Print the result as JSON.")


def run(arguments: Namespace) -> int:
    """Learn and save."""
    from itertools import chain

    from gpt1.atomic import check_destination
    from gpt1.cli.counting import counted
    from gpt1.cli.report import print_facts
    from gpt1.data.sources import TextSource
    from gpt1.tokenizer import Tokenizer

    check_destination(arguments.out)
    sources = [TextSource(path, arguments.text_column) for path in arguments.inputs]
    tokenizer = Tokenizer.train(
        counted(chain.from_iterable(sources), "reading"),
        vocab_size=arguments.vocab_size,
        merges=arguments.merges,
        min_frequency=arguments.min_frequency,
        alphabet_size=arguments.alphabet_size,
        mode=arguments.mode,
    )
    tokenizer.save(arguments.out)
    facts = {"out": arguments.out, "vocab_size": len(tokenizer), "sha256": tokenizer.fingerprint}
    print_facts(facts, as_json=arguments.json)
    return 0
