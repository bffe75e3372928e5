"""Tasks of one's own: what a table is taken for, and what is said of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gpt1.errors import ConfigError, DataError
from gpt1.tasks.example import choice, pair, similarity, text
from gpt1.tasks.own import own_task
from gpt1.tasks.reading import read_split
from gpt1.tasks.task import Task


def write(file: Path, *rows: dict[str, Any]) -> Path:
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def labelled(folder: Path, *labels: Any) -> Path:
    """A file of texts with these labels."""
    return write(folder / "own.jsonl", *({"text": "a", "label": label} for label in labels))


def labels(file: Path, task: Task | None = None) -> list[Any]:
    found = read_split(task or own_task(file), file, "train")
    return [example.label for example in found.examples]


def test_a_table_of_reviews_is_read_as_text_and_said_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    file = tmp_path / "Reviews.csv"
    file.write_text('id,review,stars\n1,"Good, really.",5\n2,Bad.,1\n3,Fine.,\n')
    task = own_task(file)
    assert caplog.messages == [
        "Reviews.csv: layout text of 'review'; 'stars' holds 2 classes (whole numbers): 1, 5"
    ]
    assert (task.name, task.classes) == ("Reviews", ("1", "5"))
    found = read_split(task, file, "dev")
    assert list(found.examples) == [text("Good, really.", "5"), text("Bad.", "1"), text("Fine.")]
    assert found.summary() == "dev: 3 examples; 1 without a label"


def test_a_folder_is_read_by_its_training_file(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", {"text": "a", "label": "x"}, {"text": "b", "label": "y"})
    write(tmp_path / "valid.jsonl", {"text": "c", "label": "y"}, {"text": "d", "label": "z"})
    found = read_split(own_task(tmp_path), tmp_path, "dev")
    assert list(found.examples) == [text("c", "y")]
    assert found.problems.malformed[0].reason == "label 'z' is none of the classes x, y"


@pytest.mark.parametrize(
    ("given", "classes", "read"),
    [
        ([3, 1, 10, 1], ("1", "3", "10"), ["3", "1", "10", "1"]),
        ([1.0, 0.0], ("0", "1"), ["1", "0"]),
        (["-1", "1"], ("-1", "1"), ["-1", "1"]),
        ([True, False], ("0", "1"), ["1", "0"]),
        (["b ", "a", "10"], ("10", "a", "b"), ["b", "a", "10"]),
        ([0.5, 4, "3"], (), [0.5, 4.0, 3.0]),
    ],
)
def test_labels_are_classes_unless_they_are_numbers_with_a_fraction(
    tmp_path: Path, given: list[Any], classes: tuple[str, ...], read: list[Any]
) -> None:
    file = labelled(tmp_path, *given)
    assert own_task(file).classes == classes
    assert labels(file) == read


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["b", "a"], "'label' holds 2 classes (names): a, b"),
        (list(range(9)), "'label' holds 9 classes (whole numbers): 0, 1, 2, 3, 4, 5, ..."),
        ([1, 2.5], "'label' holds values (not all are whole numbers: 2.5)"),
    ],
)
def test_how_labels_are_understood_is_said(
    tmp_path: Path, given: list[Any], sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    own_task(labelled(tmp_path, *given))
    assert caplog.messages == [f"own.jsonl: layout text of 'text'; {sentence}"]


def test_whole_numbers_are_values_where_that_is_asked_for(tmp_path: Path) -> None:
    file = labelled(tmp_path, 1, 5)
    assert labels(file, own_task(file, {"value": "label"})) == [1.0, 5.0]


def test_later_labels_of_another_kind_are_malformed(tmp_path: Path) -> None:
    task = own_task(labelled(tmp_path, 1, 2))
    found = read_split(task, labelled(tmp_path, 1, 2, 1.5), "dev")
    assert found.problems.malformed[0].reason == (
        "label 1.5 is not a whole number, as the others are"
    )


@pytest.mark.parametrize(("layout", "make"), [("pair", pair), ("similarity", similarity)])
def test_two_texts_are_a_pair_or_compared(tmp_path: Path, layout: Any, make: Any) -> None:
    file = write(tmp_path / "a.jsonl", {"text1": "a", "text2": "b", "score": 2.5})
    found = read_split(own_task(file, layout=layout), file, "train")
    assert list(found.examples) == [make("a", "b", 2.5)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["C", "b"], "the letter of the right option"),
        ([2, 1], "the number of the right option, from 0"),
        (["3", "2"], "the number of the right option, from 0"),
        (["z", "y"], "the text of the right option"),
    ],
)
def test_choices_name_the_right_option_by_text_letter_or_number(
    tmp_path: Path, given: list[Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    options = ["x", "y", "z"] if given != ["3", "2"] else ["w", "x", "y", "z"]
    rows = [{"context": "c", "options": options, "label": label} for label in given]
    file = write(tmp_path / "a.jsonl", *rows)
    found = read_split(own_task(file), file, "train")
    right = [3, 2] if given == ["3", "2"] else [2, 1]
    assert list(found.examples) == [choice("c", options, number) for number in right]
    assert caplog.messages == [
        f"a.jsonl: layout choice of 'context', 'options'; 'label' holds {said}"
    ]


def test_numbers_of_options_may_count_from_one(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("story,ending1,ending2,answer\na,b,c,1\nd,e,f,2\ng,h,,1\n")
    found = read_split(own_task(file), file, "train")
    assert list(found.examples) == [choice("a", ["b", "c"], 0), choice("d", ["e", "f"], 1)]
    assert "a choice has 1 options" in found.problems.malformed[0].reason


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        ("A", "AB", "the label of a choice is -1"),
        ("A", "C", "the label of a choice is 2"),
        ("x", "z", "label 'z' is none of the options"),
    ],
)
def test_later_rows_that_name_no_option_are_malformed(
    tmp_path: Path, good: str, bad: str, reason: str
) -> None:
    def rows(*labels: str) -> list[dict[str, Any]]:
        return [{"context": "c", "options": ["x", "y"], "label": label} for label in labels]

    task = own_task(write(tmp_path / "a.jsonl", *rows(good)))
    found = read_split(task, write(tmp_path / "b.jsonl", *rows(good, bad)), "dev")
    assert found.problems.malformed[0].reason.startswith(reason)


def test_quotes_of_a_table_writer_are_not_part_of_the_text(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_text('text\tlabel\n"she said ""no"""\tx\nyes\ty\n')
    assert read_split(own_task(file), file, "train").examples[0] == text('she said "no"', "x")


