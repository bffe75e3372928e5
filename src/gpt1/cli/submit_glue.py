"""``gpt1 submit glue``: predictions for the leaderboard of GLUE, or a check of some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from gpt1.errors import ConfigError, DataError

if TYPE_CHECKING:
    from gpt1.tasks.glue import GlueSet

EXAMPLES = """\
gpt1 submit glue --data GLUE --out glue.zip --cola runs/cola --sst2 runs/sst2 --mrpc runs/mrpc \
--stsb runs/stsb --qqp runs/qqp --mnli runs/mnli --qnli runs/qnli --rte runs/rte
gpt1 submit glue --check glue.zip"""

TASKS = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument(
        "--data",
        help='Folder of GLUE, with its folders CoLA, SST-2 and so on; or "hub:".',
    )
    parser.add_argument("--out", help="The zip file to write.")
    for task in TASKS:
        parser.add_argument(f"--{task}", help=f"Folder from gpt1 finetune task {task}.")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps.")
    parser.add_argument("--check", help="Only check this zip file.")
    parser.add_argument("--json", action="store_true", help="Print the result as one JSON object.")


def run(args: Namespace, test_sets: Mapping[str, GlueSet] | None = None) -> int:
    """Predict, write and check, or only check; returns the exit code.

    Args:
        args: The flags.
        test_sets: What a submission has predictions for; default: all of GLUE.
    """
    from gpt1.cli.report import print_facts
    from gpt1.tasks.glue import TEST_SETS, check_submission

    test_sets = test_sets or TEST_SETS
    path = args.check or args.out
    if not args.check:
        _write(args, test_sets)
    problems = check_submission(path, test_sets)
    if problems:
        raise DataError(f"{path} would not be accepted: {'; '.join(problems)}")
    facts = {"submission": path, **{s.file: s.rows for s in test_sets.values()}}
    print_facts(facts, as_json=args.json)
    return 0


def _write(args: Namespace, test_sets: Mapping[str, GlueSet]) -> None:
    from gpt1.cli.progress import say
    from gpt1.cli.scoring_progress import scoring_progress
    from gpt1.evaluation.submitting import predict_glue
    from gpt1.locate import locate
    from gpt1.tasks.glue import write_submission

    missing = [f"--{name}" for name in ("data", "out", *TASKS) if not args[name]]
    if missing:
        raise ConfigError(
            f"a submission needs {', '.join(missing)} as well; or check one with --check FILE.zip"
        )
    models = {task: locate(args[task]) for task in TASKS}
    with scoring_progress("predicting") as advance:
        predictions = predict_glue(
            models,
            args.data,
            device=args.device,
            test_sets=test_sets,
            note=say,
            advance=advance,
        )
    write_submission(predictions, args.out, test_sets)
