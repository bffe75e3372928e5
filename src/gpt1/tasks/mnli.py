"""MNLI, Multi-Genre Natural Language Inference: does a premise entail a hypothesis?

Source: Williams et al. (2018), part of GLUE. Official sizes: 392,702 / 9,815 of the genres of train
and 9,832 of others / 9,796 and 9,847, test labels private. The original dev files also hold rows
the annotators did not agree on, with the label "-". GLUE's diagnostic set is the split "ax".
"""

from __future__ import annotations

from gpt1.tasks.example import Example, pair
from gpt1.tasks.task import HubSource, LeftOut, Result, Row, Task


def transform(row: Row) -> Example:
    """``S premise D hypothesis E``; linear head over three classes."""
    if row["label"] == "-":
        raise LeftOut("no gold label")
    return pair(row["premise"], row["hypothesis"], row["label"])


def _files(split: str) -> tuple[str, ...]:
    return (f"{split}.tsv", f"multinli_*_{split}.jsonl", f"multinli_*_{split}.txt")


TASK = Task(
    name="mnli",
    transform=transform,
    metrics=("accuracy",),
    classes=("entailment", "neutral", "contradiction"),
    columns={"premise": ("sentence1",), "hypothesis": ("sentence2",), "label": ("gold_label",)},
    files={
        "train": _files("train"),
        "dev": _files("dev_matched"),
        "dev_mismatched": _files("dev_mismatched"),
        "test": _files("test_matched"),
        "test_mismatched": _files("test_mismatched"),
        "ax": ("AX/AX.tsv", "AX.tsv", "diagnostic/diagnostic.tsv", "diagnostic.tsv"),
    },
    hub=HubSource(
        dataset="nyu-mll/glue",
        config="mnli",
        splits={
            "train": "train",
            "dev": "validation_matched",
            "dev_mismatched": "validation_mismatched",
            "test": "test_matched",
            "test_mismatched": "test_mismatched",
        },
    ),
    results=(
        Result(split="dev", metric="accuracy", gpt1=82.1, earlier=80.6, label="MNLI-m"),
        Result(split="dev_mismatched", metric="accuracy", gpt1=81.4, earlier=80.1, label="MNLI-mm"),
    ),
)
