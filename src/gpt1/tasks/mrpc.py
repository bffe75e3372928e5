"""MRPC, the Microsoft Research Paraphrase Corpus: do two sentences of news say the same?

Source: Dolan and Brockett (2005), part of GLUE. Official sizes: 3,668 / 408 / 1,725. The original
``msr_paraphrase_train.txt`` holds train and dev together; quotes in the files are part of the text.
"""

from __future__ import annotations

from gpt1.tasks.example import Example, similarity
from gpt1.tasks.task import HubSource, Result, Row, Task


def transform(row: Row) -> Example:
    """``S a D b E`` and ``S b D a E``, added; linear head over two classes."""
    return similarity(row["sentence1"], row["sentence2"], row["label"])


TASK = Task(
    name="mrpc",
    transform=transform,
    metrics=("f1", "accuracy"),
    classes=("not_equivalent", "equivalent"),
    columns={"sentence1": ("#1 String",), "sentence2": ("#2 String",), "label": ("Quality",)},
    files={"train": ("msr_paraphrase_train.txt",), "test": ("msr_paraphrase_test.txt",)},
    hub=HubSource(dataset="nyu-mll/glue", config="mrpc"),
    results=(Result(split="dev", metric="f1", gpt1=82.3, earlier=86.0, label="MRPC"),),
)
