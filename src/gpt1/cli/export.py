"""``gpt1 export``: write a model for another runtime."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

EXAMPLES = """\
gpt1 export --format onnx --out mini-onnx
gpt1 export --model my-gpt1 --format ctranslate2 --dtype int8 --out my-gpt1-ct2"""


def add_arguments(parser: ArgumentParser) -> None:
    """Which model, to what, where."""
    from gpt1.export.formats import FORMATS, OPSETS

    formats = "; ".join(
        f"{name} ({', '.join(format.dtypes)}): for {format.summary}"
        for name, format in FORMATS.items()
    )
    parser.add_argument(
        "--model", default="mini", help="mini (comes with gpt1), a checkpoint folder or a hub id."
    )
    parser.add_argument("--revision", help="Branch, tag or commit of a hub id.")
    parser.add_argument(
        "--format", required=True, help=f"What to write, and in which number formats. {formats}."
    )
    parser.add_argument(
        "--dtype", help="Number format of the weights. Default: the first of the format."
    )
    parser.add_argument(
        "--opset",
        type=int,
        help=f"Of onnx: version of its operators, {OPSETS[0]} (the default) to {OPSETS[-1]}.",
    )
    parser.add_argument("--out", required=True, help="Folder to write; new or empty.")
    parser.add_argument("--json", action="store_true", help="Print the result as one JSON object.")


def run(arguments: Namespace) -> int:
    """Export and say what was written."""
    from gpt1.cli.report import print_facts
    from gpt1.export.exporting import export_model

    result = export_model(
        arguments.model,
        arguments.out,
        format=arguments.format,
        dtype=arguments.dtype,
        opset=arguments.opset,
        revision=arguments.revision,
    )
    print_facts(result._asdict(), as_json=arguments.json)
    return 0
