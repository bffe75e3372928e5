"""Data sets on the hub, read from a folder that stands in for it."""

from __future__ import annotations

import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpt1.errors import DataError, MissingExtraError
from gpt1.tasks.example import pair, text
from gpt1.tasks.hub_rows import HubPlace, hub_place
from gpt1.tasks.reading import read_split
from gpt1.tasks.task import Task, get_task

OWN = Task(name="own", transform=lambda row: text(row["text"], row["label"]))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder: `datasets` takes a data set from it by its id before it asks the hub."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    datasets.disable_progress_bars()
    return tmp_path


def put(hub: Path, dataset: str, **splits: dict[str, list[object]]) -> None:
    folder = hub / dataset
    folder.mkdir(parents=True)
    for split, columns in splits.items():
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")


@pytest.mark.parametrize(
    ("task", "data", "split", "place"),
    [
        ("rte", "hub:", "dev", ("nyu-mll/glue", "rte", "validation")),
        ("mnli", "hub:", "dev_mismatched", ("nyu-mll/glue", "mnli", "validation_mismatched")),
        ("snli", "stanfordnlp/snli", "train", ("stanfordnlp/snli", None, "train")),
        ("rte", "nyu-mll/glue", "test", ("nyu-mll/glue", "rte", "test")),
        ("mnli", "someone/copy/mnli", "dev", ("someone/copy", "mnli", "validation")),
        ("rte", "hub:someone/copy", "dev", ("someone/copy", None, "validation")),
        ("rte", "data", "dev", None),
        ("rte", "/data/rte", "dev", None),
        ("rte", "./data/rte", "dev", None),
        ("rte", "../data", "dev", None),
    ],
)
def test_a_place_on_the_hub_is_told_from_a_path(
    task: str, data: str, split: str, place: tuple[str, str | None, str] | None
) -> None:
    assert hub_place(get_task(task), data, split) == (place and HubPlace(*place))


def test_a_folder_here_goes_before_the_hub(hub: Path) -> None:
    put(hub, "someone/copy")
    assert hub_place(get_task("rte"), "someone/copy", "dev") is None


def test_the_data_set_of_a_task_is_read(hub: Path) -> None:
    rows: dict[str, list[object]] = {
        "premise": ["A", "B", "C"],
        "hypothesis": ["a", "b", "c"],
        "label": [1, -1, 0],
    }
    put(hub, "stanfordnlp/snli", train=rows, validation=rows)
    found = read_split(get_task("snli"), "hub:", "dev")
    assert list(found.examples) == [pair("A", "a", "neutral"), pair("C", "c", "entailment")]
    assert found.summary() == "dev: 2 examples; 1 left out (no gold label)"


def test_rows_of_a_data_set_that_cannot_be_used_are_named(hub: Path) -> None:
    put(hub, "someone/texts", train={"text": ["a", None, "b"], "label": [0, 1, 1]})
    found = read_split(OWN, "hub:someone/texts", "train")
    assert found.summary() == (
        "train: 2 examples; 1 malformed row (someone/texts row 2: None is NoneType, not a text)"
    )


def test_a_split_the_data_set_does_not_have_is_named(hub: Path) -> None:
    put(hub, "someone/texts", train={"text": ["a"], "label": [0]})
    with pytest.raises(DataError, match=r'someone/texts cannot be read .*: Unknown split "test"'):
        read_split(OWN, "hub:someone/texts", "test")


def test_a_split_no_task_has_is_refused() -> None:
    with pytest.raises(DataError, match="nyu-mll/glue has no split 'dev2' of rte on the hub; it "):
        hub_place(get_task("rte"), "hub:", "dev2")


def test_a_task_that_is_not_on_the_hub_says_so() -> None:
    with pytest.raises(DataError, match="storycloze is not on the hub; name a folder of its fil"):
        hub_place(get_task("storycloze"), "hub:", "dev")


def test_without_a_connection_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'a/b' on the Hub\nand more")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    problem = r"a/b cannot be read from the hub: Couldn't reach 'a/b' on the Hub; check the name"
    with pytest.raises(DataError, match=problem):
        read_split(OWN, "hub:a/b", "train")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    problem = r'needs the library datasets: pip install "gpt1\[hub\]"'
    with pytest.raises(MissingExtraError, match=problem):
        read_split(OWN, "hub:a/b", "train")
