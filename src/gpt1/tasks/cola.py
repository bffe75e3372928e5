"""CoLA, the Corpus of Linguistic Acceptability: is a sentence grammatical?

Source: Warstadt et al. (2018), part of GLUE; sentences from published works on linguistics.
Official sizes: 8,551 / 1,043 / 1,063, test labels private. Files have no header, but GLUE's test.
"""

from __future__ import annotations

from gpt1.tasks.example import Example, text
from gpt1.tasks.task import HubSource, Result, Row, Task


def transform(row: Row) -> Example:
    """``S sentence E``; linear head over two classes."""
    return text(row["sentence"], row["label"])


TASK = Task(
    name="cola",
    transform=transform,
    metrics=("matthews", "accuracy"),
    classes=("unacceptable", "acceptable"),
    columns={"sentence": (), "label": ()},
    header=("source", "label", "mark", "sentence"),
    files={"train": ("in_domain_train.tsv",), "dev": ("*_domain_dev.tsv",)},
    hub=HubSource(dataset="nyu-mll/glue", config="cola"),
    results=(Result(split="dev", metric="matthews", gpt1=45.4, earlier=35.0, label="CoLA"),),
)