def test_rows_that_cannot_be_read_do_not_count(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text,label\na,x\nb,y,z\nc,y\n")
    assert own_task(file).classes == ("x", "y")


@pytest.mark.parametrize(
    ("content", "columns", "problem"),
    [
        ("text,label\n", None, "has no rows; it needs at least one to tell what its columns are"),
        ("text,label\na,\n", None, ": the column 'label' has no label in any row"),
        ("text,label\na,b\n", {"text": "c"}, ": there is no column 'c'; the columns are text, lab"),
        (
            "text,label\na,1\nb,few\n",
            {"value": "label"},
            ": the column 'label' is to hold values, but holds 'few', not a number",
        ),
        (
            "context,option1,option2,label\nq,a,b,maybe\n",
            None,
            ": the column 'label' is to name the right option by its text, its letter or its "
            "number from 0, but holds 'maybe' where the options are ['a', 'b']",
        ),
    ],
)
def test_tables_that_cannot_be_understood_are_refused(
    tmp_path: Path, content: str, columns: dict[str, str] | None, problem: str
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(content)
    with pytest.raises(DataError, match=re.escape(f"{file}") + ".*" + re.escape(problem)):
        own_task(file, columns)


def test_one_text_cannot_be_compared(tmp_path: Path) -> None:
    file = labelled(tmp_path, 1, 2)
    with pytest.raises(
        ConfigError, match=r"layout is 'similarity', but .* has not two texts to com"
    ):
        own_task(file, layout="similarity")
