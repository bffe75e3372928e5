"""``gpt1 convert``: change the format of a checkpoint."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

EXAMPLES = """\
gpt1 convert openai-community/openai-gpt my-gpt1
gpt1 convert finetune-transformer-lm/model my-gpt1
gpt1 convert my-gpt1 shards --format openai"""


def add_arguments(parser: ArgumentParser) -> None:
    """From where, to where, how."""
    parser.add_argument(
        "source", help="Folder in either format, bundled model ('mini') or hub id (owner/name)."
    )
    parser.add_argument("destination", help="Folder: new, empty or a checkpoint to replace.")
    parser.add_argument(
        "--format",
        choices=("hf", "openai"),
        default="hf",
        help="hf: safetensors for gpt1 and transformers; openai: the authors' ten float32 shards.",
    )
    parser.add_argument("--revision", help="Branch, tag or commit of a hub id.")
    parser.add_argument(
        "--n-head",
        type=int,
        help="Heads of a source in the authors' format, which does not store them. "
        "Default: n_embd / 64.",
    )
    parser.add_argument("--json", action="store_true", help="Print the result as one JSON object.")


def run(arguments: Namespace) -> int:
    """Convert and say what was written."""
    from gpt1.cli.report import print_facts
    from gpt1.convert import convert

    result = convert(
        arguments.source,
        arguments.destination,
        to=arguments.format,
        revision=arguments.revision,
        n_head=arguments.n_head,
    )
    print_facts(result._asdict(), as_json=arguments.json)
    return 0
