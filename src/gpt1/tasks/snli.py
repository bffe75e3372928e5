"""SNLI, Stanford Natural Language Inference: does the caption of a picture entail a sentence?

Source: Bowman et al. (2015). Official sizes with a gold label: 549,367 / 9,842 / 9,824; the other
rows, which the annotators did not agree on, have the label "-", or -1 on the hub.
"""

from __future__ import annotations

from gpt1.tasks.example import Example, pair
from gpt1.tasks.task import HubSource, LeftOut, Result, Row, Task


def transform(row: Row) -> Example:
    """``S premise D hypothesis E``; linear head over three classes."""
    if row["label"] in ("-", "-1", -1):
        raise LeftOut("no gold label")
    return pair(row["premise"], row["hypothesis"], row["label"])


TASK = Task(
    name="snli",
    transform=transform,
    metrics=("accuracy",),
    classes=("entailment", "neutral", "contradiction"),
    columns={"premise": ("sentence1",), "hypothesis": ("sentence2",), "label": ("gold_label",)},
    files={
        split: (f"snli_*_{split}.jsonl", f"snli_*_{split}.txt")
        for split in ("train", "dev", "test")
    },
    hub=HubSource(dataset="stanfordnlp/snli"),
    results=(Result(split="test", metric="accuracy", gpt1=89.9, earlier=89.3, label="SNLI"),),
)
