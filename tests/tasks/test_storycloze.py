"""Story Cloze: the official files, and the cut of the validation stories."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from sklearn.model_selection import train_test_split

from gpt1.tasks.example import choice
from gpt1.tasks.reading import read_split
from gpt1.tasks.storycloze import TASK

COLUMNS = [
    "InputStoryid",
    *(f"InputSentence{number}" for number in (1, 2, 3, 4)),
    "RandomFifthSentenceQuiz1",
    "RandomFifthSentenceQuiz2",
    "AnswerRightEnding",
]
VALIDATION = "cloze_test_val__spring2016 - cloze_test_ALL_val.csv"
TEST = "cloze_test_test__spring2016 - cloze_test_ALL_test.csv"


def write_stories(file: Path, n_stories: int) -> None:
    """Stories whose right ending is the second where their number is odd."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for n in range(n_stories):
            sentences = (f'{word} "{n}".' for word in ("One", "Two", "Three", "Four"))
            writer.writerow([f"id{n}", *sentences, "End, a.", "End, b.", n % 2 + 1])


def test_an_official_story_becomes_one_context_with_two_endings(tmp_path: Path) -> None:
    write_stories(tmp_path / TEST, 2)
    found = read_split(TASK, tmp_path, "test")
    assert list(found.examples) == [
        choice(f'One "{n}". Two "{n}". Three "{n}". Four "{n}".', ["End, a.", "End, b."], n)
        for n in (0, 1)
    ]
    assert found.ids == ["id0", "id1"]


def test_the_validation_stories_are_cut_as_in_the_released_code(tmp_path: Path) -> None:
    write_stories(tmp_path / VALIDATION, 1_871)
    names = [f"id{n}" for n in range(1_871)]
    train, dev = train_test_split(names, test_size=374, random_state=3535999445)
    assert read_split(TASK, tmp_path, "train").ids == train
    assert read_split(TASK, tmp_path, "dev").ids == dev
    assert (len(train), len(dev)) == (1_497, 374)


@pytest.mark.parametrize(
    ("validation", "test"),
    [
        ("cloze_test_val__spring2016.csv", "cloze_test_test__spring2016.csv"),
        (
            "cloze_test_val__winter2018-cloze_test_ALL_val - 1 - 1.csv",
            "cloze_test_test__winter2018-cloze_test_ALL_test - 1.csv",
        ),
    ],
)
def test_files_may_have_their_other_names(tmp_path: Path, validation: str, test: str) -> None:
    write_stories(tmp_path / validation, 10)
    write_stories(tmp_path / test, 3)
    assert [len(read_split(TASK, tmp_path, split)) for split in ("train", "dev", "test")] == [
        9,
        1,
        3,
    ]


def test_stories_without_an_answer_have_no_label(tmp_path: Path) -> None:
    (tmp_path / TEST).write_text(",".join(COLUMNS[:-1]) + "\nid0,a,b,c,d,e,f\n")
    found = read_split(TASK, tmp_path, "test")
    assert list(found.examples) == [choice("a b c d", ["e", "f"])]
    assert found.summary() == "test: 1 example; 1 without a label"


def test_broken_stories_are_named(tmp_path: Path) -> None:
    rows = ["id0,a,b,c,d,e,f,1", "id1,a,b,c,d,e,f,3", "id2,a,b,c,d,e,f,2,9", "id3,a,b,c,d,e,f,2"]
    (tmp_path / TEST).write_text("\n".join([",".join(COLUMNS), *rows]))
    found = read_split(TASK, tmp_path, "test")
    assert [problem.place for problem in found.problems.malformed] == ["line 3", "line 4"]
    assert "label of a choice is 2" in found.problems.malformed[0].reason
    assert "9 fields where the header has 8" in found.problems.malformed[1].reason


def test_the_shared_parts_have_the_sizes_of_the_cut(shared_data: Path) -> None:
    train, dev = (read_split(TASK, shared_data / "tasks", split) for split in ("train", "dev"))
    assert (len(train), len(dev)) == (1_497, 374)
    assert not set(train.examples) & set(dev.examples)
