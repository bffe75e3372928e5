"""Examples to train on and to validate with, from folders and from one's own files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpt1.config import TaskSource
from gpt1.errors import ConfigError, DataError
from gpt1.tasks import text
from gpt1.tasks.splits import TaskData, parse_columns, read_task_data, source_task
from gpt1.tasks.task import Task

ROWS = [{"review": f"text {n}", "stars": ("good", "bad")[n % 2]} for n in range(10)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(source: TaskSource, fraction: float = 0.2) -> tuple[TaskData, list[str]]:
    notes: list[str] = []
    return read_task_data(source, valid_fraction=fraction, seed=0, note=notes.append), notes


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    return write(tmp_path / "reviews.jsonl", ROWS)


def test_a_part_of_ones_own_file_is_held_out(reviews: Path) -> None:
    data, notes = read(TaskSource(data=str(reviews)))
    assert (len(data.train), len(data.valid)) == (8, 2)
    assert {e.label for e in data.valid} == {"good", "bad"}
    assert notes == [
        "train: 10 examples",
        "2 training examples are held out to validate on",
    ]
    assert data.source["data"] == str(reviews)


def test_nothing_is_held_out_if_so_asked_or_where_other_data_validates(
    reviews: Path, tmp_path: Path
) -> None:
    data, _ = read(TaskSource(data=str(reviews)), fraction=0)
    assert (len(data.train), len(data.valid)) == (10, 0)
    other = write(tmp_path / "other.jsonl", ROWS[:3])
    data, notes = read(TaskSource(data=str(reviews), valid_data=str(other)))
    assert (len(data.train), len(data.valid)) == (10, 3)
    assert notes[-1] == "dev: 3 examples"


def test_a_folder_of_a_task_has_its_own_dev_split(tmp_path: Path) -> None:
    rows = [{"sentence": f"text {n}", "label": n % 2} for n in range(6)]
    write(tmp_path / "cola" / "train.jsonl", [*rows, {"sentence": "text", "label": None}])
    data, notes = read(TaskSource(data=str(tmp_path), task="cola"))
    assert (len(data.train), len(data.valid)) == (5, 1), "no dev file: a part is held out"
    assert any("no validation split: no dev data of cola" in note for note in notes)
    assert any("1 without a label" in note for note in notes)
    write(tmp_path / "cola" / "dev.jsonl", rows[:4])
    data, _ = read(TaskSource(data=str(tmp_path), task="cola"))
    assert (len(data.train), len(data.valid)) == (6, 4)
    assert data.train[1].label == "acceptable"


def test_examples_must_have_labels(tmp_path: Path) -> None:
    rows = [{"sentence": "text", "label": None}]
    write(tmp_path / "train.jsonl", rows)
    with pytest.raises(DataError, match="train: no example has a label"):
        read(TaskSource(data=str(tmp_path), task="cola"))


def test_a_task_written_in_python_reads_its_own_columns(reviews: Path) -> None:
    task = Task(name="mine", transform=lambda row: text(row["review"], len(row["stars"])))
    data = read_task_data(TaskSource(data=str(reviews)), task=task)
    assert (len(data.train), len(data.valid)) == (9, 1)
    assert {e.label for e in data.train} == {3, 4}
    assert data.task is task
    assert data.source["task"] == "mine"
    with pytest.raises(ConfigError, match="columns and layout are for data of your own, but the t"):
        read_task_data(TaskSource(data=str(reviews), layout="pair"), task=task)


def test_columns_are_mapped_by_name() -> None:
    assert parse_columns("text=review, label=stars") == {"text": "review", "label": "stars"}
    assert parse_columns(None) is None
    for wrong in ("text", "text=", "=review"):
        with pytest.raises(ConfigError, match=f'columns is {wrong!r} but must be like "text='):
            parse_columns(wrong)


@pytest.mark.parametrize("extra", [{"columns": "text=a"}, {"layout": "pair"}])
def test_a_task_of_the_paper_has_its_columns_and_layout(extra: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="for data of your own, but the task is 'cola'"):
        source_task(TaskSource(data="x", task="cola", **extra))


def test_two_texts_can_be_read_as_equals(tmp_path: Path) -> None:
    rows = [{"sentence1": "a", "sentence2": "b", "label": n % 2} for n in range(4)]
    path = write(tmp_path / "pairs.jsonl", rows)
    layouts: list[Callable[..., Any]] = [
        source_task(TaskSource(data=str(path), layout=layout)).transform
        for layout in (None, "similarity")
    ]
    assert [make(rows[0]).layout for make in layouts] == ["pair", "similarity"]
