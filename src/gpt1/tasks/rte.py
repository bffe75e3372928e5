"""RTE, Recognizing Textual Entailment: does a passage of news entail a sentence?

Source: the challenges RTE-1, -2, -3 and -5 (2005 to 2009), joined for GLUE.
Official sizes: 2,490 / 277 / 3,000, GLUE's test labels private.
"""

from __future__ import annotations

from gpt1.tasks.example import Example, pair
from gpt1.tasks.task import HubSource, Result, Row, Task


def transform(row: Row) -> Example:
    """``S premise D hypothesis E``; linear head over two classes."""
    return pair(row["premise"], row["hypothesis"], row["label"])


TASK = Task(
    name="rte",
    transform=transform,
    metrics=("accuracy",),
    classes=("entailment", "not_entailment"),
    columns={"premise": ("sentence1",), "hypothesis": ("sentence2",), "label": ()},
    hub=HubSource(dataset="nyu-mll/glue", config="rte"),
    results=(Result(split="dev", metric="accuracy", gpt1=56.0, earlier=61.7, label="RTE"),),
)
