"""What the paper reports beyond the figures that stand with each task: its ablations and figure 2.

Source: GPT-1, tables 2 to 5 and figure 2. What is read off a plot says so.
"""

from __future__ import annotations

from typing import NamedTuple

from gpt1.tasks.task import NAMES

TABLES: dict[str, tuple[str, ...]] = {
    "table2": ("mnli", "snli", "scitail", "qnli", "rte"),
    "table3": ("storycloze", "race"),
    "table4": ("cola", "sst2", "mrpc", "stsb", "qqp"),
}
"""The tasks of each table of results."""

TITLES = {
    "table2": "Natural language inference",
    "table3": "Question answering and commonsense reasoning",
    "table4": "Classification and semantic similarity",
    "table5": "Ablations",
    "figure2": "Transfer of layers, and zero-shot behaviour",
}

GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")
"""The eight tasks of the ablations, in the order of table 5."""


class Ablation(NamedTuple):
    """A row of table 5, in percent.

    Attributes:
        name: As we call the variant.
        label: As the paper does.
        mean: Of the eight tasks, as printed.
        scores: Of each of `GLUE`.
    """

    name: str
    label: str
    mean: float
    scores: tuple[float, ...]


ABLATIONS = (
    Ablation(
        "full",
        "Transformer w/ aux LM (full)",
        74.7,
        (45.4, 91.3, 82.3, 82.0, 70.3, 81.8, 88.1, 56.0),
    ),
    Ablation(
        "scratch",
        "Transformer w/o pre-training",
        59.9,
        (18.9, 84.0, 79.4, 30.9, 65.5, 75.7, 71.2, 53.8),
    ),
    Ablation(
        "no_lm",
        "Transformer w/o aux LM",
        75.0,
        (47.9, 92.0, 84.9, 83.2, 69.8, 81.1, 86.9, 54.4),
    ),
    Ablation(
        "lstm",
        "LSTM w/ aux LM",
        69.1,
        (30.3, 90.5, 83.2, 71.8, 68.1, 73.7, 81.1, 54.6),
    ),
)

TRANSFER_TASKS = ("race", "mnli")
TRANSFER_ENDS = {"race": (40.0, 60.0), "mnli": (72.0, 82.0)}
"""Dev accuracy in percent with 0 and with all blocks transferred: about, read off figure 2."""

ZERO_SHOT_ENDS = {"sst2": 0.68, "dprd": 0.55, "cola": 0.43, "race": 0.25}
"""Normalised score at the end of pre-training: read off figure 2 (right), about."""

WHY_NOT_COMPARABLE = (
    "Scores of GLUE tasks in the paper are from its private test server; ours are on development "
    "sets, which also picked the checkpoint.",
    "QNLI was released anew in 2019; the paper's figure is of the first release.",
    "The paper's model is 17 times as large as mini and read a hundred times as many words.",
    "Text is split by today's rules of spaCy and ftfy (mode original) or as transformers does "
    "(mode bert), not by those of 2018.",
)
"""Reasons why a number may differ from the paper's."""

assert {name for tasks in TABLES.values() for name in tasks} == set(NAMES)
