"""``gpt1 pretrain``: train a language model from scratch."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.arguments import add_fields, add_run_arguments, collect
from gpt1.config import GPTConfig, PrepareConfig, TrainingConfig

EXAMPLES = """\
gpt1 pretrain --config recipes/mini.yaml --data books/ --out runs/mini
gpt1 pretrain --data SHARDS --out runs/tiny --model.n-layer 4 --model.n-embd 128 --model.n-head 4
gpt1 pretrain --out runs/mini --resume"""


def add_arguments(parser: ArgumentParser) -> None:
    """Data, shape of the model, training."""
    parser.add_argument(
        "--data", required=True, help="Token shards, or texts: a file or a folder of files."
    )
    add_run_arguments(parser)
    add_fields(parser, TrainingConfig, defaults={"lr": 2.5e-4, "epochs": 1.0})
    add_fields(parser, GPTConfig, prefix="model.", leave_out=["vocab_size"])
    add_fields(parser, PrepareConfig, prefix="prepare.")


def run(arguments: Namespace) -> int:
    """Train and report."""
    from gpt1.cli.progress import TrainingProgress
    from gpt1.cli.report import report_run
    from gpt1.training.pretrain import pretrain

    result = pretrain(
        arguments.data,
        arguments.out,
        collect(TrainingConfig, arguments),
        collect(GPTConfig, arguments.model),
        collect(PrepareConfig, arguments.prepare),
        resume=arguments.resume,
        watch=TrainingProgress(),
    )
    return report_run(result, "pretrain", as_json=arguments.json)
