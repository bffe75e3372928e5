"""SST-2, the Stanford Sentiment Treebank in two classes: is a piece of a film review favourable?

Source: Socher et al. (2013), part of GLUE; lower-cased and tokenised.
Official sizes: 67,349 (sentences and phrases of them) / 872 / 1,821, GLUE's test labels private.
"""

from __future__ import annotations

from gpt1.tasks.example import Example, text
from gpt1.tasks.task import HubSource, Result, Row, Task


def transform(row: Row) -> Example:
    """``S sentence E``; linear head over two classes."""
    return text(row["sentence"], row["label"])


TASK = Task(
    name="sst2",
    transform=transform,
    metrics=("accuracy",),
    classes=("negative", "positive"),
    columns={"sentence": (), "label": ()},
    hub=HubSource(dataset="nyu-mll/glue", config="sst2"),
    results=(Result(split="dev", metric="accuracy", gpt1=91.3, earlier=93.2, label="SST-2"),),
)
