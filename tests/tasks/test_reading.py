"""From files to examples, and what is said of the rows that are none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gpt1.errors import DataError
from gpt1.tasks.example import Example, text
from gpt1.tasks.reading import Examples, Malformed, Problems, read_split
from gpt1.tasks.task import LeftOut, Row, Task, get_task

OWN = Task(name="own", transform=lambda row: text(row["message"], row["label"]))
COLA = get_task("cola")


def write(folder: Path, *rows: Any, name: str = "train.jsonl") -> Path:
    """JSON lines of the rows; strings as they are."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return folder


def labels(found: Examples) -> list[Any]:
    return [example.label for example in found.examples]


def test_a_task_of_ones_own_needs_a_name_and_a_transform(tmp_path: Path) -> None:
    write(tmp_path, {"message": "hi", "label": "ham"}, {"message": "buy", "label": "spam"})
    found = read_split(OWN, tmp_path, "train")
    assert list(found.examples) == [text("hi", "ham"), text("buy", "spam")]
    assert found.summary() == "train: 2 examples"


def test_malformed_rows_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    rows = ["gj04\t1\t\tIt rains.", "gj04\t1\tIt\trains\t.", "gj04\t0\t*\tRains it.", "x"]
    write(tmp_path, *rows, name="train.tsv")
    found = read_split(COLA, str(tmp_path), "train")
    assert labels(found) == ["acceptable", "unacceptable"]
    assert found.ids == ["0", "2"], "numbers count the rows of the file"
    assert found.problems.malformed == [
        Malformed("train.tsv", "line 2", "5 fields where 4 are expected"),
        Malformed("train.tsv", "line 4", "1 field where 4 are expected"),
    ]
    assert found.summary() == (
        "train: 2 examples; 2 malformed rows "
        "(first: train.tsv line 2: 5 fields where 4 are expected)"
    )


def test_everything_is_said_in_one_line(tmp_path: Path) -> None:
    def transform(row: Row) -> Example:
        if row["message"] == "skip":
            raise LeftOut("not wanted")
        return text(row["message"], row["label"])

    rows = [{"message": "a", "label": 1}] * 1_200 + [
        {"message": "b"},
        {"message": "c", "label": ""},
        {"message": "skip", "label": 1},
        {"label": 1},
    ]
    found = read_split(Task(name="own", transform=transform), write(tmp_path, *rows), "train")
    assert found.unlabelled == 2
    assert found.summary() == (
        "train: 1,202 examples; 1 malformed row (train.jsonl line 1204: no column 'message'), "
        "1 left out (not wanted), 2 without a label"
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"sentence": "a"}, None),
        ({"sentence": "a", "label": None}, None),
        ({"Sentence": "a", "LABEL": 1}, None),
        ({"label": 1}, "no column 'sentence'"),
        ({"sentence": None, "label": 1}, "None is NoneType, not a text"),
        ({"sentence": 12, "label": 1}, "12 is int, not a text"),
        ({"sentence": "a", "label": 2}, "label 2 is none of the classes unacceptable, acceptable"),
        ({"sentence": "a", "label": 0.5}, "label 0.5 is none of the classes"),
        ({"sentence": "a", "label": "good"}, "label 'good' is none of the classes"),
        ("[1]", "a list, not an object"),
    ],
)
def test_a_row_is_used_or_named_with_the_reason(tmp_path: Path, row: Any, reason: str) -> None:
    good = {"sentence": "a", "label": 1}
    malformed = read_split(COLA, write(tmp_path, good, row, good), "train").problems.malformed
    if reason is None:
        assert not malformed
    else:
        assert malformed[0].reason.startswith(reason)


@pytest.mark.parametrize("label", [1, "1", 1.0, "1.0", True, "acceptable", " acceptable"])
def test_a_class_may_be_given_by_number_or_name(tmp_path: Path, label: Any) -> None:
    write(tmp_path, {"sentence": "a", "label": label})
    assert labels(read_split(COLA, tmp_path, "train")) == ["acceptable"]


def test_a_number_that_is_a_name_is_not_a_place(tmp_path: Path) -> None:
    task = Task(name="stars", transform=OWN.transform, classes=("1", "2", "-1"))
    write(tmp_path, *({"message": "a", "label": label} for label in (1, "2", 1.0, -1, 0)))
    found = read_split(task, tmp_path, "train")
    assert labels(found) == ["1", "2", "1", "-1"]
    assert found.problems.malformed[0].reason == "label 0 is none of the classes 1, 2, -1"


def test_any_error_of_a_transform_that_it_may_raise_is_a_malformed_row(tmp_path: Path) -> None:
    task = Task(name="own", transform=lambda row: text(row["a"], int(row["label"])))
    write(tmp_path, {"a": "x", "label": "1"}, {"a": "x", "label": "one"}, {"a": "x", "label": "2"})
    [problem] = read_split(task, tmp_path, "train").problems.malformed
    assert problem.reason.startswith("invalid literal for int()")


def test_too_many_malformed_rows_are_an_error_that_names_the_first(tmp_path: Path) -> None:
    write(tmp_path, {"message": "a", "label": 1}, {"text": "b"}, {"text": "c"})
    problem = (
        "2 of 3 rows of the train data of own cannot be used, first: train.jsonl line 2: no column "
        "'message'"
    )
    with pytest.raises(DataError, match=re.escape(problem)):
        read_split(OWN, tmp_path, "train")


def test_no_example_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no example in the train data of own"):
        read_split(OWN, write(tmp_path, ""), "train")


@pytest.mark.parametrize(
    ("rows", "ids"),
    [
        ([{"index": 7, "id": "x"}, {"index": 9, "id": "y"}], ["7", "9"]),
        ([{"id": "x"}, {"id": "y"}], ["x", "y"]),
        ([{"index": 1, "id": "x"}, {"index": 1, "id": "y"}], ["x", "y"]),
        ([{"id": "x"}, {"id": "x"}], ["0", "1"]),
        ([{"id": "x"}, {}], ["0", "1"]),
    ],
)
def test_rows_keep_the_name_the_data_give_them(
    tmp_path: Path, rows: list[dict[str, Any]], ids: list[str]
) -> None:
    write(tmp_path, *({"message": "a", "label": 1, **row} for row in rows))
    assert read_split(OWN, tmp_path, "train").ids == ids


def test_examples_can_be_selected_by_number() -> None:
    examples = [text(word) for word in "abc"]
    problems = Problems([Malformed("f", "line 1", "why")])
    found = Examples("dev", examples, ["x", "y", "z"], ["p", "q", "p"], problems)
    some = found.select([2, 0])
    assert some == Examples("dev", [text("c"), text("a")], ["z", "x"], ["p", "p"])
    assert found.part("q").ids == ["y"]
    assert len(found) == 3
