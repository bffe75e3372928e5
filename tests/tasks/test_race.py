"""RACE: passages of several questions, and the levels of schools."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gpt1.errors import DataError
from gpt1.tasks.example import choice
from gpt1.tasks.race import TASK, transform
from gpt1.tasks.reading import read_split

PASSAGE: dict[str, Any] = {
    "id": "middle7.txt",
    "article": "It rained.\nWe stayed.",
    "questions": ["Why did we stay?", "It  _  ."],
    "options": [["Rain.", "Sun.", "Fog.", "Snow."], ["rained", "snowed", "hailed", "froze"]],
    "answers": ["A", "D"],
}


def write_passages(folder: Path, passages: dict[str, Any]) -> None:
    for path, passage in passages.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(passage if isinstance(passage, str) else json.dumps(passage))


def test_a_passage_gives_an_example_for_each_question(tmp_path: Path) -> None:
    write_passages(tmp_path / "RACE", {"train/middle/7.txt": PASSAGE})
    found = read_split(TASK, tmp_path, "train")
    assert list(found.examples) == [
        choice((PASSAGE["article"], PASSAGE["questions"][0]), PASSAGE["options"][0], 0),
        choice((PASSAGE["article"], PASSAGE["questions"][1]), PASSAGE["options"][1], 3),
    ]
    assert found.ids == ["0", "1"], "the passage's name is not one of a question"


def test_levels_are_parts_that_can_be_selected(tmp_path: Path) -> None:
    high = {**PASSAGE, "id": "high9.txt"}
    write_passages(tmp_path, {"test/high/9.txt": high, "test/middle/7.txt": PASSAGE})
    found = read_split(TASK, tmp_path, "test")
    assert found.parts == ["high", "high", "middle", "middle"]
    assert found.part("middle").examples == found.examples[2:]
    assert found.part("high").ids == ["0", "1"]
    assert found.part("") is found


def test_broken_passages_are_named(tmp_path: Path) -> None:
    short = {**PASSAGE, "answers": ["A"]}
    odd = {**PASSAGE, "answers": ["A", "E"]}
    write_passages(
        tmp_path,
        {
            f"dev/high/{n}.txt": p
            for n, p in enumerate([PASSAGE, "{", short, {"id": "x"}, odd, PASSAGE])
        },
    )
    found = read_split(TASK, tmp_path, "dev")
    assert len(found) == 5
    assert [str(problem) for problem in found.problems.malformed] == [
        "1.txt line 1: no passage of RACE: JSONDecodeError: Expecting property name enclosed in "
        "double quotes: line 1 column 2 (char 1)",
        "2.txt line 1: no passage of RACE: ValueError: zip() argument 3 is shorter than arguments "
        "1-2",
        "3.txt line 1: no passage of RACE: KeyError: 'questions'",
        "4.txt question 2: answer 'E' is none of A, B, C, D",
    ]


def test_an_answer_that_is_no_letter_is_refused() -> None:
    row = {"article": "a", "question": "b", "options": ["c", "d"], "answer": "AB"}
    with pytest.raises(DataError, match="answer 'AB' is none of A, B, C, D"):
        transform(row)


def test_a_question_without_an_answer_has_no_label() -> None:
    row = {"article": "a", "question": "b", "options": ["c", "d"], "answer": None}
    assert transform(row) == choice(("a", "b"), ["c", "d"])


def test_the_shared_questions_are_of_two_levels(shared_data: Path) -> None:
    found = read_split(TASK, shared_data / "tasks" / "race", "dev")
    assert Counter(found.parts) == {"middle": 1_436, "high": 3_451}
    assert found.examples[0].segments[0][1] == "When something reflects light, we can   _  ."
    assert len(found.part("middle")) == 1_436


@pytest.mark.slow
def test_the_shared_training_questions_are_all_there(shared_data: Path) -> None:
    found = read_split(TASK, shared_data / "tasks" / "race", "train")
    assert found.summary() == "train: 87,866 examples"
    assert Counter(found.parts) == {"middle": 25_421, "high": 62_445}
