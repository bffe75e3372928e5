"""``gpt1 pretrain``: train a language model from scratch."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.arguments import add_fields, add_run_arguments, collect
from gpt1.config import BackboneConfig, GPTConfig, LSTMConfig, PrepareConfig, TrainingConfig
from gpt1.errors import ConfigError

EXAMPLES = """\
gpt1 pretrain --config recipes/mini.yaml --data books/ --out runs/mini
gpt1 pretrain --data SHARDS --out runs/tiny --model.n-layer 4 --model.n-embd 128 --model.n-head 4
gpt1 pretrain --data SHARDS --out runs/lstm --model-type lstm --lstm.n-units 683 --lstm.n-embd 256
gpt1 pretrain --data s3://bucket/shards --out runs/far
gpt1 pretrain --out runs/mini --resume"""

SHAPES: dict[str, tuple[str, type[BackboneConfig]]] = {
    "gpt": ("model", GPTConfig),
    "lstm": ("lstm", LSTMConfig),
}
"""Types of models, with the prefix of their flags and their config."""


def add_arguments(parser: ArgumentParser) -> None:
    """Data, kind and shape of the model, training."""
    parser.add_argument(
        "--data",
        required=True,
        help="Token shards, a folder or its URL; or texts: a file or a folder of files.",
    )
    add_run_arguments(parser)
    add_fields(parser, TrainingConfig, defaults={"lr": 2.5e-4, "epochs": 1.0})
    parser.add_argument(
        "--model-type",
        choices=tuple(SHAPES),
        default="gpt",
        help="gpt: a Transformer, shaped by --model.*; lstm: the paper's LSTM, shaped by --lstm.*",
    )
    for prefix, config in SHAPES.values():
        add_fields(parser, config, prefix=f"{prefix}.", leave_out=["vocab_size"])
    add_fields(parser, PrepareConfig, prefix="prepare.")


def model_shape(arguments: Namespace) -> BackboneConfig:
    """The shape that the flags ask for.

    Raises:
        ConfigError: If it is impossible, or there are flags for the other kind of model.
    """
    shapes = {kind: collect(config, arguments[key]) for kind, (key, config) in SHAPES.items()}
    chosen = shapes.pop(arguments.model_type)
    for kind, other in shapes.items():
        if other != type(other)():
            raise ConfigError(
                f"--{SHAPES[kind][0]}.* flags shape a model of type {kind!r} but --model-type is "
                f"{arguments.model_type!r}; use --{SHAPES[arguments.model_type][0]}.* flags"
            )
    return chosen


def run(arguments: Namespace) -> int:
    """Train and report."""
    from gpt1.cli.progress import TrainingProgress
    from gpt1.cli.report import report_plan, report_run
    from gpt1.training.pretrain import plan_pretrain, pretrain

    what = (
        arguments.data,
        arguments.out,
        collect(TrainingConfig, arguments),
        model_shape(arguments),
        collect(PrepareConfig, arguments.prepare),
    )
    watch = TrainingProgress()
    if arguments.dry_run:
        plan = plan_pretrain(*what, resume=arguments.resume, watch=watch)
        return report_plan(plan, as_json=arguments.json)
    result = pretrain(*what, resume=arguments.resume, watch=watch)
    return report_run(result, "pretrain", as_json=arguments.json)
