"""``gpt1 finetune lm``: fine-tune a language model on texts of one's own."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.arguments import add_fields, add_run_arguments, collect
from gpt1.config import TextConfig, TrainingConfig

EXAMPLES = """\
gpt1 finetune lm --data jokes.csv --text-column Joke --prefix "JOKE: " --out runs/jokes
gpt1 finetune lm --config recipes/jokes.yaml --data jokes.csv --out runs/jokes
gpt1 finetune lm --config recipes/jokes.yaml --data jokes.csv --out runs/jokes --dry-run
gpt1 finetune lm --out runs/jokes --resume"""


def add_arguments(parser: ArgumentParser) -> None:
    """Model, texts, training."""
    parser.add_argument(
        "--model", default="mini", help='"mini", a folder or a hub id: where to start from.'
    )
    add_fields(parser, TextConfig)
    add_run_arguments(parser)
    add_fields(parser, TrainingConfig)


def run(arguments: Namespace) -> int:
    """Train and report."""
    from gpt1.cli.progress import TrainingProgress
    from gpt1.cli.report import report_plan, report_run
    from gpt1.training.finetune import finetune_lm, plan_finetune_lm

    what = (
        arguments.model,
        collect(TextConfig, arguments),
        arguments.out,
        collect(TrainingConfig, arguments),
    )
    if arguments.dry_run:
        plan = plan_finetune_lm(*what, resume=arguments.resume)
        return report_plan(plan, as_json=arguments.json)
    result = finetune_lm(*what, resume=arguments.resume, watch=TrainingProgress())
    return report_run(result, "finetune lm", as_json=arguments.json)
