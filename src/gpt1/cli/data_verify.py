"""``gpt1 data verify``: compare token shards with their index, byte for byte."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

EXAMPLES = """\
gpt1 data verify shards
gpt1 data verify s3://bucket/shards --json"""


def add_arguments(parser: ArgumentParser) -> None:
    """Where the shards are."""
    parser.add_argument("shards", help="Folder of the shards, or its URL.")
    parser.add_argument("--json", action="store_true", help="Print what was checked as JSON.")


def run(arguments: Namespace) -> int:
    """Read and compare everything."""
    from gpt1.cli.report import print_facts
    from gpt1.data.shards import Shards

    shards = Shards(arguments.shards)
    shards.verify()
    entries = [entry for split in shards.index["splits"].values() for entry in split]
    facts = {
        "folder": str(shards.folder),
        "files": len(entries),
        "tokens": sum(entry["tokens"] for entry in entries),
    }
    print_facts(facts, as_json=arguments.json)
    return 0
