"""QNLI, the Stanford questions as inference: does a sentence hold the answer to a question?

Source: Rajpurkar et al. (2016), recast for GLUE. Official sizes: 104,743 / 5,463 / 5,463, test
labels private. The paper used GLUE's first release, 108,436 / 5,732, which is not comparable.
"""

from __future__ import annotations

from gpt1.tasks.example import Example, pair
from gpt1.tasks.task import HubSource, Result, Row, Task


def transform(row: Row) -> Example:
    """``S question D sentence E``; linear head over two classes."""
    return pair(row["question"], row["sentence"], row["label"])


TASK = Task(
    name="qnli",
    transform=transform,
    metrics=("accuracy",),
    classes=("entailment", "not_entailment"),
    columns={"question": (), "sentence": (), "label": ()},
    hub=HubSource(dataset="nyu-mll/glue", config="qnli"),
    results=(Result(split="dev", metric="accuracy", gpt1=88.1, earlier=82.3, label="QNLI"),),
)
