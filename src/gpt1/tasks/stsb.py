"""STS-B, the Semantic Textual Similarity Benchmark: how alike are two sentences, from 0 to 5?

Source: Cer et al. (2017), part of GLUE; captions, news and forum posts.
Official sizes: 5,749 / 1,500 / 1,379; GLUE's test has no scores, and the hub's copy -1.
"""

from __future__ import annotations

from typing import Any

from gpt1.errors import DataError
from gpt1.tasks.example import Example, similarity
from gpt1.tasks.task import HubSource, Result, Row, Task


def transform(row: Row) -> Example:
    """``S a D b E`` and ``S b D a E``, added; linear head to one value."""
    return similarity(row["sentence1"], row["sentence2"], _score(row["label"]))


def _score(label: Any) -> float | None:
    if label is None or float(label) == -1:
        return None
    if not 0 <= float(label) <= 5:
        raise DataError(f"score {label!r} is not in 0 to 5")
    return float(label)


TASK = Task(
    name="stsb",
    transform=transform,
    metrics=("pearson", "spearman"),
    columns={"sentence1": (), "sentence2": (), "label": ("score",)},
    hub=HubSource(dataset="nyu-mll/glue", config="stsb"),
    results=(Result(split="dev", metric="pearson", gpt1=82.0, earlier=81.0, label="STS-B"),),
)
