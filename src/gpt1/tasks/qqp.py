"""QQP, Quora Question Pairs: do two questions ask the same?

Source: Quora's release of 2017, part of GLUE. Official sizes: 363,846 / 40,430 / 390,965, test
labels private. A few rows of GLUE's train file are broken in two by a line end in a question.
"""

from __future__ import annotations

from gpt1.tasks.example import Example, similarity
from gpt1.tasks.task import HubSource, Result, Row, Task


def transform(row: Row) -> Example:
    """``S a D b E`` and ``S b D a E``, added; linear head over two classes."""
    return similarity(row["sentence1"], row["sentence2"], row["label"])


TASK = Task(
    name="qqp",
    transform=transform,
    metrics=("f1", "accuracy"),
    classes=("not_duplicate", "duplicate"),
    columns={"sentence1": ("question1",), "sentence2": ("question2",), "label": ("is_duplicate",)},
    hub=HubSource(dataset="nyu-mll/glue", config="qqp"),
    results=(Result(split="dev", metric="f1", gpt1=70.3, earlier=66.1, label="QQP"),),
)
