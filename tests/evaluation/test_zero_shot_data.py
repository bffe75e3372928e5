"""Which files and rows of a task are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.zero_shot_data import TaskFiles, find_tasks, task_rows


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    for name in ("cola/train.jsonl.gz", "cola/dev.csv", "dprd/test.jsonl", "dprd/train.jsonl"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("", encoding="utf-8")
    (tmp_path / "other").mkdir()
    return tmp_path


def test_all_tasks_of_a_folder_are_found(tasks: Path) -> None:
    assert find_tasks(tasks, []) == {
        "cola": TaskFiles(tasks / "cola/dev.csv", tasks / "cola/train.jsonl.gz"),
        "dprd": TaskFiles(tasks / "dprd/test.jsonl", tasks / "dprd/train.jsonl"),
    }


def test_named_tasks_and_splits_are_found(tasks: Path) -> None:
    train = tasks / "dprd/train.jsonl"
    assert find_tasks(tasks, ["dprd"], "train") == {"dprd": TaskFiles(train, train)}


def test_the_folder_of_one_task_needs_no_name(tasks: Path) -> None:
    assert list(find_tasks(tasks / "cola", [])) == ["cola"]
    assert find_tasks(tasks / "cola", ["sst2"])["sst2"].scored == tasks / "cola/dev.csv"


def test_a_file_has_the_training_file_beside_it(tasks: Path) -> None:
    files = find_tasks(tasks / "dprd/test.jsonl", ["wsc273"])
    assert files == {"wsc273": TaskFiles(tasks / "dprd/test.jsonl", tasks / "dprd/train.jsonl")}


@pytest.mark.parametrize(
    ("path", "names", "split", "error", "message"),
    [
        ("", ["mnli"], None, ConfigError, "there is no zero-shot task 'mnli'; there are cola"),
        ("nowhere", [], None, DataError, "there is no file or folder .*nowhere"),
        ("dprd/test.jsonl", [], None, ConfigError, "is of one task, but 0 are named; name one"),
        ("cola", ["cola", "race"], None, ConfigError, "is of one task, but 2 are named"),
        ("", ["race"], None, DataError, "race has no file dev or test or train"),
        ("", ["dprd"], "dev", DataError, "dprd has no file dev "),
    ],
)
def test_what_is_not_there_is_told(
    tasks: Path,
    path: str,
    names: list[str],
    split: str | None,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        find_tasks(tasks / path, names, split)


def rows_file(folder: Path, labels: list[object]) -> Path:
    file = folder / "rows.jsonl"
    rows = [{"sentence": f"number {n}", "label": label} for n, label in enumerate(labels)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_a_subset_is_spread_evenly(tmp_path: Path) -> None:
    file = rows_file(tmp_path, [0] * 10)
    numbers = [row["sentence"] for row in task_rows(file, "sst2", 4)]
    assert numbers == ["number 0", "number 2", "number 5", "number 7"]
    assert len(task_rows(file, "sst2", 11)) == len(task_rows(file, "sst2")) == 10


def test_a_wrong_row_is_named_by_its_line(tmp_path: Path) -> None:
    file = rows_file(tmp_path, [0, 1, None])
    with pytest.raises(DataError, match=r"rows\.jsonl, line 3: no 'label' among its columns"):
        task_rows(file, "sst2")
