"""A submission to the GLUE leaderboard: a zip of one file of predictions for each test set."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from gpt1.errors import DataError
from gpt1.tasks.example import Label
from gpt1.tasks.task import get_task

HEADER = "index\tprediction"
_log = logging.getLogger(__name__)


class GlueSet(NamedTuple):
    """A test set of GLUE.

    Attributes:
        file: Name of its predictions.
        rows: How many there are.
        task: Whose model predicts them; empty: none, it is filled with one class.
        split: Of that task, for `gpt1.tasks.reading.read_split`.
        numbered: Whether the file holds numbers of classes instead of their names.
    """

    file: str
    rows: int
    task: str
    split: str = "test"
    numbered: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """As our models call them; empty: values from 0 to 5."""
        return get_task(self.task).classes if self.task else ("not_entailment", "entailment")


TEST_SETS = {
    "cola": GlueSet("CoLA.tsv", 1_063, "cola", numbered=True),
    "sst2": GlueSet("SST-2.tsv", 1_821, "sst2", numbered=True),
    "mrpc": GlueSet("MRPC.tsv", 1_725, "mrpc", numbered=True),
    "stsb": GlueSet("STS-B.tsv", 1_379, "stsb"),
    "qqp": GlueSet("QQP.tsv", 390_965, "qqp", numbered=True),
    "mnli": GlueSet("MNLI-m.tsv", 9_796, "mnli"),
    "mnli_mismatched": GlueSet("MNLI-mm.tsv", 9_847, "mnli", "test_mismatched"),
    "qnli": GlueSet("QNLI.tsv", 5_463, "qnli"),
    "rte": GlueSet("RTE.tsv", 3_000, "rte"),
    "wnli": GlueSet("WNLI.tsv", 146, "", numbered=True),
    "ax": GlueSet("AX.tsv", 1_104, "mnli", "ax"),
}
"""What a submission has predictions for; "ax" is the diagnostic set."""

FILLERS = {"wnli": "not_entailment", "ax": "entailment"}
"""The most frequent class of the sets that the paper leaves out."""


def write_submission(
    predictions: Mapping[str, Sequence[Label]],
    path: str | Path,
    test_sets: Mapping[str, GlueSet] = TEST_SETS,
) -> None:
    """Write a submission. What is not predicted but filled with one class is logged.

    Args:
        predictions: For each of `TEST_SETS` the names or numbers of the classes, or the values, in
            the order of its ``test.tsv``. Only "wnli" and "ax", which the paper leaves out, may be
            missing: they are filled with the most frequent class.
        path: Of the zip file to write or replace.
        test_sets: What a submission has predictions for.

    Raises:
        DataError: If a test set is missing or unknown, or has too many or too few predictions, or
            one is not of its classes.
    """
    missing = [name for name in test_sets if name not in {**predictions, **FILLERS}]
    unknown = [name for name in predictions if name not in test_sets]
    if missing or unknown:
        what = f"{missing[0]!r} is missing" if missing else f"{unknown[0]!r} is none of them"
        raise DataError(f"a submission is of {', '.join(test_sets)}, but {what}")
    texts = {}
    for name, test_set in test_sets.items():
        if name not in predictions:
            _log.warning("%s is not predicted: all %r", test_set.file, FILLERS[name])
        labels = predictions.get(name, [FILLERS.get(name, "")] * test_set.rows)
        texts[test_set.file] = _text(test_set, labels)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in texts.items():
            archive.writestr(file, content)


def _text(test_set: GlueSet, labels: Sequence[Label]) -> str:
    if len(labels) != test_set.rows:
        raise DataError(_wrong_count(test_set, len(labels)))
    lines = (f"{index}\t{_prediction(test_set, label)}" for index, label in enumerate(labels))
    return "\n".join([HEADER, *lines, ""])


def _prediction(test_set: GlueSet, label: Label) -> str:
    """A label as the file has it; a value is brought into the scale."""
    classes = test_set.classes
    if not classes:
        if not isfinite(float(label)):
            raise DataError(f"{test_set.file}: prediction {label!r} is not a finite number")
        return f"{min(max(float(label), 0.0), 5.0):.3f}"
    number = classes.index(label) if label in classes else label
    if number not in range(len(classes)):
        raise DataError(f"{test_set.file}: prediction {label!r} is none of {', '.join(classes)}")
    return str(int(number)) if test_set.numbered else classes[int(number)]


def _wrong_count(test_set: GlueSet, count: int) -> str:
    return f"{test_set.file} has {count:,} predictions but needs {test_set.rows:,}"


def check_submission(path: str | Path, test_sets: Mapping[str, GlueSet] = TEST_SETS) -> list[str]:
    """What the leaderboard would not take about a submission.

    Args:
        path: Of a zip file.
        test_sets: What a submission has predictions for.

    Returns:
        One sentence for each file that is missing or wrong, about the first thing that is wrong in
        it; empty if all is well.
    """
    if not zipfile.is_zipfile(path):
        return [f"{path} is not a zip file"]
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        return [
            problem
            for test_set in test_sets.values()
            for problem in _problems(
                test_set, archive.read(test_set.file) if test_set.file in names else None
            )
        ]


def _problems(test_set: GlueSet, content: bytes | None) -> list[str]:
    if content is None:
        return [f"{test_set.file} is missing; it must be at the top of the zip file"]
    header, *rows = content.decode(errors="replace").splitlines() or [""]
    if header != HEADER:
        return [f"{test_set.file} begins with {header!r:.60}, not with {HEADER!r}"]
    found = next(_wrong_rows(test_set, rows), None)
    if found is None and len(rows) != test_set.rows:
        found = _wrong_count(test_set, len(rows))
    return [] if found is None else [found]


def _wrong_rows(test_set: GlueSet, rows: Sequence[str]) -> Iterator[str]:
    allowed = [str(n) if test_set.numbered else name for n, name in enumerate(test_set.classes)]
    for index, row in enumerate(rows):
        number, _, prediction = row.partition("\t")
        where = f"{test_set.file} line {index + 2}"
        if number != str(index):
            yield f"{where}: the index is {number!r} but must be {index}"
        elif not (prediction in allowed if allowed else _in_scale(prediction)):
            must = f"one of {', '.join(allowed)}" if allowed else "a number from 0 to 5"
            yield f"{where}: the prediction is {prediction!r} but must be {must}"


def _in_scale(text: str) -> bool:
    try:
        return 0 <= float(text) <= 5
    except ValueError:
        return False
