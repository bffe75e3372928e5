"""What the paper reports beyond the figures that stand with each task: its ablations and figure 2.

Source: GPT-1, tables 2 to 5 and figure 2. What is read off a plot says so.
"""

from __future__ import annotations

from typing import NamedTuple

TABLES: dict[str, tuple[str, ...]] = {
    "table2": ("mnli", "snli", "scitail", "qnli", "rte"),
    "table3": ("storycloze", "race"),
    "table4": ("cola", "sst2", "mrpc", "stsb", "qqp"),
}
"""The tasks of each table of results."""

TITLES = {
    "table2": "Table 2: natural language inference",
    "table3": "Table 3: question answering and commonsense reasoning",
    "table4": "Table 4: classification and semantic similarity",
    "table5": "Table 5: ablations",
    "figure2": "Figure 2: transfer of layers, and zero-shot behaviour",
}

MAIN_LABELS = {"mnli": "MNLI-m", "race": "RACE"}
"""The row that stands for a task with several, where tasks are counted."""

GLUE_LABELS = {
    "cola": "CoLA",
    "sst2": "SST-2",
    "mrpc": "MRPC",
    "stsb": "STS-B",
    "qqp": "QQP",
    "mnli": "MNLI",
    "qnli": "QNLI",
    "rte": "RTE",
}
GLUE = tuple(GLUE_LABELS)
"""The eight tasks of the ablations, in the order of table 5."""

PARAMETERS = 116_534_784
"""Of the paper's model."""

GLUE_SCORE = (72.8, 68.9)
"""GLUE's own score in table 4, of GPT-1 and the best before it: with WNLI, and on its server."""

SIZES = {
    "MNLI-m": (392_702, 9_815),
    "MNLI-mm": (392_702, 9_832),
    "SNLI": (549_367, 9_824),
    "SciTail": (23_596, 2_126),
    "QNLI": (104_743, 5_463),
    "RTE": (2_490, 277),
    "Story Cloze": (1_497, 1_871),
    "RACE-m": (87_866, 1_436),
    "RACE-h": (87_866, 3_498),
    "RACE": (87_866, 4_934),
    "CoLA": (8_551, 1_043),
    "SST-2": (67_349, 872),
    "MRPC": (3_668, 408),
    "STS-B": (5_749, 1_500),
    "QQP": (363_846, 40_430),
}
"""Examples of the official training set, and of the official split that `Task.results` names."""


class Ablation(NamedTuple):
    """A row of table 5, in percent.

    Attributes:
        variant: As `gpt1.reproduce.experiments` calls it.
        label: As the paper does.
        mean: Of the eight tasks, as printed.
        scores: Of each of `GLUE`.
    """

    variant: str
    label: str
    mean: float
    scores: tuple[float, ...]


ABLATIONS = (
    Ablation(
        "full",
        "Transformer with auxiliary LM (full)",
        74.7,
        (45.4, 91.3, 82.3, 82.0, 70.3, 81.8, 88.1, 56.0),
    ),
    Ablation(
        "scratch",
        "Transformer without pre-training",
        59.9,
        (18.9, 84.0, 79.4, 30.9, 65.5, 75.7, 71.2, 53.8),
    ),
    Ablation(
        "no_lm",
        "Transformer without auxiliary LM",
        75.0,
        (47.9, 92.0, 84.9, 83.2, 69.8, 81.1, 86.9, 54.4),
    ),
    Ablation(
        "lstm",
        "LSTM with auxiliary LM",
        69.1,
        (30.3, 90.5, 83.2, 71.8, 68.1, 73.7, 81.1, 54.6),
    ),
)

TRANSFER_TASKS = ("race", "mnli")
TRANSFER_ENDS = {"race": (40.0, 60.0), "mnli": (72.0, 82.0)}
"""Development accuracy in percent with no and with all twelve blocks transferred: about, read off
figure 2 (left) by others, so second-hand."""

ZERO_SHOT_TASKS = ("sst2", "dprd", "cola", "race")
ZERO_SHOT_ENDS = {"sst2": 0.68, "dprd": 0.55, "cola": 0.43, "race": 0.25}
"""Scaled score of the Transformer at the end of pre-training: about, read off figure 2 (right) by
others, so second-hand."""
