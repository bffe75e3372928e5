"""``gpt1 finetune task``: fine-tune a model on labelled examples."""

from __future__ import annotations

import shlex
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.arguments import add_fields, add_run_arguments, collect
from gpt1.config import OF_LANGUAGE_MODELS, TaskConfig, TaskSource, TrainingConfig

EXAMPLES = """\
gpt1 finetune task cola --data GLUE --model openai-community/openai-gpt --out runs/cola
gpt1 finetune task --data reviews.csv --columns text=review,label=stars --out runs/reviews
gpt1 finetune task rte --data GLUE --out runs/rte --seeds 5 --lr-grid [3e-5,6.25e-5,1e-4]
gpt1 finetune task --config recipes/finetune-task.yaml --data reviews.csv --out runs/reviews
gpt1 finetune task --out runs/cola --resume"""


def add_arguments(parser: ArgumentParser) -> None:
    """Task, model, examples, training; the defaults are the paper's."""
    parser.add_argument(
        "task",
        nargs="?",
        help="cola, sst2, mrpc, qqp, stsb, mnli, qnli, rte, snli, scitail, race or storycloze; "
        "default: your own, told by the columns of the data.",
    )
    parser.add_argument(
        "--model", default="mini", help='"mini", a folder or a hub id: where to start from.'
    )
    add_fields(parser, TaskSource, leave_out=["task"])
    add_run_arguments(parser)
    parser.add_argument(
        "--seeds", type=int, default=1, help="Runs, with as many seeds; the best is kept."
    )
    parser.add_argument(
        "--lr-grid",
        type=list[float],
        default=[],
        help="Learning rates to try in place of --lr; the one with the best median is kept.",
    )
    add_fields(parser, TaskConfig)
    parser.add_argument(
        "--lr",
        type=float,
        help="Peak learning rate. Default: 6.25e-5, as in the paper; for a model narrower than the "
        "paper's, such as mini, 5e-4.",
    )
    parser.add_argument(
        "--schedule.warmup-fraction",
        type=float,
        help="Share of all updates over which the rate rises from 0. Default: 0.002, as in the "
        "paper; for a narrower model 0.1.",
    )
    add_fields(
        parser,
        TrainingConfig,
        leave_out=[*OF_LANGUAGE_MODELS, "lr", "schedule.warmup_fraction"],
        defaults={"eval_every_steps": 0},
    )


def _fill_in(arguments: Namespace) -> None:
    """Where rate and warm-up are not given, choose them by the width of the model."""
    from gpt1.checkpoint import load_model
    from gpt1.locate import locate
    from gpt1.training.finetune_task import suited_training

    suited = suited_training(load_model(locate(arguments.model)).config.n_embd)
    if arguments.lr is None:
        arguments.lr = suited.lr
    if arguments.schedule.warmup_fraction is None:
        arguments.schedule.warmup_fraction = suited.schedule.warmup_fraction


def run(arguments: Namespace) -> int:
    """Train and report."""
    from gpt1.cli.progress import TrainingProgress, say
    from gpt1.cli.report import print_facts, report_plan, say_interrupted
    from gpt1.tasks.splits import read_task_data
    from gpt1.training.finetune_task import finetune_task, plan_finetune_task
    from gpt1.training.trials import run_trials

    _fill_in(arguments)
    config, training = collect(TaskConfig, arguments), collect(TrainingConfig, arguments)
    data = read_task_data(
        collect(TaskSource, arguments),
        valid_fraction=config.valid_fraction,
        seed=training.seed,
        note=say,
    )
    out, resume, watch = Path(arguments.out), arguments.resume, TrainingProgress()
    if arguments.dry_run:
        plan = plan_finetune_task(arguments.model, data, out, config, training, resume=resume)
        return report_plan(plan, as_json=arguments.json)
    if arguments.seeds == 1 and not arguments.lr_grid:
        result = finetune_task(
            arguments.model, data, out, config, training, resume=resume, watch=watch
        )
        complete, preempted, facts = result.complete, result.preempted, result.as_dict()
        shown = {**facts, **facts["metrics"], "truncation": str(result.truncation)}
        del shown["metrics"]
    else:
        series = run_trials(
            arguments.model,
            data,
            out,
            config,
            training,
            seeds=arguments.seeds,
            lr_grid=arguments.lr_grid,
            resume=resume,
            watch=watch,
        )
        complete, preempted, facts = series.complete, series.preempted, series.as_dict()
        shown = series.table()
    print_facts(facts if arguments.json else shown, as_json=arguments.json)
    folder = shlex.quote(str(out))
    if not complete:
        return say_interrupted("finetune task", folder, preempted=preempted)
    say(f"Try it: gpt1 evaluate task --model {folder} --data FILE --predictions OUT.jsonl")
    return 0
