"""``gpt1 data prepare``: texts to token shards."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.arguments import add_fields, collect
from gpt1.config import PrepareConfig

EXAMPLES = """\
gpt1 data prepare books/ --out shards --vocab-size 8192
gpt1 data prepare a.jsonl.xz b.txt --out shards --tokenizer openai-community/openai-gpt"""


def add_arguments(parser: ArgumentParser) -> None:
    """Inputs, output, how."""
    parser.add_argument("inputs", nargs="+", help="Files or folders of text.")
    parser.add_argument("--out", required=True, help="Folder of the shards; made if need be.")
    parser.add_argument("--json", action="store_true", help="Print the counts as JSON.")
    add_fields(parser, PrepareConfig)


def run(arguments: Namespace) -> int:
    """Prepare and count."""
    from gpt1.cli.progress import CountProgress
    from gpt1.cli.report import print_facts
    from gpt1.data.prepare import prepare

    progress = CountProgress()
    config = collect(PrepareConfig, arguments)
    try:
        shards = prepare(arguments.inputs, arguments.out, config, advance=progress.advance)
    finally:
        progress.stop()
    counts = {
        f"{split}_tokens": sum(entry["tokens"] for entry in entries)
        for split, entries in shards.index["splits"].items()
    }
    facts = {key: shards.index[key] for key in ("documents", "characters")} | counts
    print_facts({"out": arguments.out, **facts}, as_json=arguments.json)
    return 0
