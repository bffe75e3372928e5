"""``gpt1 data prepare``: texts to token shards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.arguments import add_fields, collect
from gpt1.config import ClusterConfig, PrepareConfig

if TYPE_CHECKING:
    from gpt1.data.shards import Shards

EXAMPLES = """\
gpt1 data prepare books/ --out shards --vocab-size 8192
gpt1 data prepare a.jsonl.xz b.epub --out shards --tokenizer openai-community/openai-gpt
gpt1 data prepare s3://bucket/crawl --out shards --clean.min-words 50 --clean.language en
gpt1 data prepare hub:owner/name --out shards --workers 16 --clean.near-duplicates 0.8
gpt1 data prepare crawl/ --out shards --engine slurm --workers 200 --cluster.partition cpu"""

ENGINES = ("plain", "local", "slurm", "ray")


def add_arguments(parser: ArgumentParser) -> None:
    """Inputs, output, how."""
    parser.add_argument(
        "inputs",
        nargs="+",
        help="Files, folders or URLs (s3://bucket/folder) of text, or hub:owner/name.",
    )
    parser.add_argument("--out", required=True, help="Folder of the shards; made if need be.")
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        help="Processes; the result is the same for any number. Default: one for each core.",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="plain",
        help="Who does the work: processes of this program, or datatrove (gpt1[cluster]) here, on "
        "Slurm, or on Ray. The result is the same.",
    )
    parser.add_argument("--json", action="store_true", help="Print the counts as JSON.")
    add_fields(parser, PrepareConfig)
    add_fields(parser, ClusterConfig, prefix="cluster.")


def run(arguments: Namespace) -> int:
    """Prepare and count."""
    from gpt1.cli.report import print_facts

    shards = _prepare(arguments, collect(PrepareConfig, arguments))
    if shards is None:
        print_facts({"out": arguments.out, "submitted": True}, as_json=arguments.json)
        return 0
    index = shards.index
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in index["dropped"].items())
    unread = [source["path"] for source in index["sources"] if source["problem"]]
    facts = {
        "documents": index["documents"],
        "dropped": index["dropped"] if arguments.json else dropped or "none",
        "unread_files": unread if arguments.json else len(unread),
        "characters": index["characters"],
    }
    facts |= {
        f"{split}_tokens": sum(entry["tokens"] for entry in entries)
        for split, entries in index["splits"].items()
    }
    print_facts({"out": arguments.out, **facts}, as_json=arguments.json)
    return 0


def _prepare(arguments: Namespace, config: PrepareConfig) -> Shards | None:
    """The shards; None if jobs of Slurm are going to make them."""
    from gpt1.cli.progress import CountProgress
    from gpt1.data.engines import prepare_on
    from gpt1.data.prepare import prepare

    inputs, out, workers = arguments.inputs, arguments.out, arguments.workers
    cluster = collect(ClusterConfig, arguments.cluster)
    if arguments.engine != "plain":
        return prepare_on(arguments.engine, inputs, out, config, workers=workers, cluster=cluster)
    progress = CountProgress()
    try:
        return prepare(inputs, out, config, workers=workers, advance=progress.advance)
    finally:
        progress.stop()
