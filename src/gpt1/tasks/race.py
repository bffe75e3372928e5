"""RACE: questions on passages from English exams of Chinese middle and high schools.

Source: Lai et al. (2017), for research that is not commercial. Official sizes: 87,866 / 4,887 /
4,934 questions on 25,137 / 1,389 / 1,407 passages, a JSON file for each, four answers a question.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gpt1.data.files import open_text
from gpt1.data.rows import BadRow
from gpt1.errors import DataError
from gpt1.tasks.example import Example, choice
from gpt1.tasks.task import HubSource, Result, Row, Rows, Task

LETTERS = ("A", "B", "C", "D")


def transform(row: Row) -> Example:
    """``S article question D answer E`` for each answer; nothing between article and question."""
    return choice((row["article"], row["question"]), row["options"], _number(row["answer"]))


def _number(answer: str | None) -> int | None:
    if answer is None:
        return None
    if answer not in LETTERS:
        raise DataError(f"answer {answer!r} is none of {', '.join(LETTERS)}")
    return LETTERS.index(answer)


def level(row: Row) -> str:
    """Of the school, "middle" or "high": as the row says, or the name of its passage's file."""
    return row.get("level") or ("middle" if row["id"].startswith("middle") else "high")


def passage_rows(file: Path, split: str) -> Rows:
    """A row for each question of an official file."""
    with open_text(file) as stream:
        try:
            rows = _questions(json.load(stream))
        except (ValueError, TypeError, KeyError) as error:
            yield "line 1", BadRow(f"no passage of RACE: {type(error).__name__}: {error}")
            return
    for number, row in enumerate(rows, start=1):
        yield f"question {number}", row


def _questions(passage: Any) -> list[Row]:
    columns = zip(passage["questions"], passage["options"], passage["answers"], strict=True)
    return [
        {
            "id": passage["id"],
            "article": passage["article"],
            "question": question,
            "options": options,
            "answer": answer,
        }
        for question, options, answer in columns
    ]


TASK = Task(
    name="race",
    transform=transform,
    metrics=("accuracy",),
    columns={
        "article": (),
        "question": (),
        "options": (),
        "answer": (),
        "id": ("example_id",),
        "level": (),
    },
    label="answer",
    part=level,
    files={split: (f"{split}/*/*.txt",) for split in ("train", "dev", "test")},
    rows=passage_rows,
    hub=HubSource(dataset="ehovy/race", config="all"),
    results=tuple(
        Result(split="test", metric="accuracy", gpt1=gpt1, earlier=earlier, label=label, part=part)
        for label, part, gpt1, earlier in (
            ("RACE-m", "middle", 62.9, 60.2),
            ("RACE-h", "high", 57.4, 50.3),
            ("RACE", "", 59.0, 53.3),
        )
    ),
)
