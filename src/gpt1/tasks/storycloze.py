"""Story Cloze: which of two sentences ends a story of four?

Source: Mostafazadeh et al. (2016), from its authors on request. Official sizes: - / 1,871 / 1,871.
As in the released fine-tuning code, the 1,871 labelled validation stories are cut into 1,497 to
train on and 374 to validate with; the unlabelled stories are not used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gpt1.data.rows import read_rows
from gpt1.tasks.example import Example, choice
from gpt1.tasks.task import Result, Row, Rows, Task

SPLIT_SEED = 3535999445
CONTEXT = tuple(f"InputSentence{number}" for number in (1, 2, 3, 4))
ENDINGS = ("RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2")
ANSWER = "AnswerRightEnding"


def transform(row: Row) -> Example:
    """``S context D ending E`` for both endings; the context is the sentences with spaces between.

    The label is the number of the right ending, from 0; official files count from 1.
    """
    if CONTEXT[0] not in row:
        return choice(" ".join(row["context"]), row["endings"], row["label"])
    answer = row.get(ANSWER)
    context = " ".join(row[column] for column in CONTEXT)
    return choice(context, [row[column] for column in ENDINGS], int(answer) - 1 if answer else None)


def story_rows(file: Path, split: str) -> Rows:
    """The stories of an official file; train and dev are parts of the validation file."""
    rows = [(f"line {line}", row) for line, row in read_rows(file)]
    for number in range(len(rows)) if split == "test" else _part(len(rows), split):
        yield rows[number]


def _part(n_stories: int, split: str) -> list[int]:
    """The stories of train or dev, as scikit-learn's `train_test_split` draws them."""
    order = np.random.RandomState(SPLIT_SEED).permutation(n_stories).tolist()
    n_dev = n_stories * 374 // 1871
    part: list[int] = order[:n_dev] if split == "dev" else order[n_dev:]
    return part


VALIDATION = ("cloze_test_val__spring2016*.csv", "*cloze*val*.csv")

TASK = Task(
    name="storycloze",
    transform=transform,
    metrics=("accuracy",),
    files={
        "train": VALIDATION,
        "dev": VALIDATION,
        "test": ("cloze_test_test__spring2016*.csv", "*cloze*test_all_test*.csv"),
    },
    rows=story_rows,
    results=(
        Result(split="test", metric="accuracy", gpt1=86.5, earlier=77.6, label="Story Cloze"),
    ),
)
