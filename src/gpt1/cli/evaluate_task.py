"""``gpt1 evaluate task``: what a task model predicts, and how often it is right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser, Namespace

from gpt1.cli.processes import scoring_together
from gpt1.config import RUN_FILE

if TYPE_CHECKING:
    from gpt1.config import HeadConfig
    from gpt1.tasks.reading import Examples
    from gpt1.tasks.task import Task

EXAMPLES = """\
gpt1 evaluate task --model runs/cola --data GLUE
gpt1 evaluate task --model runs/cola --data GLUE --split test --predictions cola.jsonl
gpt1 evaluate task --model runs/reviews --data new.csv --predictions out.csv"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument("--model", required=True, help="Folder from gpt1 finetune task.")
    parser.add_argument(
        "--data",
        required=True,
        help="Folder of the task's files, a file of examples, or a data set on the hub; labels "
        "need not be there.",
    )
    parser.add_argument(
        "--split", default="dev", help="Of a folder: train, dev, dev_mismatched or test."
    )
    parser.add_argument(
        "--columns",
        help='Columns of your own data, as "text=review"; default: as in training, else told by '
        "their names.",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps.")
    parser.add_argument(
        "--predictions", help="Write every prediction with its probabilities to .jsonl or .csv."
    )
    parser.add_argument("--json", action="store_true", help="Print the result as one JSON object.")


def run(args: Namespace) -> int:
    """Predict, compare and print; returns the exit code."""
    from gpt1.cli.progress import say
    from gpt1.cli.records import write_records
    from gpt1.cli.report import print_facts
    from gpt1.cli.scoring_progress import scoring_progress
    from gpt1.evaluation.predicting import judge, predict
    from gpt1.locate import locate
    from gpt1.task_checkpoint import load_task_model
    from gpt1.tasks.labels import default_metrics, encode_labels
    from gpt1.tasks.reading import read_split

    folder = locate(args.model)
    with scoring_together(args.device) as main:
        model, tokenizer = load_task_model(folder, device=args.device)
        task = _task(model.head, folder, args)
        examples = read_split(task, args.data, args.split)
        say(examples.summary())
        with scoring_progress("predicting") as advance:
            predictions = predict(model, tokenizer, examples.examples, advance=advance)
    if not main:
        return 0
    if args.predictions:
        write_records(args.predictions, _records(examples, list(predictions.records())))
    known = [n for n, example in enumerate(examples.examples) if example.label is not None]
    facts: dict[str, Any] = {"examples": len(examples), "labelled": len(known)}
    if known:
        labels = encode_labels([examples.examples[n].label for n in known], model.head)
        metrics = task.metrics or default_metrics(model.head)
        facts |= judge(predictions.select(known), labels, metrics)
    print_facts(facts, as_json=args.json)
    return 0


def _task(head: HeadConfig, folder: Path, args: Namespace) -> Task:
    """The task of the model; one's own is told by the columns, named as they were in training."""
    import yaml

    from gpt1.tasks.own import own_task
    from gpt1.tasks.splits import parse_columns
    from gpt1.tasks.task import NAMES, get_task

    if head.task in NAMES:
        return get_task(head.task)
    run = folder / RUN_FILE
    settings = yaml.safe_load(run.read_text(encoding="utf-8")) if run.is_file() else {}
    columns = parse_columns(args.columns or settings.get("columns")) or {}
    layout: Literal["pair", "similarity"] = "similarity" if head.layout == "similarity" else "pair"
    return own_task(args.data, columns, layout=layout, need_label=False)


def _records(examples: Examples, predicted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"id": name, **record, "label": example.label}
        for name, record, example in zip(examples.ids, predicted, examples.examples, strict=True)
    ]
