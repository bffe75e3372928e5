"""Submissions to the GLUE leaderboard."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gpt1.errors import DataError
from gpt1.tasks.glue import TEST_SETS, check_submission, write_submission
from gpt1.tasks.task import get_task

ROWS = {
    "CoLA": 1063,
    "SST-2": 1821,
    "MRPC": 1725,
    "STS-B": 1379,
    "QQP": 390965,
    "MNLI-m": 9796,
    "MNLI-mm": 9847,
    "QNLI": 5463,
    "RTE": 3000,
    "WNLI": 146,
    "AX": 1104,
}
VOCABULARY = {
    **{name: {"0", "1"} for name in ("CoLA", "SST-2", "MRPC", "QQP", "WNLI")},
    **{name: {"entailment", "neutral", "contradiction"} for name in ("MNLI-m", "MNLI-mm", "AX")},
    **{name: {"entailment", "not_entailment"} for name in ("QNLI", "RTE")},
    "STS-B": {"0.000", "1.500", "3.000", "4.500", "5.000"},
}


def predictions() -> dict[str, list[Any]]:
    """Every class in turn, by name and by number; values from below the scale to above it."""
    labels: dict[str, list[Any]] = {}
    for name, test_set in TEST_SETS.items():
        each: list[Any] = [*test_set.classes, *range(len(test_set.classes))]
        each = each or [-0.5, 1.5, 3, 4.5, 5.5]
        labels[name] = [each[n % len(each)] for n in range(test_set.rows)]
    return labels


@pytest.fixture(scope="module")
def submission(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("glue") / "new" / "glue.zip"
    write_submission(predictions(), path)
    return path


def changed(submission: Path, folder: Path, file: str, content: str | None) -> Path:
    """A copy where one file is replaced, or left out."""
    path = folder / "changed.zip"
    with zipfile.ZipFile(submission) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if name != file:
                new.writestr(name, old.read(name))
        if content is not None:
            new.writestr(file, content)
    return path


def test_a_submission_has_a_file_for_each_test_set_in_its_vocabulary(submission: Path) -> None:
    with zipfile.ZipFile(submission) as archive:
        assert set(archive.namelist()) == {f"{name}.tsv" for name in ROWS}
        for name, rows in ROWS.items():
            text = io.StringIO(archive.read(f"{name}.tsv").decode())
            found = list(csv.DictReader(text, delimiter="\t", strict=True))
            assert [row["index"] for row in found] == [str(n) for n in range(rows)], name
            assert {row["prediction"] for row in found} == VOCABULARY[name]
    assert check_submission(submission) == []


def test_classes_are_written_as_the_leaderboard_numbers_them(submission: Path) -> None:
    with zipfile.ZipFile(submission) as archive:
        lines = archive.read("CoLA.tsv").decode().splitlines()
        inference = archive.read("RTE.tsv").decode().splitlines()
    assert get_task("cola").classes == ("unacceptable", "acceptable")
    assert lines[:5] == ["index\tprediction", "0\t0", "1\t1", "2\t0", "3\t1"]
    assert inference[1:5] == [
        "0\tentailment",
        "1\tnot_entailment",
        "2\tentailment",
        "3\tnot_entailment",
    ]


def test_the_sets_the_paper_leaves_out_are_filled_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = predictions()
    del given["wnli"], given["ax"]
    write_submission(given, tmp_path / "glue.zip")
    assert caplog.messages == [
        "WNLI.tsv is not predicted: all 'not_entailment'",
        "AX.tsv is not predicted: all 'entailment'",
    ]
    with zipfile.ZipFile(tmp_path / "glue.zip") as archive:
        assert archive.read("WNLI.tsv").decode().split("\n")[1:] == [
            *(f"{n}\t0" for n in range(146)),
            "",
        ]
    assert check_submission(tmp_path / "glue.zip") == []


def test_the_examples_of_each_set_have_a_place() -> None:
    for name, test_set in TEST_SETS.items():
        if name != "wnli":
            files = get_task(test_set.task).files
            assert test_set.split == "test" or test_set.split in files


@pytest.mark.parametrize(
    ("name", "labels", "problem"),
    [
        ("rte", None, r"a submission is of cola, sst2, .*, ax, but 'rte' is missing"),
        ("snli", [], r"a submission is of .*, ax, but 'snli' is none of them"),
        ("cola", ["acceptable"], r"CoLA\.tsv has 1 predictions but needs 1,063"),
        ("cola", ["good"] * 1063, r"CoLA\.tsv: prediction 'good' is none of unacceptable, accep"),
        ("cola", [2] * 1063, r"CoLA\.tsv: prediction 2 is none of unacceptable, acceptable"),
        ("stsb", [float("nan")] * 1379, r"STS-B\.tsv: prediction nan is not a finite number"),
    ],
)
def test_predictions_the_leaderboard_would_not_take_are_refused(
    tmp_path: Path, name: str, labels: list[Any] | None, problem: str
) -> None:
    given = predictions()
    if labels is None:
        del given[name]
    else:
        given[name] = labels
    with pytest.raises(DataError, match=problem):
        write_submission(given, tmp_path / "glue.zip")
    assert not (tmp_path / "glue.zip").exists()


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("RTE.tsv", None, "RTE.tsv is missing; it must be at the top of the zip file"),
        ("RTE.tsv", "", "RTE.tsv begins with '', not with 'index\\tprediction'"),
        (
            "RTE.tsv",
            "id\tlabel\n0\tentailment\n",
            "RTE.tsv begins with 'id\\tlabel', not with 'index\\tprediction'",
        ),
        (
            "RTE.tsv",
            "index\tprediction\n0\tentailment\n",
            "RTE.tsv has 1 predictions but needs 3,000",
        ),
        (
            "RTE.tsv",
            "index\tprediction\n0\tentailment\n2\tentailment\n",
            "RTE.tsv line 3: the index is '2' but must be 1",
        ),
        (
            "RTE.tsv",
            "index\tprediction\n0\t1\n",
            "RTE.tsv line 2: the prediction is '1' but must be one of entailment, not_entailment",
        ),
        (
            "CoLA.tsv",
            "index\tprediction\n0\tacceptable\n",
            "CoLA.tsv line 2: the prediction is 'acceptable' but must be one of 0, 1",
        ),
        (
            "STS-B.tsv",
            "index\tprediction\n0\t5.01\n",
            "STS-B.tsv line 2: the prediction is '5.01' but must be a number from 0 to 5",
        ),
        (
            "STS-B.tsv",
            "index\tprediction\n0\thigh\n",
            "STS-B.tsv line 2: the prediction is 'high' but must be a number from 0 to 5",
        ),
    ],
)
def test_what_is_wrong_in_a_submission_is_told(
    submission: Path, tmp_path: Path, file: str, content: str | None, problem: str
) -> None:
    assert check_submission(changed(submission, tmp_path, file, content)) == [problem]


def test_a_file_that_is_no_zip_is_told(tmp_path: Path) -> None:
    path = tmp_path / "glue.zip"
    path.write_text("index\tprediction\n")
    assert check_submission(path) == [f"{path} is not a zip file"]
