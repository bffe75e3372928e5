"""SciTail: does a sentence from the web entail the answer to a school science question?

Source: Khot et al. (2018), Allen Institute for AI. Official sizes: 23,596 / 1,304 / 2,126. The
labels are "entails" and "neutral" in the .tsv files, which have no header, and "entailment" and
"neutral" in snli_format, whose .txt files are JSON lines.
"""

from __future__ import annotations

from gpt1.tasks.example import Example, pair
from gpt1.tasks.task import HubSource, Result, Row, Task

OFFICIAL_LABELS = {"entails": "entailment", "neutral": "not_entailment"}


def transform(row: Row) -> Example:
    """``S premise D hypothesis E``; linear head over two classes."""
    label = OFFICIAL_LABELS.get(row["label"], row["label"])
    return pair(row["premise"], row["hypothesis"], label)


def _files(split: str) -> tuple[str, ...]:
    tsv, snli = f"scitail_*_{split}.tsv", f"scitail_*_{split}.txt"
    return (f"tsv_format/{tsv}", f"snli_format/{snli}", tsv, snli)


TASK = Task(
    name="scitail",
    transform=transform,
    metrics=("accuracy",),
    classes=("entailment", "not_entailment"),
    columns={"premise": ("sentence1",), "hypothesis": ("sentence2",), "label": ("gold_label",)},
    header=("premise", "hypothesis", "label"),
    files={split: _files(split) for split in ("train", "dev", "test")},
    hub=HubSource(dataset="allenai/scitail", config="tsv_format"),
    results=(Result(split="test", metric="accuracy", gpt1=88.3, earlier=83.3, label="SciTail"),),
)
