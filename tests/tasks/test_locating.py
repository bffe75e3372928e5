"""Where the files of a split are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpt1.errors import DataError
from gpt1.tasks.locating import Located, locate
from gpt1.tasks.task import get_task


def make(folder: Path, *paths: str) -> list[Path]:
    """Empty files, with their folders."""
    files = [folder / path for path in paths]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return files


@pytest.mark.parametrize(
    ("task", "split", "path", "official"),
    [
        ("cola", "train", "train.jsonl", False),
        ("cola", "dev", "dev.tsv.gz", False),
        ("cola", "dev", "validation.csv", False),
        ("rte", "dev", "Valid.jsonl.xz", False),
        ("rte", "test", "test.parquet", False),
        ("cola", "train", "cola/train.tsv", False),
        ("cola", "train", "CoLA/train.tsv", False),
        ("sst2", "dev", "SST-2/dev.tsv", False),
        ("stsb", "dev", "STS-B/DEV.TSV", False),
        ("mnli", "dev", "MNLI/dev_matched.tsv", True),
        ("mnli", "train", "multinli_1.0_train.txt", True),
        ("snli", "dev", "snli_1.0/snli_1.0_dev.jsonl", True),
        ("mrpc", "test", "msr_paraphrase_test.txt", True),
        ("scitail", "test", "SciTailV1.1/tsv_format/scitail_1.0_test.tsv", True),
        ("scitail", "test", "SciTailV1.1/snli_format/scitail_1.0_test.txt", True),
        ("race", "test", "RACE/test/middle/1.txt", True),
        ("storycloze", "dev", "cloze_test_val__spring2016 - cloze_test_ALL_val.csv", True),
    ],
)
def test_usual_and_official_names_are_found(
    tmp_path: Path, task: str, split: str, path: str, official: bool
) -> None:
    make(tmp_path, "README.md", "other/train.jsonl", "other/dev.jsonl")
    files = make(tmp_path, path)
    assert locate(get_task(task), tmp_path, split) == Located(files, official)
    assert locate(get_task(task), files[0], split) == Located(files, official)


def test_all_files_of_a_pattern_are_read_in_order(tmp_path: Path) -> None:
    files = make(tmp_path, "in_domain_dev.tsv", "out_of_domain_dev.tsv")
    assert locate(get_task("cola"), tmp_path, "dev").files == files


def test_the_first_name_is_taken_and_the_unpacked_file(tmp_path: Path) -> None:
    make(tmp_path, "train.jsonl.gz", "in_domain_train.tsv", "cola/train.jsonl")
    [best] = make(tmp_path, "train.jsonl")
    assert locate(get_task("cola"), tmp_path, "train").files == [best]


def test_the_folder_with_the_tasks_very_name_comes_first(tmp_path: Path) -> None:
    make(tmp_path, "qnli_v1/dev.tsv")
    [best] = make(tmp_path, "QNLI/dev.tsv")
    assert locate(get_task("qnli"), tmp_path, "dev").files == [best]


def test_a_split_that_is_missing_is_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    make(tmp_path, "CoLA/train.tsv")
    problem = (
        f"no dev data of cola in {tmp_path} or {tmp_path / 'CoLA'}; looked for dev, valid, "
        "validation or val as .csv, .tsv, .jsonl, .ndjson or .parquet (also .gz, .xz or .zst), or "
        "*_domain_dev.tsv"
    )
    with pytest.raises(DataError, match=re.escape(problem)):
        locate(get_task("cola"), tmp_path, "dev")


def test_a_path_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(f"no file or folder {tmp_path / 'x'}; check")):
        locate(get_task("cola"), tmp_path / "x", "dev")
